// SPDX-License-Identifier: Apache-2.0
// Supervised servers on a virtual clock, one history per seed. FOLKMOOT_HISTORIES=1000000 runs more
// of them, FOLKMOOT_SEED=N that one alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "tests/simulation/sim_history.h"

namespace folkmoot {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

SimCounts RunHistories(uint64_t first, uint64_t histories) {
  SimCounts sum;
  for (uint64_t seed = first; seed < first + histories; ++seed) {
    SimHistory history(seed);
    const bool well = history.Run();
    sum += history.counts();
    EXPECT_TRUE(well) << "FOLKMOOT_SEED=" << seed << ": " << history.complaint();
    if (testing::Test::HasFailure()) break;
  }
  return sum;
}

void Report(const SimCounts& sum, uint64_t histories, double seconds) {
  const auto& requests = sum.requests;
  fmt::print(
      "{} histories in {:.1f} s: {} requests ({} refused, {} cancelled, {} given up, {} ended with "
      "the engine), {} tokens, {} steps\n{} lives, {} failed starts, {} engines given up, {} "
      "launchers killed, supervisor stood still {} times; longest {:.0f} s\n{} repairs, {} of them "
      "failed; {} pages kept\n",
      histories, seconds, requests.accepted, requests.refused, requests.cancelled,
      requests.given_up, requests.dead, requests.tokens, requests.steps, sum.lives,
      sum.failed_starts, sum.given_up, sum.launchers_killed, sum.stood_still,
      static_cast<double>(sum.longest) / 1000, sum.repairs, sum.failed_repairs,
      requests.pages_kept);
  static constexpr const char* kNames[kSimFaults] = {"kill",    "stop", "pause", "wedge",  "slow",
                                                     "endless", "lost", "stuck", "undying"};
  for (size_t i = 0; i < sum.faults.size(); ++i) {
    fmt::print("{}: {}, noticed after at most {} ms\n", kNames[i], sum.faults[i],
               sum.slowest_notice[i]);
  }
}

TEST(Simulation, NoRequestIsLostOrChangedWhateverBreaks) {
  const uint64_t one = FromEnvironment("FOLKMOOT_SEED", 0);
  const uint64_t histories = one > 0 ? 1 : FromEnvironment("FOLKMOOT_HISTORIES", 10'000);
  const auto start = std::chrono::steady_clock::now();
  const SimCounts sum = RunHistories(one > 0 ? one : 1, histories);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  Report(sum, histories, took.count());
  if (histories < 1000) return;
  for (size_t i = 0; i < sum.faults.size(); ++i) EXPECT_GT(sum.faults[i], 100) << i;
  EXPECT_GT(sum.requests.cancelled, 100);
  EXPECT_GT(sum.requests.given_up, 100);
  EXPECT_GT(sum.given_up, 10);
  EXPECT_GT(sum.repairs, 1000);
  EXPECT_GT(sum.failed_repairs, 100);
  EXPECT_GT(sum.requests.pages_kept, 1000);
}

TEST(Simulation, TheSameSeedIsTheSameHistory) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    SimHistory a(seed);
    SimHistory b(seed);
    EXPECT_EQ(a.Run(), b.Run());
    EXPECT_EQ(a.counts().longest, b.counts().longest);
    EXPECT_EQ(a.counts().requests.steps, b.counts().requests.steps);
    EXPECT_EQ(a.counts().requests.tokens, b.counts().requests.tokens);
  }
}

// How many of some histories are complained of with these limits.
int Complaints(const WatchLimits& limits) {
  int complaints = 0;
  for (uint64_t seed = 1; seed < 300; ++seed) complaints += SimHistory(seed, limits).Run() ? 0 : 1;
  return complaints;
}

// The simulation can fail: a watch that is too strict ends engines without a fault, and one that is
// too lax does not keep what the documents say.
TEST(Simulation, AWatchThatIsTooStrictOrTooLaxIsFoundOut) {
  EXPECT_EQ(Complaints({}), 0);
  EXPECT_GT(Complaints({.silence = std::chrono::milliseconds(400)}), 0);
  EXPECT_GT(Complaints({.busy_cpu = std::chrono::milliseconds(3000)}), 0);
  EXPECT_GT(Complaints({.silence = std::chrono::milliseconds(4000)}), 0);
  EXPECT_GT(Complaints({.idle_cpu = std::chrono::milliseconds(6000)}), 0);
  EXPECT_GT(Complaints({.idle_load = std::chrono::milliseconds(300)}), 0);
  EXPECT_GT(Complaints({.idle_load = std::chrono::milliseconds(60'000)}), 0);
  EXPECT_GT(Complaints({.deadlock = std::chrono::milliseconds(8000)}), 0);
}

}  // namespace
}  // namespace folkmoot
