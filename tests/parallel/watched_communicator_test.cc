// SPDX-License-Identifier: Apache-2.0
#include "parallel/watched_communicator.h"

#include <gtest/gtest.h>

#include <string_view>
#include <thread>

#include "parallel/faulty_communicator.h"
#include "parallel/thread_communicator.h"
#include "tests/support/test_exchange.h"

namespace folkmoot {
namespace {

constexpr int64_t kEpoch = 1;

void ExpectWaiting(const Progress& progress, const WaitLabel& label) {
  const Stopwatch stopwatch;
  while (!progress.Read().waiting && stopwatch.elapsed() < kSoon) std::this_thread::yield();
  const Progress::View view = progress.Read();
  EXPECT_TRUE(view.waiting);
  EXPECT_EQ(std::string_view(view.label.phase), label.phase);
  EXPECT_EQ(view.label.layer, label.layer);
  EXPECT_EQ(view.label.step, label.step);
}

// Also where faults are on the way, whichever of the two is around the other.
TEST(WatchedCommunicator, ShowsWhatARankWaitsFor) {
  for (const bool faults_outside : {false, true}) {
    std::vector<std::unique_ptr<Communicator>> ranks = MakeThreadCommunicators(2);
    Progress progress;
    const std::vector<Fault> plan = {{.kind = FaultKind::kDelay, .step = 1000}};
    if (!faults_outside) ranks[0] = AddFaults(std::move(ranks[0]), plan, &kEpoch);
    ranks[0] = WatchCommunicator(std::move(ranks[0]), progress);
    if (faults_outside) ranks[0] = AddFaults(std::move(ranks[0]), plan, &kEpoch);
    EXPECT_EQ(progress.Read().count, 0u);
    std::thread waiting([&] { EXPECT_TRUE(Barrier(*ranks[0], kTestLabel).ok()); });
    ExpectWaiting(progress, kTestLabel);
    EXPECT_TRUE(Barrier(*ranks[1], kTestLabel).ok());
    waiting.join();
    EXPECT_FALSE(progress.Read().waiting);
    const uint64_t count = progress.Read().count;
    EXPECT_GT(count, 0u);
    const WaitLabel other = {.phase = "columns", .layer = 2, .step = 7};
    ranks[0]->BeginOtherWait(other);
    ExpectWaiting(progress, other);
    ranks[0]->EndOtherWait();
    EXPECT_FALSE(progress.Read().waiting);
    EXPECT_EQ(progress.Read().count, count + 2);
  }
}

}  // namespace
}  // namespace folkmoot
