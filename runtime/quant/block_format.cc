// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/block_format.h"

#include <algorithm>
#include <array>

#include "runtime/check.h"
#include "runtime/quant/gguf_formats.h"

namespace folkmoot {
namespace {

constexpr std::array<const BlockFormat*, 6> kFormats = {&kGgufQ80, &kGgufQ40, &kGgufQ41,
                                                        &kGgufQ4K, &kGgufQ6K, &kGgufMxfp4};

}  // namespace

std::span<const BlockFormat* const> BlockFormats() { return kFormats; }

const BlockFormat* FindBlockFormat(uint32_t gguf_type) {
  const auto found = std::find_if(
      kFormats.begin(), kFormats.end(),
      [gguf_type](const BlockFormat* format) { return format->gguf_type == gguf_type; });
  return found == kFormats.end() ? nullptr : *found;
}

BlockMatrix::BlockMatrix(const BlockFormat& format, int64_t n, int64_t k, const Place& place)
    : CodeMatrix(n, k, format.spec),
      format_(format),
      place_(place),
      row_bytes_(k / format.weights * format.bytes) {
  FM_CHECK(k % format.weights == 0);
}

const uint8_t* BlockMatrix::Row(int64_t row) const {
  const int64_t stored = place_.order.Stored(place_.first_row + row);
  return reinterpret_cast<const uint8_t*>(place_.data) + stored * row_bytes_;
}

CodeMatrix::Storage BlockMatrix::storage() const {
  return {{place_.data + place_.first_row * row_bytes_, static_cast<size_t>(n() * row_bytes_)},
          n()};
}

void BlockMatrix::ReadRow(int64_t row, const CodeRow& out) const {
  const uint8_t* block = Row(row);
  const auto weights = static_cast<size_t>(format_.weights);
  const auto groups = static_cast<size_t>(format_.weights / format_.spec.group);
  const size_t blocks = static_cast<size_t>(k()) / weights;
  for (size_t b = 0; b < blocks; ++b, block += format_.bytes) {
    format_.read(
        block,
        {out.codes.subspan(b * weights, weights), out.scales.subspan(b * groups, groups),
         format_.spec.offsets ? out.offsets.subspan(b * groups, groups) : std::span<float>()});
  }
}

absl::Status BlockMatrix::CheckFinite(std::string_view where) const {
  const int64_t blocks = k() / format_.weights;
  for (int64_t r = 0; r < n(); ++r) {
    const uint8_t* block = Row(r);
    for (int64_t b = 0; b < blocks; ++b, block += format_.bytes) {
      if (format_.finite(block)) continue;
      return DataLoss("{}: block {} of row {} ({}) has a scale that is not a finite number", where,
                      b, r, format_.name);
    }
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
