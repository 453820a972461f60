// SPDX-License-Identifier: Apache-2.0
// Formats that store a row as blocks of one size: scales and codes of a few weights side by side,
// as in GGUF files. Layouts: ggml's block_q8_0, block_q4_0, ... as the `gguf` package publishes and
// decodes them (gguf.quants). Adding one is a file of its own and a line in BlockFormats().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/quant/code_matrix.h"
#include "runtime/status.h"

namespace folkmoot {

struct BlockFormat {
  std::string_view name;   // as GGUF spells it: "Q4_K"
  uint32_t gguf_type = 0;  // its number in GGUF files
  int64_t weights = 0;     // of a block; a multiple of spec.group
  int64_t bytes = 0;       // of a block
  CodeSpec spec;
  // Unpacks one block: codes [weights], scales and offsets [weights / spec.group].
  void (*read)(const uint8_t* block, const CodeRow& out) = nullptr;
  // False when a scale or offset is NaN or infinite, or a weight would be.
  bool (*finite)(const uint8_t* block) = nullptr;
};

std::span<const BlockFormat* const> BlockFormats();
// Null: no such format here.
const BlockFormat* FindBlockFormat(uint32_t gguf_type);

// How the rows of a matrix stand in the file. llama.cpp rotates neighbours, (0, 1), (2, 3), ..., of
// a head where Transformers rotates the halves (0, d/2), (1, d/2 + 1), ..., so its converter
// interleaves the rows of q and k of the llama architecture.
struct RowOrder {
  int64_t head_dim = 0;  // 0: as they are; else heads of this many rows are interleaved

  // The row of the file that holds row `row`.
  int64_t Stored(int64_t row) const {
    if (head_dim == 0) return row;
    const int64_t half = head_dim / 2;
    const int64_t in_head = row % head_dim;
    return row - in_head + in_head % half * 2 + in_head / half;
  }
};

// A matrix [n, k] of blocks. k is a multiple of format.weights.
class BlockMatrix : public CodeMatrix {
 public:
  // `data`: all rows of the tensor that the order speaks of; the matrix is n of them from
  // `first_row` on. Must outlive the matrix.
  struct Place {
    const std::byte* data = nullptr;
    int64_t first_row = 0;
    RowOrder order = {};
  };
  BlockMatrix(const BlockFormat& format, int64_t n, int64_t k, const Place& place);

  void ReadRow(int64_t row, const CodeRow& out) const override;
  Storage storage() const override;

  // An error that begins with `where` when a scale is not a finite number. Reads all blocks.
  absl::Status CheckFinite(std::string_view where) const;

 private:
  const uint8_t* Row(int64_t row) const;

  const BlockFormat& format_;
  Place place_;
  int64_t row_bytes_;
};

}  // namespace folkmoot
