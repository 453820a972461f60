// SPDX-License-Identifier: Apache-2.0
// The inner loop of products with quantised weights: rows of x as 16-bit integers
// (runtime/cpu/code_rows.h) against one packed panel of 32 outputs.
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
#include "runtime/cpu/code_rows.h"
#include "runtime/cpu/panel_kernel-inl.h"

#if defined(FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// The tiles' share of a run of groups.
struct CodeTile {
  const std::byte* codes;
  int64_t chunk_stride;  // bytes from the codes of a chunk to the next chunk of its group
  int64_t group_stride;  // bytes from the codes of a group to the next group
  const std::byte* scales;
  int64_t scale_stride;  // bytes from the scales of a group to those of the next
  DType scale_type;
  bool offsets;
  int64_t chunk;   // k per chunk
  int64_t chunks;  // per group
  int64_t groups;
  const std::byte* fetch;  // memory to fetch meanwhile; null fetches none
  CodeRows x;              // begins at the first group's first chunk
  float* sums;             // [rows][32]
};

HWY_INLINE VF LoadScale(DType type, const std::byte* scales, size_t column) {
  if (type == DType::kF16) return LoadF16(reinterpret_cast<const uint16_t*>(scales) + column);
  return hn::Load(DF(), reinterpret_cast<const float*>(scales) + column);
}

// Adds the products of pair kPair, .. of one step to the integer sums.
template <class Codes, int kRows, int kPair = 0>
HWY_INLINE void AddPairsOfStep(const int32_t* word, const int16_t* x, int64_t stride,
                               VI (&sums)[kRows][kPanelVectors]) {
  const DI d;
  VI values[kRows];
  for (int r = 0; r < kRows; ++r) {
    int32_t pair;
    std::memcpy(&pair, x + r * stride + 2 * kPair, sizeof(pair));
    values[r] = hn::Set(d, pair);
  }
  for (size_t i = 0; i < kPanelVectors; ++i) {
    const VI w = Codes::template Pair<kPair>(word + i * kVector);
    for (int r = 0; r < kRows; ++r) sums[r][i] = AddPairs(sums[r][i], w, values[r]);
  }
  if constexpr (kPair + 1 < Codes::kPairs) {
    AddPairsOfStep<Codes, kRows, kPair + 1>(word, x, stride, sums);
  }
}

// The integer sums of chunk `at` of x with the codes at `codes`.
template <class Codes, int kRows, int64_t kChunk>
HWY_INLINE void SumChunk(const CodeTile& tile, int64_t at, const std::byte* codes,
                         VI (&sums)[kRows][kPanelVectors]) {
  const DI d;
  for (int r = 0; r < kRows; ++r) {
    VI start = hn::Zero(d);
    if constexpr (Codes::kZero != 0) {
      start = hn::Set(d, -Codes::kZero * tile.x.sums[r * tile.x.chunks + at]);
    }
    for (size_t i = 0; i < kPanelVectors; ++i) sums[r][i] = start;
  }
  const int64_t ahead = tile.fetch - tile.codes;
  const int16_t* x = tile.x.q + at * kChunk;
  HWY_UNROLL(4)
  for (int64_t step = 0; step < kChunk / Codes::kStep; ++step, x += Codes::kStep) {
    const std::byte* word = codes + step * kPanelCols * 4;
    if (tile.fetch != nullptr) {
      hwy::Prefetch(word + ahead);
      hwy::Prefetch(word + ahead + 64);
    }
    AddPairsOfStep<Codes, kRows>(reinterpret_cast<const int32_t*>(word), x, tile.x.stride, sums);
  }
}

// The scale of row r's chunk `at`, in units of the integers of Codes.
template <class Codes>
HWY_INLINE VF ScaleOfRow(const CodeTile& tile, int r, int64_t at) {
  const VF scale = hn::Set(DF(), tile.x.scales[r * tile.x.chunks + at]);
  if constexpr (Codes::kUnit == 1.0f) return scale;
  return hn::Mul(scale, hn::Set(DF(), Codes::kUnit));
}

// A group of one chunk: sums += integers * x_scale * scale.
template <class Codes, int kRows, int64_t kChunk>
HWY_INLINE void AddChunkGroup(const CodeTile& tile, int64_t group, const std::byte* scales) {
  const DF d;
  VI integers[kRows][kPanelVectors];
  SumChunk<Codes, kRows, kChunk>(tile, group, tile.codes + group * tile.group_stride, integers);
  for (size_t i = 0; i < kPanelVectors; ++i) {
    const VF scale = LoadScale(tile.scale_type, scales, i * kVector);
    for (int r = 0; r < kRows; ++r) {
      float* sum = tile.sums + r * kPanelCols + static_cast<int64_t>(i * kVector);
      const VF t = hn::Mul(hn::ConvertTo(d, integers[r][i]), ScaleOfRow<Codes>(tile, r, group));
      hn::Store(Fma(t, scale, hn::Load(d, sum)), d, sum);
    }
  }
}

// A group of several: t = integers * x_scale + t over its chunks, then sums += t * scale.
template <class Codes, int kRows>
HWY_INLINE void AddLongGroup(const CodeTile& tile, int64_t group, const std::byte* scales) {
  const DF d;
  HWY_ALIGN float partial[kRows * kPanelCols] = {};
  constexpr int64_t kChunk = 32;
  for (int64_t c = 0; c < tile.chunks; ++c) {
    const int64_t at = group * tile.chunks + c;
    VI integers[kRows][kPanelVectors];
    SumChunk<Codes, kRows, kChunk>(
        tile, at, tile.codes + group * tile.group_stride + c * tile.chunk_stride, integers);
    for (int r = 0; r < kRows; ++r) {
      const VF x_scale = ScaleOfRow<Codes>(tile, r, at);
      for (size_t i = 0; i < kPanelVectors; ++i) {
        float* t = partial + r * kPanelCols + static_cast<int64_t>(i * kVector);
        hn::Store(Fma(hn::ConvertTo(d, integers[r][i]), x_scale, hn::Load(d, t)), d, t);
      }
    }
  }
  for (size_t i = 0; i < kPanelVectors; ++i) {
    const VF scale = LoadScale(tile.scale_type, scales, i * kVector);
    for (int r = 0; r < kRows; ++r) {
      const int64_t column = r * kPanelCols + static_cast<int64_t>(i * kVector);
      const VF sum = hn::Load(d, tile.sums + column);
      hn::Store(Fma(hn::Load(d, partial + column), scale, sum), d, tile.sums + column);
    }
  }
}

// sums += x_sum * offset, x_sum being the sum of the group's values of x.
template <int kRows>
HWY_INLINE void AddOffsets(const CodeTile& tile, int64_t group, const std::byte* offsets) {
  const DF d;
  for (int r = 0; r < kRows; ++r) {
    VF x_sum = hn::Zero(d);
    for (int64_t c = 0; c < tile.chunks; ++c) {
      const int64_t at = r * tile.x.chunks + group * tile.chunks + c;
      x_sum = Fma(hn::Set(d, static_cast<float>(tile.x.sums[at])), hn::Set(d, tile.x.scales[at]),
                  x_sum);
    }
    for (size_t i = 0; i < kPanelVectors; ++i) {
      float* sum = tile.sums + r * kPanelCols + static_cast<int64_t>(i * kVector);
      const VF offset = LoadScale(tile.scale_type, offsets, i * kVector);
      hn::Store(Fma(x_sum, offset, hn::Load(d, sum)), d, sum);
    }
  }
}

template <class Codes, int kRows>
HWY_NOINLINE void RunCodeTile(const CodeTile& tile) {
  for (int64_t group = 0; group < tile.groups; ++group) {
    const std::byte* scales = tile.scales + group * tile.scale_stride;
    if (tile.chunk == 16) {
      AddChunkGroup<Codes, kRows, 16>(tile, group, scales);
    } else if (tile.chunks == 1) {
      AddChunkGroup<Codes, kRows, 32>(tile, group, scales);
    } else {
      AddLongGroup<Codes, kRows>(tile, group, scales);
    }
    if (tile.offsets) {
      AddOffsets<kRows>(tile, group, scales + kPanelCols * DTypeBytes(tile.scale_type));
    }
  }
}

template <class Codes, int kRows = kTileRows>
HWY_INLINE void RunCodeTileOf(int64_t rows, const CodeTile& tile) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return RunCodeTileOf<Codes, kRows - 1>(rows, tile);
  }
  RunCodeTile<Codes, kRows>(tile);
}

// All tiles of `rows` rows over one run of groups; the first fetches memory.
template <class Codes>
HWY_INLINE void RunCodeTiles(int64_t rows, const CodeTile& run) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t row = rows * t / tiles;
    CodeTile tile = run;
    if (t > 0) tile.fetch = nullptr;
    tile.x = run.x.Rows(row);
    tile.sums = run.sums + row * kPanelCols;
    RunCodeTileOf<Codes>(rows * (t + 1) / tiles - row, tile);
  }
}

// The 16-bit pairs of one chunk, [chunk / 2][32] words.
template <class Codes, int kPair = 0>
HWY_INLINE void WidenStep(const int32_t* word, int32_t* wide) {
  for (int64_t column = 0; column < kPanelCols; column += static_cast<int64_t>(kVector)) {
    hn::Store(Codes::template Pair<kPair>(word + column), DI(), wide + column);
  }
  if constexpr (kPair + 1 < Codes::kPairs) WidenStep<Codes, kPair + 1>(word, wide + kPanelCols);
}

// sums [rows][32] = rows of x * panel; rows <= kRowBlock, sums 64-byte aligned.
template <class Codes>
HWY_INLINE void RunCodePanel(const CodePanelShape& shape, const std::byte* panel, const CodeRows& x,
                             int64_t rows, float* sums) {
  constexpr int64_t kNear = 2048;       // what one tile fetches ahead of itself
  constexpr int64_t kWideValues = 256;  // k that are widened at a time, 16 KiB
  std::memset(sums, 0, static_cast<size_t>(rows * kPanelCols) * sizeof(float));
  CodeTile run = {.codes = panel,
                  .chunk_stride = shape.chunk_bytes,
                  .group_stride = shape.group_bytes,
                  .scales = panel + shape.chunks * shape.chunk_bytes,
                  .scale_stride = shape.group_bytes,
                  .scale_type = shape.scale_type,
                  .offsets = shape.offsets,
                  .chunk = shape.chunk,
                  .chunks = shape.chunks,
                  .groups = shape.groups,
                  .fetch = panel + kNear,
                  .x = x,
                  .sums = sums};
  const int64_t group_values = shape.chunk * shape.chunks;
  if (rows <= kTileRows || group_values > kWideValues) return RunCodeTiles<Codes>(rows, run);
  const int64_t step_groups = kWideValues / group_values;
  HWY_ALIGN int32_t wide[kWideValues / 2 * kPanelCols];
  run.codes = reinterpret_cast<const std::byte*>(wide);
  run.chunk_stride = shape.chunk * kPanelCols * 2;
  run.group_stride = group_values * kPanelCols * 2;
  for (int64_t group = 0; group < shape.groups; group += step_groups) {
    run.groups = std::min(step_groups, shape.groups - group);
    const std::byte* from = panel + group * shape.group_bytes;
    int32_t* to = wide;
    for (int64_t g = 0; g < run.groups; ++g) {
      for (int64_t c = 0; c < shape.chunks; ++c) {
        const std::byte* codes = from + g * shape.group_bytes + c * shape.chunk_bytes;
        for (int64_t step = 0; step < shape.chunk / Codes::kStep; ++step) {
          WidenStep<Codes>(reinterpret_cast<const int32_t*>(codes + step * kPanelCols * 4), to);
          to += Codes::kStep / 2 * kPanelCols;
        }
      }
    }
    run.scales = from + shape.chunks * shape.chunk_bytes;
    run.fetch = nullptr;
    run.x = x;
    run.x.q += group * group_values;
    run.x.scales += group * shape.chunks;
    run.x.sums += group * shape.chunks;
    RunCodeTiles<WideCodes<Codes>>(rows, run);
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
      const VF scale = LoadScale(shape.scale_type, scales, static_cast<size_t>(i % kPanelCols));
      hn::Store(Fma(hn::Load(d, partial + i), scale, hn::Load(d, sums + i)), d, sums + i);
    }
  }
}

HWY_INLINE void RunCodePanel(const CodePanelShape& shape, const std::byte* panel, const CodeRows& x,
                             int64_t rows, float* sums) {
  switch (shape.type) {
    case CodeType::kInt8:
      return RunCodePanel<Int8Codes>(shape, panel, x, rows, sums);
    case CodeType::kInt4:
      return RunCodePanel<Int4Codes<8>>(shape, panel, x, rows, sums);
    case CodeType::kUint4:
      return RunCodePanel<Int4Codes<0>>(shape, panel, x, rows, sums);
    default:
      return RunCodePanel<Fp4Codes>(shape, panel, x, rows, sums);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
