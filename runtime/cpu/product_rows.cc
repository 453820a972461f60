// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/product_rows.h"

#include <algorithm>
#include <limits>

#include "runtime/cpu/code_panel.h"
#include "runtime/cpu/tile_registers.h"
#define HWY_WANT_AVX3_DL  // code_pairs-inl.h
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/product_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/code_pairs-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_PRODUCT_ROWS_ONCE_
#define FOLKMOOT_RUNTIME_CPU_PRODUCT_ROWS_ONCE_
namespace folkmoot::cpu {

struct QuantizeJob {
  ConstMatrix x;
  int64_t chunk;
  int64_t chunks;  // per row
  float most;      // the greatest |q|
  float unit;      // what scales are multiplied with
  int64_t code_bits;
  bool bytes;  // CodeRows says what these are
  bool tiles;
  std::byte* q;
  int64_t stride;
  int64_t chunk_stride;
  float* scales;
  int32_t* sums;
  int64_t scale_stride;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_PRODUCT_ROWS_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

bool MultipliesBytesOf() { return HWY_TARGET == HWY_AVX3_DL; }

// Where `count` integers go: their store gets vectors in order.
struct HalvesStore {
  int16_t* q;
  HWY_INLINE void operator()(VI rounded, int64_t i) const {
    const hn::Rebind<int16_t, DI> d16;
    hn::StoreU(hn::DemoteTo(d16, rounded), d16, q + i);
  }
};
#if HWY_TARGET == HWY_AVX3_DL
// Bytes as codes of so many bits lie in a word.
template <class T>
HWY_INLINE void StoreBytes(VI values, int64_t code_bits, std::byte* q) {
  const hn::Rebind<T, DI> d8;
  HWY_ALIGN static constexpr T kOrders[2][16] = {
      {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15},
      {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15}};
  const auto places = hn::Load(d8, kOrders[code_bits == 8 ? 1 : 0]);
  hn::StoreU(hn::TableLookupBytes(hn::DemoteTo(d8, values), places), d8, reinterpret_cast<T*>(q));
}
struct BytesStore {
  std::byte* q;
  int64_t code_bits;
  HWY_INLINE void operator()(VI rounded, int64_t i) const {
    StoreBytes<int8_t>(rounded, code_bits, q + i);
  }
};
// Lower bytes, and upper ones `chunk` bytes on.
struct SplitStore {
  std::byte* q;
  int64_t code_bits;
  int64_t chunk;
  HWY_INLINE void operator()(VI rounded, int64_t i) const {
    const VI lower = hn::And(rounded, hn::Set(DI(), 0xff));
    StoreBytes<uint8_t>(lower, code_bits, q + i);
    StoreBytes<int8_t>(hn::ShiftRight<8>(rounded), code_bits, q + chunk + i);
  }
};
#endif

// `count` values, a multiple of 16, to integers of at most `most`. Lanes are only compared or
// added as integers, so their order does not matter.
template <class Store>
HWY_INLINE void QuantizeChunk(const float* x, int64_t count, float most, const Store& store,
                              float* scale, int32_t* sum) {
  // Below this the inverse of the scale would overflow: such values count as zero.
  constexpr float kTiny = 1e-30f;
  constexpr auto kStep = static_cast<int64_t>(kVector);
  const DF d;
  const DI di;
  VF top = hn::Zero(d);
  VF poison = hn::Zero(d);  // becomes NaN where a value is NaN or infinite
  for (int64_t i = 0; i < count; i += kStep) {
    const VF v = hn::LoadU(d, x + i);
    top = hn::Max(top, hn::Abs(v));
    poison = Fma(v, hn::Zero(d), poison);
  }
  const bool finite = hn::AllTrue(d, hn::Eq(poison, poison));
  const float largest = hn::GetLane(hn::MaxOfLanes(d, top));
  if (!finite || largest < kTiny) {
    for (int64_t i = 0; i < count; i += kStep) store(hn::Zero(di), i);
    *scale = finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    *sum = 0;
    return;
  }
  const VF inverse = hn::Set(d, most / largest);
  const VF magic = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  auto total = hn::Zero(di);
  for (int64_t i = 0; i < count; i += kStep) {
    const VF shifted = Fma(hn::LoadU(d, x + i), inverse, magic);
    const auto rounded = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, magic));
    total = hn::Add(total, rounded);
    store(rounded, i);
  }
  *scale = largest / most;
  *sum = hn::GetLane(hn::SumOfLanes(di, total));
}

// Chunks begin .. end, counted through all rows.
void QuantizeChunks(const QuantizeJob& job, int64_t begin, int64_t end) {
  HWY_ALIGN float padded[32];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i / job.chunks;
    const int64_t first = i % job.chunks * job.chunk;
    const float* x = job.x.Row(row) + first;
    std::byte* q = job.q + row * job.stride + i % job.chunks * job.chunk_stride;
    const int64_t scale = job.tiles ? i % job.chunks * job.scale_stride + row : i;
    if (job.x.cols - first < job.chunk) {  // the end of a row whose chunks are not all full
      std::memset(padded, 0, sizeof(padded));
      std::memcpy(padded, x, static_cast<size_t>(job.x.cols - first) * sizeof(float));
      x = padded;
    }
    const auto quantize = [&](const auto& store) HWY_ATTR {
      QuantizeChunk(x, job.chunk, job.most, store, job.scales + scale, job.sums + scale);
    };
#if HWY_TARGET == HWY_AVX3_DL
    if (job.bytes) {
      quantize(BytesStore{q, job.code_bits});
    } else if (job.tiles) {
      quantize(SplitStore{q, job.code_bits, job.chunk});
    } else {
      quantize(HalvesStore{reinterpret_cast<int16_t*>(q)});
    }
#else
    quantize(HalvesStore{reinterpret_cast<int16_t*>(q)});
#endif
    job.scales[scale] *= job.unit;
  }
}

// The nearest bfloat16, ties to even. The dot product takes subnormal ones for zero: they are zeros
// for every instruction set.
HWY_INLINE VF NearestBf16(VF x) {
  const DU du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x00400000u));
  rounded = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), quiet, rounded);
  const auto exponent = hn::And(rounded, hn::Set(du, 0x7f800000u));
  rounded = hn::IfThenZeroElse(hn::Eq(exponent, hn::Zero(du)), rounded);
  return hn::BitCast(DF(), hn::And(rounded, hn::Set(du, 0xffff0000u)));
}

// The upper halves of x, which are those of bfloat16, as 16-bit integers.
HWY_INLINE void StoreUpperHalves(VF x, int16_t* out) {
  const DI di;
  const hn::Rebind<int16_t, DI> d16;
  hn::StoreU(hn::DemoteTo(d16, hn::ShiftRight<16>(hn::BitCast(di, x))), d16, out);
}

// Rows begin .. end of x as pairs, `stride` words each.
void RoundRowsToPairs(const ConstMatrix& x, int64_t stride, int64_t begin, int64_t end,
                      float* words) {
  const DF d;
  constexpr auto kStep = static_cast<int64_t>(kVector);
  for (int64_t r = begin; r < end; ++r) {
    const float* row = x.Row(r);
    auto* out = reinterpret_cast<int16_t*>(words + r * stride);
    if (x.cols % 2 != 0) std::memset(out + x.cols, 0, sizeof(*out));
    int64_t i = 0;
    for (; i + kStep <= x.cols; i += kStep) {
      StoreUpperHalves(NearestBf16(hn::LoadU(d, row + i)), out + i);
    }
    if (i == x.cols) continue;
    HWY_ALIGN float padded[kVector] = {};
    std::memcpy(padded, row + i, static_cast<size_t>(x.cols - i) * sizeof(float));
    StoreUpperHalves(NearestBf16(hn::Load(d, padded)), out + i);
  }
}

#if HWY_TARGET == HWY_AVX3_DL
bool HasTiles() { return HasTileRegisters(); }

// Takes the upper half of *x, a bfloat16, and leaves the rest there; of an infinity nothing.
HWY_INLINE VF CutUpperHalf(VF* x) {
  const DF d;
  const DU du;
  auto upper = hn::And(hn::BitCast(du, *x), hn::Set(du, 0xffff0000u));
  // A NaN may have all of its bits in the lower half.
  upper = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(*x)), hn::Or(upper, hn::Set(du, 0x00400000u)),
                         upper);
  const VF cut = hn::BitCast(d, upper);
  const VF rest = hn::Sub(*x, cut);
  *x = hn::IfThenElseZero(hn::Eq(rest, rest), rest);
  return cut;
}

// Rows begin .. end of x into parts.
void SplitRowsOf(const ConstMatrix& x, const TileRows& to, int64_t begin, int64_t end,
                 std::byte* words) {
  const DF d;
  constexpr auto kStep = static_cast<int64_t>(kVector);
  HWY_ALIGN float padded[TileRows::kDepth];
  for (int64_t r = begin; r < end; ++r) {
    std::byte* out = words + r * kTileRowBytes;
    for (int64_t i = 0; i < x.cols; i += TileRows::kDepth, out += to.parts * to.part_stride) {
      const float* values = x.Row(r) + i;
      if (x.cols - i < TileRows::kDepth) {
        std::memset(padded, 0, sizeof(padded));
        std::memcpy(padded, values, static_cast<size_t>(x.cols - i) * sizeof(float));
        values = padded;
      }
      for (int64_t at = 0; at < TileRows::kDepth; at += kStep) {
        VF rest = hn::LoadU(d, values + at);
        for (int part = 0; part < to.parts; ++part) {
          const VF upper = to.parts == 1 ? NearestBf16(rest) : CutUpperHalf(&rest);
          StoreUpperHalves(upper, reinterpret_cast<int16_t*>(out + part * to.part_stride) + at);
        }
      }
    }
  }
}
#else
bool HasTiles() { return false; }
void SplitRowsOf(const ConstMatrix&, const TileRows&, int64_t, int64_t, std::byte*) {}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(MultipliesBytesOf);
HWY_EXPORT(QuantizeChunks);
HWY_EXPORT(RoundRowsToPairs);
HWY_EXPORT(HasTiles);
HWY_EXPORT(SplitRowsOf);
constexpr int64_t kMinValues = int64_t{1} << 15;  // worth waking a thread for

// Whether rows are laid out for tile registers. With few rows a tile is mostly empty: up to 8 take
// 0.7 to 1.2 times as long without (one and two threads, Q4_0 and Q8_0), 16 take 1.1. Codes of long
// groups are not unpacked: the sums of a group stay in registers.
bool TilesGain(int64_t together, const CodePanelShape& shape) {
  constexpr int64_t kFewRows = 12;
  return together >= kFewRows && HasTileRegisters() &&
         (CodeBits(shape.type) == 8 || shape.chunks <= kTileBlockChunks);
}

CodeRows QuantizeRows(ThreadPool& pool, ConstMatrix x, const CodePanelShape& shape, bool reduced,
                      int64_t together, Workspace& workspace) {
  const int64_t chunk = shape.chunk;
  const int64_t chunks = (x.cols + chunk - 1) / chunk;
  const bool multiplies_bytes = HWY_DYNAMIC_DISPATCH(MultipliesBytesOf)();
  const bool bytes = reduced && multiplies_bytes;
  const bool tiles = multiplies_bytes && TilesGain(together, shape);
  const int64_t chunk_bytes = chunk * (bytes ? 1 : 2);
  // For tiles an odd number of register's worths: the same rows of the next chunks fall into other
  // sets of a cache.
  const int64_t rows = tiles ? (x.rows + 31) / 32 * 32 + kTileRegisterRows : x.rows;
  const QuantizeJob job = {.x = x,
                           .chunk = chunk,
                           .chunks = chunks,
                           .most = reduced ? 127.0f : 32767.0f,
                           .unit = shape.unit(),
                           .code_bits = CodeBits(shape.type),
                           .bytes = bytes,
                           .tiles = tiles,
                           .q = workspace.Get<std::byte>(rows * chunks * chunk_bytes).data(),
                           .stride = tiles ? chunk_bytes : chunks * chunk_bytes,
                           .chunk_stride = tiles ? rows * chunk_bytes : chunk_bytes,
                           .scales = workspace.Get<float>(rows * chunks).data(),
                           .sums = workspace.Get<int32_t>(rows * chunks).data(),
                           .scale_stride = rows};
  pool.ParallelFor(x.rows * chunks, kMinValues / chunk, [&](int64_t begin, int64_t end, int) {
    HWY_DYNAMIC_DISPATCH(QuantizeChunks)(job, begin, end);
  });
  return {.bytes = bytes,
          .tiles = tiles,
          .q = job.q,
          .stride = job.stride,
          .chunk_stride = job.chunk_stride,
          .scales = job.scales,
          .sums = job.sums,
          .chunks = chunks,
          .scale_stride = job.scale_stride};
}

ConstMatrix RoundToPairs(ThreadPool& pool, ConstMatrix x, Workspace& workspace) {
  constexpr int64_t kWide = 16;  // words that the last store of a row may touch
  const int64_t stride = (x.cols + 1) / 2 + kWide;
  float* words = workspace.Get<float>(x.rows * stride).data();
  const int64_t rows_worth = kMinValues / std::max<int64_t>(x.cols, 1) + 1;
  pool.ParallelFor(x.rows, rows_worth, [&](int64_t begin, int64_t end, int) {
    HWY_DYNAMIC_DISPATCH(RoundRowsToPairs)(x, stride, begin, end, words);
  });
  return {words, x.rows, (x.cols + 1) / 2, stride};
}

TileRows SplitRows(ThreadPool& pool, ConstMatrix x, int parts, Workspace& workspace) {
  // Fewer rows than a tile has are a tile of their own. For more an odd number of tiles: the same
  // rows of the next parts fall into other sets of a cache.
  const int64_t rows =
      x.rows < kTileRegisterRows ? x.rows : (x.rows + 31) / 32 * 32 + kTileRegisterRows;
  TileRows out = {.parts = parts, .words = nullptr, .part_stride = rows * kTileRowBytes};
  const int64_t chunks = (x.cols + TileRows::kDepth - 1) / TileRows::kDepth;
  std::byte* words = workspace.Get<std::byte>(chunks * parts * out.part_stride).data();
  const int64_t rows_worth = kMinValues / std::max<int64_t>(x.cols, 1) + 1;
  pool.ParallelFor(x.rows, rows_worth, [&](int64_t begin, int64_t end, int) {
    HWY_DYNAMIC_DISPATCH(SplitRowsOf)(x, out, begin, end, words);
  });
  out.words = words;
  return out;
}

// Weights come from memory once for each block of rows, which waits in L2 for panel after panel:
// as many rows as take a half of its 2 MiB.
int64_t TileRowBlock(int64_t values) {
  constexpr int64_t kValues = int64_t{1} << 19;
  const int64_t tiles = kValues / std::max<int64_t>(values, 1) / kTileRegisterRows;
  return std::clamp(tiles * kTileRegisterRows, kRowBlock, kMostRowBlock);
}

ProductRows PreparePlain(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w,
                         Workspace& workspace) {
  if (w.dtype() != DType::kBF16) return {.x = x};
  const bool reduced = w.rules().activations == ActivationPrecision::kReduced;
  if (w.rules().order == SumOrder::kNative && HWY_DYNAMIC_DISPATCH(HasTiles)()) {
    const int parts = reduced ? 1 : kFloatParts;
    return {.x = x,
            .tiles = SplitRows(pool, x, parts, workspace),
            .row_block = TileRowBlock(x.cols * parts)};
  }
  if (!reduced) return {.x = x};
  return {.x = RoundToPairs(pool, x, workspace), .pairs = true};
}

}  // namespace

ProductRows PrepareRows(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, int64_t together,
                        Workspace& workspace) {
  if (!w.codes()) return PreparePlain(pool, x, w, workspace);
  const bool reduced = w.rules().activations == ActivationPrecision::kReduced;
  const CodePanelShape shape = CodePanelShape::Of(*w.codes(), w.k());
  if (shape.type == CodeType::kFp8) return {.x = x, .shape = shape};
  return {
      .x = x, .shape = shape, .codes = QuantizeRows(pool, x, shape, reduced, together, workspace)};
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
