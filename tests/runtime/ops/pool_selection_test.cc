// SPDX-License-Identifier: Apache-2.0
// GLM-5.3-Flash's pools of keys: ExpandPools beside sums and sets in plain loops.
#include <algorithm>
#include <vector>

#include "runtime/ops/key_selection.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

struct Case {
  int64_t size;
  int64_t most;  // pools
};

class PoolSelection : public testing::TestWithParam<Case> {};

// Two sequences of one batch, the second of which begins later; every third query sees all pools.
TEST_P(PoolSelection, AreThePositionsOfPoolsAndOfTheTail) {
  const auto [size, most] = GetParam();
  const std::vector<AttentionSequence> sequences = {{0, 29, 0, {}}, {29, 12, 37, {}}};
  constexpr int64_t kRows = 41;
  const int64_t room = most * size + size - 1;
  std::vector<int32_t> counts(kRows), positions(static_cast<size_t>(kRows * most), -1);
  std::vector<std::vector<int32_t>> wanted(kRows);
  for (const AttentionSequence& sequence : sequences) {
    for (int64_t r = 0; r < sequence.rows; ++r) {
      const int64_t row = sequence.first_row + r;
      const int64_t seen = sequence.start + r + 1;
      const int64_t full = seen / size;
      if (full <= most || row % 3 == 0) continue;
      // Every other pool from the last on, as far as they go, and then the first ones.
      std::vector<int64_t> pools;
      for (int64_t pool = full - 1; pool >= 0 && std::ssize(pools) < most; pool -= 2) {
        pools.push_back(pool);
      }
      for (int64_t pool = full - 2; pool >= 0 && std::ssize(pools) < most; pool -= 2) {
        pools.push_back(pool);
      }
      std::sort(pools.begin(), pools.end());
      counts[static_cast<size_t>(row)] = static_cast<int32_t>(pools.size());
      for (int64_t p = 0; p < seen; ++p) {
        const bool tail = p >= full * size;
        if (tail || std::count(pools.begin(), pools.end(), p / size) > 0) {
          wanted[static_cast<size_t>(row)].push_back(static_cast<int32_t>(p));
        }
      }
      std::copy(pools.begin(), pools.end(), positions.begin() + row * most);
    }
  }
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::vector<int32_t> expanded(kRows, -1), places(static_cast<size_t>(kRows * room), -1);
    const ChosenKeys chosen = {.most = room, .counts = expanded, .positions = places};
    ExpandPools(pool, size, sequences, {.most = most, .counts = counts, .positions = positions},
                chosen);
    for (int64_t row = 0; row < kRows; ++row) {
      const std::span<const int32_t> own = chosen.Of(row, 0);
      EXPECT_EQ(std::vector<int32_t>(own.begin(), own.end()), wanted[static_cast<size_t>(row)])
          << "row " << row << ", " << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, PoolSelection,
                         testing::Values(Case{1, 3}, Case{3, 2}, Case{4, 5}, Case{16, 1}));

}  // namespace
}  // namespace folkmoot
