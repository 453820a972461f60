// SPDX-License-Identifier: Apache-2.0
// Packing of codes into panels, once at load time.
#include <array>
#include <cstring>
#include <limits>

#include "runtime/cpu/code_panel.h"

namespace folkmoot::cpu {
namespace {

// Where code i of a word goes: see code_kernel-inl.h.
constexpr std::array<int, 4> kByteShift = {0, 16, 8, 24};
constexpr std::array<int, 8> kNibbleShift = {0, 16, 4, 20, 8, 24, 12, 28};

// Codes of zero weight behind the end of a row and in columns that have none: what is multiplied
// by zeros of x must only be finite.
void PackChunk(const CodePanelShape& shape, std::span<const uint8_t> codes, int64_t column,
               std::byte* chunk) {
  const bool bytes = CodeBits(shape.type) == 8;
  const size_t per_word = bytes ? 4 : 8;
  for (size_t first = 0; first < static_cast<size_t>(shape.chunk); first += per_word) {
    uint32_t word = 0;
    for (size_t i = 0; i < per_word && first + i < codes.size(); ++i) {
      const auto code = static_cast<uint32_t>(codes[first + i]);
      word |= bytes ? code << kByteShift[i] : (code & 15) << kNibbleShift[i];
    }
    const size_t index = first / per_word * CodePanelShape::kCols + static_cast<size_t>(column);
    std::memcpy(chunk + index * sizeof(word), &word, sizeof(word));
  }
}

bool HasNan(CodeType type, std::span<const uint8_t> codes) {
  if (type != CodeType::kFp8) return false;
  for (const uint8_t code : codes) {
    if ((code & 0x7f) == 0x7f) return true;
  }
  return false;
}

}  // namespace

void PackCodePanel(const CodePanelPart& part, const CodeRow& scratch, std::byte* panel) {
  const CodeSpec& spec = part.weight.spec();
  const int64_t k = part.weight.k();
  const CodePanelShape shape = CodePanelShape::Of(spec, k);
  for (int64_t r = 0; r < part.rows; ++r) {
    part.weight.ReadRow(part.first + r, scratch);
    const int64_t column = part.column + r;
    for (int64_t g = 0; g < shape.groups; ++g) {
      std::byte* group = panel + g * shape.group_bytes;
      const std::span<const uint8_t> codes =
          scratch.codes.subspan(static_cast<size_t>(g * spec.group),
                                static_cast<size_t>(std::min(spec.group, k - g * spec.group)));
      for (int64_t c = 0; c < shape.chunks; ++c) {
        const auto first = std::min(static_cast<size_t>(c * shape.chunk), codes.size());
        const auto count = std::min(static_cast<size_t>(shape.chunk), codes.size() - first);
        PackChunk(shape, codes.subspan(first, count), column, group + c * shape.chunk_bytes);
      }
      // A code that is NaN makes its whole group NaN: the products are NaN either way.
      const float scale = HasNan(spec.type, codes) ? std::numeric_limits<float>::quiet_NaN()
                                                   : scratch.scales[static_cast<size_t>(g)];
      std::byte* scales = group + shape.chunks * shape.chunk_bytes;
      StoreElement(scale, scales, spec.scale_type, column);
      if (!spec.offsets) continue;
      scales += CodePanelShape::kCols * DTypeBytes(spec.scale_type);
      StoreElement(scratch.offsets[static_cast<size_t>(g)], scales, spec.scale_type, column);
    }
  }
}

void UnpackCodes(const CodeSpec& spec, int64_t k, const std::byte* panel, int64_t column,
                 const CodeRow& out) {
  const CodePanelShape shape = CodePanelShape::Of(spec, k);
  const bool bytes = CodeBits(spec.type) == 8;
  const int64_t per_word = bytes ? 4 : 8;
  for (int64_t i = 0; i < k; ++i) {
    const int64_t within = i % spec.group;
    const std::byte* chunk =
        panel + i / spec.group * shape.group_bytes + within / shape.chunk * shape.chunk_bytes;
    const int64_t at = within % shape.chunk;
    uint32_t word;
    std::memcpy(&word, chunk + (at / per_word * CodePanelShape::kCols + column) * 4, sizeof(word));
    const auto place = static_cast<size_t>(at % per_word);
    out.codes[static_cast<size_t>(i)] = static_cast<uint8_t>(
        bytes ? word >> kByteShift[place] & 0xff : word >> kNibbleShift[place] & 15);
  }
  for (int64_t g = 0; g < shape.groups; ++g) {
    const std::byte* scales = panel + g * shape.group_bytes + shape.chunks * shape.chunk_bytes;
    out.scales[static_cast<size_t>(g)] = LoadElement(scales, spec.scale_type, column);
    if (!spec.offsets) continue;
    scales += CodePanelShape::kCols * DTypeBytes(spec.scale_type);
    out.offsets[static_cast<size_t>(g)] = LoadElement(scales, spec.scale_type, column);
  }
}

}  // namespace folkmoot::cpu
