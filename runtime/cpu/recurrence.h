// SPDX-License-Identifier: Apache-2.0
// How recurrences are divided among threads: what rows do by themselves by rows, what goes from row
// to row by columns of the heads' states, so that one sequence uses all threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <span>

#include "runtime/ops/attention.h"
#include "runtime/thread_pool.h"

namespace folkmoot::cpu {

// each(sequence, row of the batch) for all rows of the sequences, which cover the batch in order;
// a row has `numbers`.
template <typename F>
void ForSequenceRows(ThreadPool& pool, int64_t rows, int64_t numbers,
                     std::span<const AttentionSequence> sequences, F each) {
  constexpr int64_t kWorthAThread = 32768;  // numbers
  pool.ParallelFor(rows, kWorthAThread / numbers + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const auto behind = std::upper_bound(
          sequences.begin(), sequences.end(), t,
          [](int64_t row, const AttentionSequence& sequence) { return row < sequence.first_row; });
      each(*std::prev(behind), t);
    }
  });
}

// each(sequence, head, first column) for all heads of `dim` columns, some `columns` at a time.
template <typename F>
void ForHeadColumns(ThreadPool& pool, std::span<const AttentionSequence> sequences, int64_t heads,
                    int64_t dim, int64_t columns, F each) {
  const int64_t parts = (dim + columns - 1) / columns;
  const int64_t units = std::ssize(sequences) * heads * parts;
  std::atomic<int64_t> next{0};
  pool.ParallelFor(std::min<int64_t>(pool.threads(), units), 1, [&](int64_t, int64_t, int) {
    for (int64_t unit = next.fetch_add(1); unit < units; unit = next.fetch_add(1)) {
      each(sequences[static_cast<size_t>(unit / parts / heads)], unit / parts % heads,
           unit % parts * columns);
    }
  });
}

}  // namespace folkmoot::cpu
