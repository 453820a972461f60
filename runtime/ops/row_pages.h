// SPDX-License-Identifier: Apache-2.0
// Rows of numbers in the pages of sequences, of several kinds side by side ("tracks"): what
// attention keeps whose keys are its values, and whose memory of the past is compressed
// (layers/compressed_attention.h), and keys of pools (layers/lightning_indexer.h).
//
// A track has one row for every `rate` positions: rate 1 is a row per token. Row i belongs to
// positions i * rate .. (i + 1) * rate - 1 and stands in the page of the last of them, by which it
// is complete: whoever shares a page of the prefix cache shares its rows. A page has room for the
// most rows that can end in it, whether or not the rate divides its size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/lazy_memory.h"
#include "runtime/ops/attention.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// Owns its memory. Rows are float32, bfloat16 (rounded to nearest), or int8 with a scale per row
// (max|x| / 127), as keys and values of a KvCache are.
class RowPages {
 public:
  // Rows are padded with zeros to multiples of so many numbers.
  static constexpr int64_t kGroup = 16;

  struct Track {
    int64_t width = 0;  // numbers of a row
    int64_t rate = 1;   // positions of a row
    DType dtype = DType::kF32;
  };
  struct Shape {
    int64_t blocks = 0;
    int64_t block_size = 16;
    std::vector<Track> tracks;
  };
  explicit RowPages(const Shape& shape);
  static int64_t BytesPerBlock(const Shape& shape);

  const Shape& shape() const { return shape_; }
  const Track& track(int64_t index) const { return shape_.tracks[static_cast<size_t>(index)]; }
  // Numbers from the beginning of a row to its padding's end; the scale of int8 follows.
  int64_t stride(int64_t index) const { return Padded(track(index).width); }
  static int64_t Padded(int64_t width) { return (width + kGroup - 1) / kGroup * kGroup; }

  // Row `row` of the sequence with these pages.
  std::byte* Row(int64_t index, std::span<const int32_t> blocks, int64_t row) {
    return memory_.data() + At(index, blocks, row);
  }
  const std::byte* Row(int64_t index, std::span<const int32_t> blocks, int64_t row) const {
    return memory_.data() + At(index, blocks, row);
  }

 private:
  // Where a track lies in memory_.
  struct Place {
    int64_t first = 0;      // bytes before it
    int64_t slots = 0;      // rows of a page
    int64_t row_bytes = 0;  // a multiple of 64
  };
  static std::vector<Place> PlacesOf(const Shape& shape);
  int64_t At(int64_t index, std::span<const int32_t> blocks, int64_t row) const {
    const Place& place = places_[static_cast<size_t>(index)];
    const int64_t rate = track(index).rate;
    const int64_t page = ((row + 1) * rate - 1) / shape_.block_size;
    const int64_t slot = row - page * shape_.block_size / rate;  // rows that end before the page
    const int64_t block = blocks[static_cast<size_t>(page)];
    return place.first + (block * place.slots + slot) * place.row_bytes;
  }

  Shape shape_;
  std::vector<Place> places_;  // of each track
  LazyMemory memory_;
};

// The rows of a track that are complete behind these sequences' new positions and were not before.
int64_t CompletedRows(std::span<const AttentionSequence> sequences, int64_t rate);

// Writes x [CompletedRows, width], in the order of sequences and rows.
void StoreRows(ThreadPool& pool, int64_t track, std::span<const AttentionSequence> sequences,
               ConstMatrix x, RowPages& pages);

}  // namespace folkmoot
