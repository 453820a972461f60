// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/stored_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace folkmoot::cpu {
namespace {

void StoreOneRow(const float* x, const RowPages::Track& track, int64_t stride, std::byte* to) {
  if (track.dtype == DType::kI8) {
    const float scale = StoreInt8(x, track.width, reinterpret_cast<int8_t*>(to), 1);
    reinterpret_cast<float*>(to + stride)[0] = scale;
    return;
  }
  for (int64_t i = 0; i < track.width; ++i) StoreElement(x[i], to, track.dtype, i);
}

}  // namespace

float StoreInt8(const float* x, int64_t count, int8_t* to, int64_t stride) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::abs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  const float scale = largest / 127.0f;
  // Infinite below the normal floats: such values count as zero.
  const float inverse = 1.0f / scale;
  const bool usable = finite && std::isfinite(inverse);
  for (int64_t i = 0; i < count; ++i) {
    to[i * stride] = usable ? static_cast<int8_t>(std::nearbyint(x[i] * inverse)) : int8_t{0};
  }
  return finite ? scale : std::numeric_limits<float>::quiet_NaN();
}

void StoreRows(ThreadPool& pool, int64_t track, std::span<const AttentionSequence> sequences,
               ConstMatrix x, RowPages& pages) {
  constexpr int64_t kWorthAThread = 32768;  // numbers
  const int64_t rate = pages.track(track).rate;
  const int64_t each = x.rows * x.cols / std::max<int64_t>(std::ssize(sequences), 1) + 1;
  pool.ParallelFor(
      std::ssize(sequences), kWorthAThread / each + 1, [&](int64_t begin, int64_t end, int) {
        int64_t from = CompletedRows(sequences.first(static_cast<size_t>(begin)), rate);
        for (int64_t s = begin; s < end; ++s) {
          const AttentionSequence& sequence = sequences[static_cast<size_t>(s)];
          const int64_t stop = (sequence.start + sequence.rows) / rate;
          for (int64_t row = sequence.start / rate; row < stop; ++row, ++from) {
            StoreOneRow(x.Row(from), pages.track(track), pages.stride(track),
                        pages.Row(track, sequence.blocks, row));
          }
        }
      });
}

}  // namespace folkmoot::cpu
