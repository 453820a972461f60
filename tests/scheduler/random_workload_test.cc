// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>

#include "tests/scheduler/workload.h"
#include "tests/support/sanitized.h"

namespace folkmoot {
namespace {

// Under a sanitizer, which makes a step 20 times as dear, a tenth of the settings.
constexpr uint64_t kSettings = kSanitized ? 50 : 500;

// What 500 settings bring, for as many as there are.
int64_t Share(int64_t of_500) { return of_500 * int64_t{kSettings} / 500; }

// A million steps with 500 settings. Each request must hear exactly what it hears alone, and the
// pages and events are checked after every step.
TEST(RandomWorkload, KeepsEveryInvariantForAMillionSteps) {
  WorkloadCounts all;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t seed = 1; seed <= kSettings; ++seed) {
    Workload workload(RandomOptions(seed), seed);
    ASSERT_TRUE(workload.Run(2000)) << "seed " << seed << ", " << workload.complaint();
    all += workload.counts();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  RecordProperty("steps_per_second",
                 static_cast<int>(static_cast<double>(all.steps) / seconds.count()));
  RecordProperty("longest_wait", static_cast<int>(all.longest_wait));
  RecordProperty("preemptions", static_cast<int>(all.preemptions));
  EXPECT_GE(all.steps, Share(1'000'000));
  // All that should happen did.
  EXPECT_GT(all.requests, Share(100'000));
  EXPECT_GT(all.refused, Share(1000));
  EXPECT_GT(all.stopped, Share(10'000));
  EXPECT_GT(all.full_length, Share(10'000));
  EXPECT_GT(all.aborted, Share(5000));
  EXPECT_GT(all.aborted_alone, Share(500));
  EXPECT_GT(all.failed, Share(1000));
  EXPECT_GT(all.preemptions, Share(5000));
  EXPECT_GT(all.hit_tokens, Share(100'000));
  EXPECT_GT(all.resumed_tokens, Share(5000));
  EXPECT_GT(all.taken_back, Share(1000));
  EXPECT_GT(all.ahead, Share(100'000));
  EXPECT_GT(all.drafted, Share(100'000));
  EXPECT_GT(all.accepted, Share(50'000));
}

// One token per step and few pages: a less important sequence that waits for a page must not keep
// the token from a more important one that could go on. These are the seeds of the first 17690 that
// once stood still.
TEST(RandomWorkload, WhoWaitsForPagesKeepsNoToken) {
  for (const uint64_t seed : {3296, 3298, 9220, 11088, 14162, 15416, 16448, 17690}) {
    SchedulerOptions options = RandomOptions(seed);
    options.ranks = 1;
    options.max_batched_tokens = 1;
    options.blocks_per_rank = 4 + static_cast<int64_t>(seed / 2 % 6);
    Workload workload(options, seed);
    EXPECT_TRUE(workload.Run(60)) << "seed " << seed << ", " << workload.complaint();
  }
}

// The ranks fail in every fiftieth step, and what was heard of a request goes on as if they had
// not.
TEST(RandomWorkload, KeepsEveryInvariantWhileRanksFail) {
  WorkloadCounts all;
  for (uint64_t seed = 2001; seed <= 2000 + kSettings; ++seed) {
    Workload workload(RandomOptions(seed), seed, /*crashes=*/2);
    ASSERT_TRUE(workload.Run(500)) << "seed " << seed << ", " << workload.complaint();
    all += workload.counts();
  }
  RecordProperty("crashes", static_cast<int>(all.crashes));
  RecordProperty("given_up", static_cast<int>(all.given_up));
  EXPECT_GT(all.crashes, Share(4000));
  EXPECT_GT(all.pages_kept, Share(4000));
  EXPECT_GT(all.stopped, Share(2000));
  EXPECT_GT(all.full_length, Share(2000));
  EXPECT_LT(all.given_up * 100, all.requests);  // three failures in a row at the same place
}

TEST(RandomWorkload, TheSameCallsGiveTheSameSchedule) {
  for (uint64_t seed = 1001; seed <= 1030; ++seed) {
    SchedulerOptions options = RandomOptions(seed);
    Workload once(options, seed);
    options.hash_seed = ~seed;  // it must not show
    Workload twice(options, seed);
    ASSERT_TRUE(once.Run(2000)) << "seed " << seed << ", " << once.complaint();
    ASSERT_TRUE(twice.Run(2000)) << "seed " << seed << ", " << twice.complaint();
    EXPECT_EQ(once.fingerprint(), twice.fingerprint()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace folkmoot
