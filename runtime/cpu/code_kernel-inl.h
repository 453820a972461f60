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
#include "runtime/cpu/code_panel.h"
#include "runtime/cpu/code_rows.h"
#include "runtime/cpu/panel_kernel-inl.h"
#include "runtime/quant/code_matrix.h"

#if defined(FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

using VI = hn::Vec<DI>;

// Words of two 16-bit halves. AddPairs is sum + low * low + high * high; EvenBytes makes halves of
// bytes 0 and 2 of each word, OddBytes of bytes 1 and 3; Fp4Halves makes halves of E2M1 codes,
// doubled to integers.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE int32_t Halves(int32_t low, int32_t high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffff) | static_cast<uint32_t>(high)
                                                                          << 16);
}
HWY_INLINE VI AddPairs(VI sum, VI w, VI x) {
  const auto low = [](VI v) { return static_cast<int32_t>(static_cast<int16_t>(v.raw)); };
  return VI(sum.raw + low(w) * low(x) + (w.raw >> 16) * (x.raw >> 16));
}
HWY_INLINE VI EvenBytes(VI v) {
  return VI(Halves(static_cast<int8_t>(v.raw), static_cast<int8_t>(v.raw >> 16)));
}
HWY_INLINE VI OddBytes(VI v) { return EvenBytes(VI(v.raw >> 8)); }
HWY_INLINE VI Fp4Halves(VI v) {
  const auto number = [](int32_t code) {
    constexpr int32_t kTwice[8] = {0, 1, 2, 3, 4, 6, 8, 12};
    const int32_t twice = kTwice[code & 7];
    return (code & 8) != 0 ? -twice : twice;
  };
  return VI(Halves(number(v.raw), number(v.raw >> 16)));
}
#else
using D16 = hn::Repartition<int16_t, DI>;
HWY_INLINE VI AddPairs(VI sum, VI w, VI x) {
  const DI d;
#if HWY_ARCH_X86
  VI unused = hn::Zero(d);
  return hn::ReorderWidenMulAccumulate(d, hn::BitCast(D16(), w), hn::BitCast(D16(), x), sum,
                                       unused);
#else
  const auto low = [](VI v) HWY_ATTR { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  sum = hn::Add(sum, hn::Mul(low(w), low(x)));
  return hn::Add(sum, hn::Mul(hn::ShiftRight<16>(w), hn::ShiftRight<16>(x)));
#endif
}
HWY_INLINE VI EvenBytes(VI v) {
  return hn::BitCast(DI(), hn::ShiftRight<8>(hn::ShiftLeft<8>(hn::BitCast(D16(), v))));
}
HWY_INLINE VI OddBytes(VI v) { return hn::BitCast(DI(), hn::ShiftRight<8>(hn::BitCast(D16(), v))); }
HWY_INLINE VI Fp4Halves(VI v) {
  const hn::Repartition<uint8_t, DI> d8;
  const VI magnitude = hn::And(v, hn::Set(DI(), 0x00070007));
  HWY_ALIGN static constexpr uint8_t kTable[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0};
  const auto twice = hn::BitCast(  // the empty bytes look up zero
      D16(), hn::TableLookupBytes(hn::LoadDup128(d8, kTable), hn::BitCast(d8, magnitude)));
  const auto negative = hn::ShiftRight<15>(hn::ShiftLeft<12>(hn::BitCast(D16(), v)));
  return hn::BitCast(DI(), hn::Sub(hn::Xor(twice, negative), negative));
}
#endif

// How a step of codes turns into pairs of 16-bit numbers. Pair<p> is k + 2 p and k + 2 p + 1 of
// the step, for the outputs of one vector.
struct Int8Codes {
  static constexpr int64_t kStep = 4;  // k per word
  static constexpr int kPairs = 2;
  static constexpr float kUnit = 1.0f;  // what an integer 1 stands for
  static constexpr int32_t kZero = 0;   // subtracted from each integer
  template <int kPair>
  static HWY_INLINE VI Pair(const int32_t* word) {
    const VI v = hn::Load(DI(), word);
    return kPair == 0 ? EvenBytes(v) : OddBytes(v);
  }
};

template <int32_t kZeroCode>
struct Int4Codes {
  static constexpr int64_t kStep = 8;
  static constexpr int kPairs = 4;
  static constexpr float kUnit = 1.0f;
  static constexpr int32_t kZero = kZeroCode;
  template <int kPair>
  static HWY_INLINE VI Pair(const int32_t* word) {
    const DI d;
    const auto v = hn::Load(DU(), reinterpret_cast<const uint32_t*>(word));
    return hn::And(hn::BitCast(d, hn::ShiftRight<4 * kPair>(v)), hn::Set(d, 0x000f000f));
  }
};

struct Fp4Codes {
  static constexpr int64_t kStep = 8;
  static constexpr int kPairs = 4;
  static constexpr float kUnit = 0.5f;
  static constexpr int32_t kZero = 0;
  template <int kPair>
  static HWY_INLINE VI Pair(const int32_t* word) {
    return Fp4Halves(Int4Codes<0>::Pair<kPair>(word));
  }
};

// Numbers that were widened to 16 bits before: [k / 2][32] words.
template <class Codes>
struct WideCodes {
  static constexpr int64_t kStep = 2;
  static constexpr int kPairs = 1;
  static constexpr float kUnit = Codes::kUnit;
  static constexpr int32_t kZero = Codes::kZero;
  template <int kPair>
  static HWY_INLINE VI Pair(const int32_t* word) {
    return hn::Load(DI(), word);
  }
};

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

// The integer sums of one chunk.
template <class Codes, int kRows, int kPair = 0>
HWY_INLINE void AddPair(const int32_t* word, const int16_t* x, int64_t stride,
                        VI (&acc)[kRows][kPanelVectors]) {
  const DI d;
  VI values[kRows];
  for (int r = 0; r < kRows; ++r) {
    int32_t pair;
    std::memcpy(&pair, x + r * stride + 2 * kPair, sizeof(pair));
    values[r] = hn::Set(d, pair);
  }
  for (size_t i = 0; i < kPanelVectors; ++i) {
    const VI w = Codes::template Pair<kPair>(word + i * kVector);
    for (int r = 0; r < kRows; ++r) acc[r][i] = AddPairs(acc[r][i], w, values[r]);
  }
  if constexpr (kPair + 1 < Codes::kPairs) AddPair<Codes, kRows, kPair + 1>(word, x, stride, acc);
}

template <class Codes, int kRows>
HWY_NOINLINE void RunCodeTile(const CodeTile& tile) {
  const DF d;
  const DI di;
  const int64_t ahead = tile.fetch == nullptr ? 0 : tile.fetch - tile.codes;
  const int64_t steps = tile.chunk / Codes::kStep;
  const int64_t scale_bytes = kPanelCols * DTypeBytes(tile.scale_type);
  for (int64_t group = 0; group < tile.groups; ++group) {
    HWY_ALIGN float partial[kRows * kPanelCols];
    VF x_sums[kRows];
    for (int r = 0; r < kRows; ++r) x_sums[r] = hn::Zero(d);
    for (int64_t c = 0; c < tile.chunks; ++c) {
      const int64_t at = group * tile.chunks + c;
      const std::byte* codes = tile.codes + group * tile.group_stride + c * tile.chunk_stride;
      const int16_t* x = tile.x.q + at * tile.chunk;
      VI acc[kRows][kPanelVectors];
      for (int r = 0; r < kRows; ++r) {
        const int32_t zero = -Codes::kZero * tile.x.sums[r * tile.x.chunks + at];
        for (size_t i = 0; i < kPanelVectors; ++i) acc[r][i] = hn::Set(di, zero);
      }
      for (int64_t step = 0; step < steps; ++step, x += Codes::kStep) {
        const std::byte* word = codes + step * kPanelCols * 4;
        if (ahead != 0) {
          hwy::Prefetch(word + ahead);
          hwy::Prefetch(word + ahead + 64);
        }
        AddPair<Codes, kRows>(reinterpret_cast<const int32_t*>(word), x, tile.x.stride, acc);
      }
      for (int r = 0; r < kRows; ++r) {
        const float scale = tile.x.scales[r * tile.x.chunks + at] * Codes::kUnit;
        const VF x_scale = hn::Set(d, scale);
        if (tile.offsets) {
          const float sum = static_cast<float>(tile.x.sums[r * tile.x.chunks + at]);
          x_sums[r] =
              Fma(hn::Set(d, sum), hn::Set(d, tile.x.scales[r * tile.x.chunks + at]), x_sums[r]);
        }
        for (size_t i = 0; i < kPanelVectors; ++i) {
          float* t = partial + r * kPanelCols + static_cast<int64_t>(i * kVector);
          const VF sum = hn::ConvertTo(d, acc[r][i]);
          hn::Store(c == 0 ? hn::Mul(sum, x_scale) : Fma(sum, x_scale, hn::Load(d, t)), d, t);
        }
      }
    }
    const std::byte* scales = tile.scales + group * tile.scale_stride;
    for (size_t i = 0; i < kPanelVectors; ++i) {
      const VF scale = LoadScale(tile.scale_type, scales, i * kVector);
      for (int r = 0; r < kRows; ++r) {
        const size_t column = static_cast<size_t>(r * kPanelCols) + i * kVector;
        VF sum = hn::Load(d, tile.sums + column);
        sum = Fma(hn::Load(d, partial + column), scale, sum);
        if (tile.offsets) {
          sum = Fma(x_sums[r], LoadScale(tile.scale_type, scales + scale_bytes, i * kVector), sum);
        }
        hn::Store(sum, d, tile.sums + column);
      }
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

// One panel of w over rows row .. row + count, whatever w holds: sums [count][32].
HWY_INLINE void RunPanel(const PackedMatrix& w, int64_t panel, const ProductRows& in, int64_t row,
                         int64_t count, float* sums) {
  const PanelRows rows{in.x.Row(row), in.x.stride, count};
  if (!w.codes()) return RunPanel(w.dtype(), w.panel(panel), rows, w.k(), sums);
  const CodePanelShape shape = CodePanelShape::Of(*w.codes(), w.k());
  if (shape.type == CodeType::kFp8) {
    return RunFp8Panel(shape, w.panel(panel), rows, w.k(), sums);
  }
  RunCodePanel(shape, w.panel(panel), in.codes.Rows(row), count, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_CODE_KERNEL_INL_H_
