// SPDX-License-Identifier: Apache-2.0
// The inner loop of products with quantised weights: rows of x as integers of 16 or 8 bits
// (runtime/cpu/product_rows.h) against one packed panel of 32 outputs.
//
// Layout of a panel (runtime/cpu/pack_codes.cc): per group of `group` k, its chunks of codes, then
// 32 scales, then 32 offsets where there are any. A chunk is 32 k (16 when groups are), as words of
// 32 bits, one word per output:
//   8-bit codes [k / 4][32]  bytes k+0, k+2, k+1, k+3: shifts make the pairs (k, k+1), (k+2, k+3)
//   4-bit codes [k / 8][32]  nibbles k+0, +2, +4, +6, +1, +3, +5, +7: pair p is bits 4p and 4p + 16
//
// A chunk's sum is exact in integers: |code| <= 128, |x| < 2^15, 32 products. It becomes float
// once, and floats are added in order of k: t = sum * x_scale + t over the chunks of a group, then
// out = t * scale + out, then out = x_sum * offset + out. So a row has the same bits alone and
// among others, and on every instruction set.
#include <algorithm>
#include <cstdint>

#include "hwy/cache_control.h"
#include "runtime/cpu/code_pairs-inl.h"
#include "runtime/cpu/code_panel.h"
#include "runtime/cpu/code_tiles-inl.h"
#include "runtime/cpu/panel_kernel-inl.h"
#include "runtime/cpu/product_rows.h"

#if defined(FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// Rows of a tile. With more than two, AVX2 takes a panel in halves: 6 rows by 16 outputs are sums
// in 12 registers, and leave room for two vectors of codes, one of x and a product.
constexpr int64_t kCodeTileRows = kVector == 16 ? 8 : 6;
template <int kRows>
constexpr size_t kTileVectors = kVector == 16 || kRows > 2 ? 2 : kPanelVectors;

struct CodeTile {
  CodePanelShape shape;
  const std::byte* panel;
  int64_t fetch;  // how far ahead memory is fetched
  // Every fetch_parts-th chunk, from this one on, is fetched: the tiles of a panel share the next.
  int64_t fetch_part;
  int64_t fetch_parts;
  CodeRows x;
  float* sums;  // [rows][32]
};

// Integer sums of a tile's columns.
template <int kRows>
struct IntegerSums {
  VI v[kRows][kTileVectors<kRows>];
};

// Adds the products of part kPart, .. of one step; x holds a word for each.
template <class Codes, int kRows, int kPart = 0>
HWY_INLINE void AddStep(const int32_t* word, const std::byte* x, int64_t stride,
                        IntegerSums<kRows>& sums) {
  constexpr size_t kCount = kTileVectors<kRows>;
  VI w[kCount];
  for (size_t i = 0; i < kCount; ++i) w[i] = Codes::template Part<kPart>(word + i * kVector);
  for (int r = 0; r < kRows; ++r) {
    int32_t values;
    std::memcpy(&values, x + r * stride + 4 * kPart, sizeof(values));
    const VI value = hn::Set(DI(), values);
    for (size_t i = 0; i < kCount; ++i) sums.v[r][i] = Codes::Add(sums.v[r][i], w[i], value);
  }
  if constexpr (kPart + 1 < Codes::kParts) {
    AddStep<Codes, kRows, kPart + 1>(word, x, stride, sums);
  }
}

// The integer sums of chunk `at` of x with the codes at `codes`, from `column` on. Unrolled: GCC
// moves all sums between registers, or to memory and back, in every turn of a loop.
template <class Codes, int kRows, int64_t kChunk>
HWY_INLINE IntegerSums<kRows> SumChunk(const CodeTile& tile, int64_t at, const std::byte* codes,
                                       int64_t column) {
  const DI d;
  constexpr int64_t kStepBytes = Codes::kWords * kPanelCols * 4;
  constexpr int64_t kSteps = kChunk / Codes::kStep;
  const bool fetch =
      column == 0 && (tile.fetch_parts == 1 || at % tile.fetch_parts == tile.fetch_part);
  IntegerSums<kRows> sums;
  for (int r = 0; r < kRows; ++r) {
    VI start = hn::Zero(d);
    if constexpr (Codes::kZero != 0) {
      start = hn::Set(d, -Codes::kZero * tile.x.sums[r * tile.x.chunks + at]);
    }
    for (VI& sum : sums.v[r]) sum = start;
  }
  const std::byte* x = tile.x.q + at * kChunk * Codes::kRowBytes;
  const auto* words = reinterpret_cast<const int32_t*>(codes) + column;
#pragma GCC unroll 8
  for (int64_t step = 0; step < kSteps; ++step) {
    if (fetch) {
      for (int64_t line = 0; line < kStepBytes; line += 64) {
        __builtin_prefetch(codes + tile.fetch + step * kStepBytes + line, 0, 2);
      }
    }
    AddStep<Codes, kRows>(words + step * (kStepBytes / 4), x + step * 4 * Codes::kParts,
                          tile.x.stride, sums);
  }
  return sums;
}

// A group of one chunk: sums += integers * x_scale * scale. What AddLongGroup would do, without
// the registers of t.
template <class Codes, int kRows, int64_t kChunk>
HWY_INLINE void AddChunkGroup(const CodeTile& tile, int64_t group, const std::byte* codes,
                              const std::byte* scales, int64_t column) {
  const DF d;
  constexpr size_t kCount = kTileVectors<kRows>;
  const IntegerSums<kRows> integers = SumChunk<Codes, kRows, kChunk>(tile, group, codes, column);
  VF scale[kCount];
  for (size_t i = 0; i < kCount; ++i) {
    scale[i] = LoadScale(tile.shape.scale_type, scales, column + static_cast<int64_t>(i * kVector));
  }
  for (int r = 0; r < kRows; ++r) {
    const VF x_scale = hn::Set(d, tile.x.scales[r * tile.x.chunks + group]);
    for (size_t i = 0; i < kCount; ++i) {
      float* sum = tile.sums + r * kPanelCols + column + i * kVector;
      const VF t = hn::Mul(hn::ConvertTo(d, integers.v[r][i]), x_scale);
      hn::Store(Fma(t, scale[i], hn::Load(d, sum)), d, sum);
    }
  }
}

// A group of several: t = integers * x_scale + t over its chunks, then sums += t * scale.
template <class Codes, int kRows>
HWY_INLINE void AddLongGroup(const CodeTile& tile, int64_t group, const std::byte* codes,
                             const std::byte* scales, int64_t column) {
  constexpr int64_t kChunk = 32;
  constexpr size_t kCount = kTileVectors<kRows>;
  const DF d;
  VF t[kRows][kCount];
  for (auto& row : t) {
    for (VF& value : row) value = hn::Zero(d);
  }
  for (int64_t c = 0; c < tile.shape.chunks; ++c) {
    const int64_t at = group * tile.shape.chunks + c;
    const IntegerSums<kRows> integers =
        SumChunk<Codes, kRows, kChunk>(tile, at, codes + c * tile.shape.chunk_bytes, column);
    for (int r = 0; r < kRows; ++r) {
      const VF x_scale = hn::Set(d, tile.x.scales[r * tile.x.chunks + at]);
      for (size_t i = 0; i < kCount; ++i) {
        t[r][i] = Fma(hn::ConvertTo(d, integers.v[r][i]), x_scale, t[r][i]);
      }
    }
  }
  for (size_t i = 0; i < kCount; ++i) {
    const int64_t at = column + static_cast<int64_t>(i * kVector);
    const VF scale = LoadScale(tile.shape.scale_type, scales, at);
    for (int r = 0; r < kRows; ++r) {
      float* sum = tile.sums + r * kPanelCols + at;
      hn::Store(Fma(t[r][i], scale, hn::Load(d, sum)), d, sum);
    }
  }
}

// sums += x_sum * offset, x_sum being the sum of the group's values of x.
template <int kRows>
HWY_INLINE void AddOffsets(const CodeTile& tile, int64_t group, const std::byte* offsets) {
  const DF d;
  for (int r = 0; r < kRows; ++r) {
    VF x_sum = hn::Zero(d);
    for (int64_t c = 0; c < tile.shape.chunks; ++c) {
      const int64_t at = r * tile.x.chunks + group * tile.shape.chunks + c;
      x_sum = Fma(hn::Set(d, static_cast<float>(tile.x.sums[at])), hn::Set(d, tile.x.scales[at]),
                  x_sum);
    }
    for (int64_t column = 0; column < kPanelCols; column += static_cast<int64_t>(kVector)) {
      float* sum = tile.sums + r * kPanelCols + column;
      const VF offset = LoadScale(tile.shape.scale_type, offsets, column);
      hn::Store(Fma(x_sum, offset, hn::Load(d, sum)), d, sum);
    }
  }
}

template <class Codes, int kRows>
HWY_NOINLINE void RunCodeTile(const CodeTile& args) {
  const CodeTile tile = args;  // which stores to sums cannot change
  const CodePanelShape& shape = tile.shape;
  for (int64_t group = 0; group < shape.groups; ++group) {
    const std::byte* codes = tile.panel + group * shape.group_bytes;
    const std::byte* scales = codes + shape.chunks * shape.chunk_bytes;
    constexpr auto kColumns = static_cast<int64_t>(kTileVectors<kRows> * kVector);
    for (int64_t column = 0; column < kPanelCols; column += kColumns) {
      if (shape.chunk == 16) {
        AddChunkGroup<Codes, kRows, 16>(tile, group, codes, scales, column);
      } else if (shape.chunks == 1) {
        AddChunkGroup<Codes, kRows, 32>(tile, group, codes, scales, column);
      } else {
        AddLongGroup<Codes, kRows>(tile, group, codes, scales, column);
      }
    }
    if (shape.offsets) {
      AddOffsets<kRows>(tile, group, scales + kPanelCols * DTypeBytes(shape.scale_type));
    }
  }
}

template <class Codes, int kRows = kCodeTileRows>
HWY_INLINE void RunCodeTileOf(int64_t rows, const CodeTile& tile) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return RunCodeTileOf<Codes, kRows - 1>(rows, tile);
  }
  RunCodeTile<Codes, kRows>(tile);
}

// sums [rows][32] = rows of x * panel; rows <= kRowBlock, sums 64-byte aligned.
template <class Codes>
HWY_INLINE void RunCodePanel(const CodePanelShape& shape, const std::byte* panel, const CodeRows& x,
                             int64_t rows, float* sums) {
  constexpr int64_t kNear = 4096;  // what one tile fetches ahead of itself; several, a panel
  std::memset(sums, 0, static_cast<size_t>(rows * kPanelCols) * sizeof(float));
  const int64_t tiles = (rows + kCodeTileRows - 1) / kCodeTileRows;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t row = rows * tile / tiles;
    const CodeTile args = {.shape = shape,
                           .panel = panel,
                           .fetch = tiles == 1 ? kNear : shape.bytes(),
                           .fetch_part = tile,
                           .fetch_parts = tiles,
                           .x = x.Rows(row),
                           .sums = sums + row * kPanelCols};
    RunCodeTileOf<Codes>(rows * (tile + 1) / tiles - row, args);
  }
}

// E4M3 codes as floats: four of a word are bytes 0, 2, 1, 3. [4][32] floats.
HWY_INLINE void WidenFp8(const int32_t* words, float* wide) {
  const DF d;
  const DU du;
  // The bits of a float with an exponent that is biased by 7 and not 127.
  const VF unbias = hn::Set(d, 0x1p120f);
  for (int64_t column = 0; column < kPanelCols; column += static_cast<int64_t>(kVector)) {
    auto word = hn::Load(du, reinterpret_cast<const uint32_t*>(words + column));
    for (const int64_t row : {0, 2, 1, 3}) {
      const auto sign = hn::ShiftLeft<24>(hn::And(word, hn::Set(du, 0x80u)));
      const auto rest = hn::ShiftLeft<20>(hn::And(word, hn::Set(du, 0x7fu)));
      hn::Store(hn::Mul(hn::BitCast(d, hn::Or(sign, rest)), unbias), d,
                wide + row * kPanelCols + column);
      word = hn::ShiftRight<8>(word);
    }
  }
}

// sums [rows][32] = rows of x * panel of E4M3 codes, in float32.
HWY_INLINE void RunFp8Panel(const CodePanelShape& shape, const std::byte* panel, const PanelRows& x,
                            int64_t k, float* sums) {
  const DF d;
  constexpr int64_t kBlock = 128;
  HWY_ALIGN float wide[kBlock * kPanelCols];
  HWY_ALIGN float partial[kRowBlock * kPanelCols];
  std::memset(sums, 0, static_cast<size_t>(x.rows * kPanelCols) * sizeof(float));
  const int64_t group_values = shape.chunk * shape.chunks;
  for (int64_t group = 0; group < shape.groups; ++group) {
    const std::byte* codes = panel + group * shape.group_bytes;
    std::memset(partial, 0, static_cast<size_t>(x.rows * kPanelCols) * sizeof(float));
    const int64_t end = std::min(k - group * group_values, group_values);
    for (int64_t first = 0; first < end; first += kBlock) {
      const int64_t count = std::min(kBlock, end - first);
      for (int64_t i = 0; i < count; i += 4) {
        WidenFp8(reinterpret_cast<const int32_t*>(codes + (first + i) * kPanelCols),
                 wide + i * kPanelCols);
      }
      RunSlice<F32Panel>(reinterpret_cast<const std::byte*>(wide),
                         {x.x + group * group_values + first, x.stride, x.rows}, count, nullptr,
                         partial);
    }
    const std::byte* scales = codes + shape.chunks * shape.chunk_bytes;
    for (int64_t i = 0; i < x.rows * kPanelCols; i += static_cast<int64_t>(kVector)) {
      const VF scale = LoadScale(shape.scale_type, scales, i % kPanelCols);
      hn::Store(Fma(hn::Load(d, partial + i), scale, hn::Load(d, sums + i)), d, sums + i);
    }
  }
}

// Kind is AsPairs or AsBytes.
template <class Kind>
HWY_INLINE void RunCodePanelOf(const CodePanelShape& shape, const std::byte* panel,
                               const CodeRows& x, int64_t rows, float* sums) {
  switch (shape.type) {
    case CodeType::kInt8:
      return RunCodePanel<typename Kind::Int8>(shape, panel, x, rows, sums);
    case CodeType::kInt4:
      return RunCodePanel<typename Kind::template Int4<8>>(shape, panel, x, rows, sums);
    case CodeType::kUint4:
      return RunCodePanel<typename Kind::template Int4<0>>(shape, panel, x, rows, sums);
    default:
      return RunCodePanel<typename Kind::Fp4>(shape, panel, x, rows, sums);
  }
}

HWY_INLINE void RunCodePanel(const CodePanelShape& shape, const std::byte* panel, const CodeRows& x,
                             int64_t rows, float* sums) {
#if HWY_TARGET == HWY_AVX3_DL
  if (x.tiles) return RunTilePanel(shape, panel, x, rows, sums);
  if (x.bytes) return RunCodePanelOf<AsBytes>(shape, panel, x, rows, sums);
#endif
  RunCodePanelOf<AsPairs>(shape, panel, x, rows, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
