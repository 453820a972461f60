// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/row_pages.h"

#include "runtime/check.h"
#include "runtime/cpu/stored_rows.h"

namespace folkmoot {
namespace {

int64_t TotalBytes(const RowPages::Shape& shape) {
  return shape.blocks * RowPages::BytesPerBlock(shape);
}

}  // namespace

RowPages::RowPages(const Shape& shape)
    : shape_(shape), places_(PlacesOf(shape)), memory_(TotalBytes(shape)) {}

std::vector<RowPages::Place> RowPages::PlacesOf(const Shape& shape) {
  constexpr int64_t kLine = 64;
  FM_CHECK(shape.blocks >= 0 && shape.block_size > 0);
  std::vector<Place> places;
  int64_t bytes = 0;
  for (const Track& track : shape.tracks) {
    FM_CHECK(track.width > 0 && track.rate > 0);
    FM_CHECK(track.dtype == DType::kF32 || track.dtype == DType::kBF16 ||
             track.dtype == DType::kI8);
    const int64_t scale = track.dtype == DType::kI8 ? static_cast<int64_t>(sizeof(float)) : 0;
    const int64_t row = Padded(track.width) * DTypeBytes(track.dtype) + scale;
    const Place place = {.first = bytes,
                         .slots = (shape.block_size + track.rate - 1) / track.rate,
                         .row_bytes = (row + kLine - 1) / kLine * kLine};
    bytes += shape.blocks * place.slots * place.row_bytes;
    places.push_back(place);
  }
  return places;
}

int64_t RowPages::BytesPerBlock(const Shape& shape) {
  int64_t bytes = 0;
  for (const Place& place : PlacesOf(shape)) bytes += place.slots * place.row_bytes;
  return bytes;
}

int64_t CompletedRows(std::span<const AttentionSequence> sequences, int64_t rate) {
  int64_t rows = 0;
  for (const AttentionSequence& s : sequences) {
    rows += (s.start + s.rows) / rate - s.start / rate;
  }
  return rows;
}

void StoreRows(ThreadPool& pool, int64_t track, std::span<const AttentionSequence> sequences,
               ConstMatrix x, RowPages& pages) {
  FM_CHECK(x.cols == pages.track(track).width);
  FM_CHECK(x.rows == CompletedRows(sequences, pages.track(track).rate));
  cpu::StoreRows(pool, track, sequences, x, pages);
}

}  // namespace folkmoot
