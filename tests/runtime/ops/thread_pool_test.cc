// SPDX-License-Identifier: Apache-2.0
#include "runtime/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace folkmoot {
namespace {

TEST(ThreadPool, CoversEveryItemOnceInRangesOfAtLeastTheGrain) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (const int64_t items : {0, 1, 2, 5, 64, 1000}) {
      for (const int64_t grain : {0, 1, 3, 100}) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(items));
        std::vector<std::atomic<int>> ranges(static_cast<size_t>(threads));
        pool.ParallelFor(items, grain, [&](int64_t begin, int64_t end, int thread) {
          ranges[static_cast<size_t>(thread)].fetch_add(1);
          EXPECT_TRUE(end - begin >= grain || (begin == 0 && end == items));
          for (int64_t i = begin; i < end; ++i) hits[static_cast<size_t>(i)].fetch_add(1);
        });
        for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1);
        for (const auto& range : ranges) ASSERT_LE(range.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, UsesTheResultsOfAllThreadsAfterEachCall) {
  ThreadPool pool(3);
  std::vector<int64_t> values(300);
  for (int64_t round = 1; round <= 5000; ++round) {
    pool.ParallelFor(300, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) values[static_cast<size_t>(i)] += i;
    });
  }
  for (int64_t i = 0; i < 300; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], i * 5000);
}

TEST(ThreadPool, WakesSleepingThreads) {
  ThreadPool pool(2);
  std::atomic<int> calls{0};
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool.ParallelFor(2, 1, [&](int64_t, int64_t, int) { calls.fetch_add(1); });
  }
  EXPECT_EQ(calls.load(), 6);
}

TEST(ThreadPool, PinningIsUndoneForTheCaller) {
  cpu_set_t before, during, after;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  const int allowed = CPU_COUNT(&before);
  {
    ThreadPool pool(allowed, true);
    ASSERT_EQ(sched_getaffinity(0, sizeof(during), &during), 0);
    EXPECT_EQ(CPU_COUNT(&during), 1);
  }
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
  ThreadPool too_many(allowed + 1, true);
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

}  // namespace
}  // namespace folkmoot
