// SPDX-License-Identifier: Apache-2.0
// The end of choosing keys: of the scores of a row the places of the greatest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"
#include "runtime/workspace.h"

namespace folkmoot::cpu {

// Places are chosen in blocks, by the greatest score in each; the last `local` of them always are.
struct BlocksOfKeys {
  int64_t size = 1;
  int64_t local = 0;
};

// Numbers of `orders` for so many scores.
int64_t OrdersFor(int64_t scores, const BlocksOfKeys& blocks);

// Writes the places in the blocks of the greatest scores to row `row` of `chosen`, ascending:
// chosen.most of them, or fewer where the last block is one of them and not full. There are more
// blocks than that. Of equal ones the lower counts; NaN is the greatest.
void KeepGreatest(std::span<const float> scores, const BlocksOfKeys& blocks, uint32_t* orders,
                  int64_t row, const ChosenKeys& chosen);

// use(part) for one part of `queries` after the other, as many at a time as have room for their
// scores; while it runs, their `scores` point to scores_of(query) numbers each.
template <typename Query, typename ScoresOf, typename Use>
void ForQueriesWithRoom(Workspace& workspace, std::span<Query> queries, const ScoresOf& scores_of,
                        const Use& use) {
  constexpr int64_t kScoresAtOnce = int64_t{1} << 22;  // 16 MiB
  for (size_t first = 0; first < queries.size();) {
    const Workspace::Position mark = workspace.Mark();
    size_t end = first;
    for (int64_t taken = 0; end < queries.size(); ++end) {
      const int64_t scores = scores_of(queries[end]);
      taken += scores;
      if (taken > kScoresAtOnce && end > first) break;
      queries[end].scores = workspace.Get<float>(scores).data();
    }
    use(queries.subspan(first, end - first));
    workspace.Release(mark);
    first = end;
  }
}

}  // namespace folkmoot::cpu
