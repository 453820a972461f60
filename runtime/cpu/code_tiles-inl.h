// SPDX-License-Identifier: Apache-2.0
// Products with quantised weights by tile registers (tile_registers.h), in place of the inner loop
// of code_kernel-inl.h and with its bits: integer sums are exact in whatever way they are made, and
// what becomes of them is the same.
//
// One instruction multiplies up to 16 rows of x by 16 outputs over a chunk of k, in bytes. Panels
// of 8-bit codes are what it wants as they are; 4-bit codes are unpacked once for all rows, a block
// of k at a time. Rows of 16 bits are two of bytes, x = 256 * upper + lower, whose sums are put
// together again: twice the products, of which there are many to spare.
#include <cstddef>
#include <cstdint>

#include "runtime/cpu/code_pairs-inl.h"
#include "runtime/cpu/code_panel.h"
#include "runtime/cpu/panel_kernel-inl.h"
#include "runtime/cpu/product_rows.h"
#include "runtime/cpu/tile_registers-inl.h"

#if defined(FOLKMOOT_RUNTIME_CPU_CODE_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_CODE_TILES_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_CODE_TILES_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_CODE_TILES_INL_H_
#endif

#if HWY_TARGET == HWY_AVX3_DL
HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kTileWords = kTileRegisterRows * kTileOutputs;  // of the sums in a register

// What the registers are used for.
enum CodeRegister : int { kLowerSums, kUpperSums, kLowerRows, kUpperRows, kCodes };

HWY_INLINE void SetCodeTileShapes(int64_t rows, int64_t chunk) {
  TileShapes shapes;
  for (const int sums : {kLowerSums, kUpperSums}) shapes.Set(sums, rows, kTileRowBytes);
  for (const int x : {kLowerRows, kUpperRows}) shapes.Set(x, rows, chunk);
  shapes.Set(kCodes, chunk / 4, kTileRowBytes);
  SetTileShapes(shapes);
}

// Up to 16 rows of x against some groups of a panel.
struct TileJob {
  const CodePanelShape& shape;
  CodeRows x;  // from the first group on
  int64_t rows;
  int64_t groups;
  const std::byte* codes;  // of the first group, as signed bytes
  int64_t group_stride;
  int64_t chunk_stride;
  const std::byte* scales;  // of the first group; the next are shape.group_bytes on
  const std::byte* fetch;   // what is read from memory later: fetch_bytes of it for each chunk
  int64_t fetch_bytes;
  float* sums;  // [rows][32]
};

// Sums of a chunk in memory: of the lower bytes of x, and of the upper ones where it has two.
template <bool kTwoBytes>
struct ChunkSums {
  alignas(64) int32_t words[(kTwoBytes ? 2 : 1) * kTileWords];

  HWY_INLINE VF Row(int64_t row) const {
    const DI d;
    VI sum = hn::Load(d, words + row * kTileOutputs);
    if constexpr (kTwoBytes) {
      const VI upper = hn::Load(d, words + kTileWords + row * kTileOutputs);
      sum = hn::Add(hn::ShiftLeft<8>(upper), sum);
    }
    return hn::ConvertTo(DF(), sum);
  }
};

// Fetches the next chunk of x, which is far from this one in memory, and a part of the codes.
template <int kRows, bool kTwoBytes>
HWY_INLINE void FetchAhead(const TileJob& job, const std::byte* x, int64_t chunk) {
  for (int64_t line = 0; line < kRows * 32 * (kTwoBytes ? 2 : 1); line += 64) {
    hwy::Prefetch(x + job.x.chunk_stride + line);
  }
  const std::byte* codes = job.fetch + chunk * job.fetch_bytes;
  // To L2: here they would push out the rows.
  for (int64_t line = 0; line < job.fetch_bytes; line += 64) __builtin_prefetch(codes + line, 0, 2);
}

// Rows of x times 16 outputs of a chunk of codes.
template <bool kTwoBytes>
HWY_INLINE void SumTileChunk(const TileJob& job, const std::byte* x, const std::byte* codes,
                             ChunkSums<kTwoBytes>& sums) {
  ZeroTile<kLowerSums>();
  LoadTile<kCodes>(codes, 4 * kPanelCols);
  LoadTile<kLowerRows>(x, job.x.stride);
  if constexpr (kTwoBytes) {
    ZeroTile<kUpperSums>();
    LoadTile<kUpperRows>(x + job.shape.chunk, job.x.stride);
    AddUnsignedRows<kLowerSums, kLowerRows, kCodes>();
    AddSignedRows<kUpperSums, kUpperRows, kCodes>();
    StoreTile<kLowerSums>(sums.words, kTileRowBytes);
    StoreTile<kUpperSums>(sums.words + kTileWords, kTileRowBytes);
  } else {
    AddSignedRows<kLowerSums, kLowerRows, kCodes>();
    StoreTile<kLowerSums>(sums.words, kTileRowBytes);
  }
}

// The sums of all rows' values in a group, whose first chunk is `chunk`.
HWY_INLINE VF SumsOfRows(const TileJob& job, int64_t chunk) {
  const DF d;
  VF sums = hn::Zero(d);
  for (int64_t c = chunk; c < chunk + job.shape.chunks; ++c) {
    const VF integers = hn::ConvertTo(d, hn::LoadU(DI(), job.x.sums + c * job.x.scale_stride));
    sums = Fma(integers, hn::LoadU(d, job.x.scales + c * job.x.scale_stride), sums);
  }
  return sums;
}

// The job for outputs column .. column + 16. While the sums of a chunk become floats the next are
// made. Of the kRows rows those behind job.rows are computed from whatever is there, and go
// nowhere. kLong: groups are of several chunks.
template <int kRows, bool kTwoBytes, bool kLong>
HWY_NOINLINE void RunTileColumns(const TileJob& args, int64_t column) {
  const TileJob job = args;  // which stores to sums cannot change
  const DF d;
  const int64_t group_chunks = kLong ? job.shape.chunks : 1;
  const int64_t chunks = job.groups * group_chunks;
  ChunkSums<kTwoBytes> chunk_sums[2];
  VF sums[kRows];
#pragma GCC unroll 16
  for (int64_t r = 0; r < kRows; ++r) sums[r] = hn::Load(d, job.sums + r * kPanelCols + column);
  const std::byte* x = job.x.q;
  const float* x_scales = job.x.scales;
  const std::byte* codes = job.codes + 4 * column;
  const std::byte* scales = job.scales;
  SumTileChunk(job, x, codes, chunk_sums[0]);
  int64_t chunk = 0;
  const auto sum_next = [&](const std::byte* next) HWY_ATTR {
    if (column == 0) FetchAhead<kRows, kTwoBytes>(job, x, chunk);
    x += job.x.chunk_stride;
    if (++chunk < chunks) SumTileChunk(job, x, next, chunk_sums[chunk % 2]);
  };
  for (int64_t group = 0; group < job.groups; ++group) {
    const VF scale = LoadScale(job.shape.scale_type, scales, column);
    if constexpr (kLong) {
      VF t[kRows];
#pragma GCC unroll 16
      for (VF& value : t) value = hn::Zero(d);
      for (int64_t c = 1; c <= group_chunks; ++c, x_scales += job.x.scale_stride) {
        const ChunkSums<kTwoBytes>& now = chunk_sums[chunk % 2];
        sum_next(codes + (c < group_chunks ? c * job.chunk_stride : job.group_stride));
#pragma GCC unroll 16
        for (int64_t r = 0; r < kRows; ++r) t[r] = Fma(now.Row(r), hn::Set(d, x_scales[r]), t[r]);
      }
#pragma GCC unroll 16
      for (int64_t r = 0; r < kRows; ++r) sums[r] = Fma(t[r], scale, sums[r]);
    } else {
      const ChunkSums<kTwoBytes>& now = chunk_sums[chunk % 2];
      sum_next(codes + job.group_stride);
#pragma GCC unroll 16
      for (int64_t r = 0; r < kRows; ++r) {
        sums[r] = Fma(hn::Mul(now.Row(r), hn::Set(d, x_scales[r])), scale, sums[r]);
      }
      x_scales += job.x.scale_stride;
    }
    if (job.shape.offsets) {
      HWY_ALIGN float x_sums[kTileRegisterRows];
      hn::Store(SumsOfRows(job, chunk - group_chunks), d, x_sums);
      const VF offset = LoadScale(job.shape.scale_type,
                                  scales + kPanelCols * DTypeBytes(job.shape.scale_type), column);
#pragma GCC unroll 16
      for (int64_t r = 0; r < kRows; ++r) sums[r] = Fma(hn::Set(d, x_sums[r]), offset, sums[r]);
    }
    codes += job.group_stride;
    scales += job.shape.group_bytes;
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < kRows; ++r) {
    if (r < job.rows) hn::Store(sums[r], d, job.sums + r * kPanelCols + column);
  }
}

template <int kRows, bool kTwoBytes>
HWY_INLINE void RunTileJob(const TileJob& job) {
  for (int64_t column = 0; column < kPanelCols; column += kTileOutputs) {
    if (job.shape.chunks == 1) {
      RunTileColumns<kRows, kTwoBytes, false>(job, column);
    } else {
      RunTileColumns<kRows, kTwoBytes, true>(job, column);
    }
  }
}

// The rows that meet a panel, in tiles of equal height.
struct RowTiles {
  int64_t rows;
  int64_t count = (rows + kTileRegisterRows - 1) / kTileRegisterRows;

  HWY_INLINE int64_t First(int64_t tile) const { return rows * tile / count; }
  // Of registers, for all tiles: setting shapes takes as long as a few products.
  HWY_INLINE int64_t register_rows() const {
    const int64_t most = (rows + count - 1) / count;
    return most <= 4 ? 4 : most <= 8 ? 8 : 16;
  }
};

template <bool kTwoBytes>
HWY_INLINE void RunTileJob(const TileJob& job, int64_t register_rows) {
  if (register_rows == 4) return RunTileJob<4, kTwoBytes>(job);
  if (register_rows == 8) return RunTileJob<8, kTwoBytes>(job);
  RunTileJob<16, kTwoBytes>(job);
}

// A chunk of 4-bit codes as signed bytes, in words as those of 8-bit codes.
template <class Codes>
HWY_INLINE void UnpackChunk(const std::byte* codes, int64_t chunk, int32_t* out) {
  const DI d;
  const hn::Repartition<int8_t, DI> d8;
  const auto* words = reinterpret_cast<const int32_t*>(codes);
  const auto zero = hn::Set(d8, static_cast<int8_t>(Codes::kZero));
  const auto to_signed = [&](VI v)
                             HWY_ATTR { return hn::BitCast(d, hn::Sub(hn::BitCast(d8, v), zero)); };
  for (int64_t step = 0; step < chunk / 8; ++step) {
    for (int64_t column = 0; column < kPanelCols; column += kTileOutputs) {
      const int32_t* word = words + step * kPanelCols + column;
      int32_t* to = out + 2 * step * kPanelCols + column;
      hn::Store(to_signed(Codes::template Part<0>(word)), d, to);
      hn::Store(to_signed(Codes::template Part<1>(word)), d, to + kPanelCols);
    }
  }
}

HWY_INLINE void UnpackChunk(CodeType type, const std::byte* codes, int64_t chunk, int32_t* out) {
  switch (type) {
    case CodeType::kInt4:
      return UnpackChunk<Int4Bytes<8>>(codes, chunk, out);
    case CodeType::kUint4:
      return UnpackChunk<Int4Bytes<0>>(codes, chunk, out);
    default:
      return UnpackChunk<Fp4Bytes>(codes, chunk, out);
  }
}

// Groups first .. first + groups of a panel against all rows of x. A job fetches its part of the
// same groups of the next panel; of a single one, what comes soon.
HWY_INLINE void RunTileBlock(const CodePanelShape& shape, const std::byte* panel, int64_t first,
                             int64_t groups, const CodeRows& x, const RowTiles& tiles,
                             float* sums) {
  constexpr int64_t kNear = 8192;
  HWY_ALIGN int32_t unpacked[kTileBlockChunks * 32 * kPanelCols / 4];
  const std::byte* codes = panel + first * shape.group_bytes;
  TileJob job = {.shape = shape,
                 .x = {},
                 .rows = 0,
                 .groups = groups,
                 .codes = codes,
                 .group_stride = shape.group_bytes,
                 .chunk_stride = shape.chunk_bytes,
                 .scales = codes + shape.chunks * shape.chunk_bytes,
                 .fetch = nullptr,
                 .fetch_bytes = 0,
                 .sums = nullptr};
  if (CodeBits(shape.type) == 4) {
    job.codes = reinterpret_cast<const std::byte*>(unpacked);
    job.chunk_stride = shape.chunk * kPanelCols;
    job.group_stride = shape.chunks * job.chunk_stride;
    for (int64_t c = 0; c < groups * shape.chunks; ++c) {
      const int64_t at =
          c / shape.chunks * shape.group_bytes + c % shape.chunks * shape.chunk_bytes;
      UnpackChunk(shape.type, codes + at, shape.chunk, unpacked + c * job.chunk_stride / 4);
    }
  }
  const int64_t block_bytes = groups * shape.group_bytes;
  job.fetch_bytes = block_bytes / (groups * shape.chunks * tiles.count) + 1;
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t row = tiles.First(tile);
    job.rows = tiles.First(tile + 1) - row;
    job.x = x.Rows(row).Chunks(first * shape.chunks);
    job.fetch =
        codes + (tiles.count == 1 ? kNear : shape.bytes() + block_bytes * tile / tiles.count);
    job.sums = sums + row * kPanelCols;
    x.bytes ? RunTileJob<false>(job, tiles.register_rows())
            : RunTileJob<true>(job, tiles.register_rows());
  }
}

// sums [rows][32] = rows of x * panel; rows <= kRowBlock, sums 64-byte aligned.
HWY_INLINE void RunTilePanel(const CodePanelShape& shape, const std::byte* panel, const CodeRows& x,
                             int64_t rows, float* sums) {
  std::memset(sums, 0, static_cast<size_t>(rows * kPanelCols) * sizeof(float));
  const RowTiles tiles{rows};
  SetCodeTileShapes(tiles.register_rows(), shape.chunk);
  const int64_t block = std::max<int64_t>(kTileBlockChunks / shape.chunks, 1);
  for (int64_t group = 0; group < shape.groups; group += block) {
    const int64_t groups = std::min(block, shape.groups - group);
    RunTileBlock(shape, panel, group, groups, x, tiles, sums);
  }
  ReleaseTiles();
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif
#endif  // FOLKMOOT_RUNTIME_CPU_CODE_TILES_INL_H_
