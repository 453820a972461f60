// SPDX-License-Identifier: Apache-2.0
// Products with BF16 weights by tile registers (tile_registers.h), in the order of sums that these
// have (SumOrder::kNative): chunk by chunk of 32 k, and of a chunk part by part of x. Panels are
// what the instruction wants as they are.
//
// Up to 32 rows keep their sums for a panel in registers from the first k to the last; the panel
// waits in L2 for the next rows.
#include <cstddef>
#include <cstdint>

#include "runtime/cpu/panel_kernel-inl.h"
#include "runtime/cpu/product_rows.h"
#include "runtime/cpu/tile_registers-inl.h"

#if defined(FOLKMOOT_RUNTIME_CPU_BF16_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_BF16_TILES_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_BF16_TILES_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_BF16_TILES_INL_H_
#endif

#if HWY_TARGET == HWY_AVX3_DL
HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kTileStepBytes = TileRows::kDepth / 2 * BF16Panel::kStepBytes;  // of a panel

// Some rows against a panel.
struct Bf16Pass {
  const std::byte* x;  // their first part
  int64_t part_stride;
  int parts;
  const std::byte* panel;
  const std::byte* tail;   // the last, incomplete chunk of the panel with zeros behind it, if any
  int64_t chunks;          // complete ones
  const std::byte* fetch;  // what is read from memory later: fetch_bytes of it for each chunk
  int64_t fetch_bytes;
  float* sums;  // [16 * kRowTiles][32]
};

// Registers 0 to 3 hold sums, 4 and 5 rows of x, 6 and 7 weights.
template <int kRowTiles>
HWY_INLINE void AddTileChunk(const Bf16Pass& pass, const std::byte* w, const std::byte* x) {
  constexpr int64_t kNextRows = kTileRegisterRows * kTileRowBytes;
  LoadTile<6>(w, BF16Panel::kStepBytes);
  LoadTile<7>(w + kTileRowBytes, BF16Panel::kStepBytes);
  for (int part = 0; part < pass.parts; ++part, x += pass.part_stride) {
    LoadTile<4>(x, kTileRowBytes);
    if constexpr (kRowTiles == 2) LoadTile<5>(x + kNextRows, kTileRowBytes);
    AddBf16Rows<0, 4, 6>();
    AddBf16Rows<1, 4, 7>();
    if constexpr (kRowTiles == 2) {
      AddBf16Rows<2, 5, 6>();
      AddBf16Rows<3, 5, 7>();
    }
  }
}

template <int kRowTiles>
HWY_NOINLINE void RunBf16Pass(const Bf16Pass& args) {
  constexpr int64_t kRowBytes = kPanelCols * sizeof(float);
  const Bf16Pass pass = args;  // which stores to sums cannot change
  ZeroTile<0>();
  ZeroTile<1>();
  if constexpr (kRowTiles == 2) {
    ZeroTile<2>();
    ZeroTile<3>();
  }
  const std::byte* x = pass.x;
  for (int64_t chunk = 0; chunk < pass.chunks; ++chunk, x += pass.parts * pass.part_stride) {
    const std::byte* fetch = pass.fetch + chunk * pass.fetch_bytes;
    for (int64_t line = 0; line < pass.fetch_bytes; line += 64) {
      __builtin_prefetch(fetch + line, 0, 2);  // to L2: L1 is for the rows
    }
    AddTileChunk<kRowTiles>(pass, pass.panel + chunk * kTileStepBytes, x);
  }
  if (pass.tail != nullptr) AddTileChunk<kRowTiles>(pass, pass.tail, x);
  StoreTile<0>(pass.sums, kRowBytes);
  StoreTile<1>(pass.sums + kTileOutputs, kRowBytes);
  if constexpr (kRowTiles == 2) {
    float* next = pass.sums + kTileRegisterRows * kPanelCols;
    StoreTile<2>(next, kRowBytes);
    StoreTile<3>(next + kTileOutputs, kRowBytes);
  }
}

HWY_INLINE void SetBf16TileShapes(int64_t rows) {
  TileShapes shapes;
  for (int tile = 0; tile < kTileRegisters; ++tile) {
    const bool weights = tile >= 6;
    shapes.Set(tile, weights ? kTileRegisterRows : std::min(rows, kTileRegisterRows),
               kTileRowBytes);
  }
  SetTileShapes(shapes);
}

// sums [rows][32] = rows row .. row + rows of x * panel, x being of k values; sums 64-byte aligned.
HWY_INLINE void RunBf16TilePanel(const std::byte* panel, const TileRows& x, int64_t row,
                                 int64_t rows, int64_t k, float* sums) {
  constexpr int64_t kNear = 8192;
  constexpr int64_t kPassRows = 2 * kTileRegisterRows;
  HWY_ALIGN std::byte tail[kTileStepBytes];
  HWY_ALIGN float last[kPassRows * kPanelCols];
  const int64_t chunks = k / TileRows::kDepth;
  const int64_t tail_bytes = (k % TileRows::kDepth + 1) / 2 * BF16Panel::kStepBytes;
  if (tail_bytes > 0) {
    std::memcpy(tail, panel + chunks * kTileStepBytes, static_cast<size_t>(tail_bytes));
    std::memset(tail + tail_bytes, 0, static_cast<size_t>(kTileStepBytes - tail_bytes));
  }
  // Together the passes fetch the next panel; a single one what it needs soon.
  const int64_t passes = (rows + kPassRows - 1) / kPassRows;
  Bf16Pass pass = {.x = x.words + row * kTileRowBytes,
                   .part_stride = x.part_stride,
                   .parts = x.parts,
                   .panel = panel,
                   .tail = tail_bytes > 0 ? tail : nullptr,
                   .chunks = chunks,
                   .fetch = panel + (passes == 1 ? kNear : chunks * kTileStepBytes + tail_bytes),
                   .fetch_bytes = (kTileStepBytes / 64 + passes - 1) / passes * 64,
                   .sums = sums};
  SetBf16TileShapes(rows);
  for (int64_t left = rows; left > 0; left -= kPassRows) {
    float* out = sums + (rows - left) * kPanelCols;
    const int64_t count = std::min(left, kPassRows);
    // Registers of fewer rows than 16 write no more than there are.
    const bool fits = rows < kTileRegisterRows || count % kTileRegisterRows == 0;
    pass.sums = fits ? out : last;
    count > kTileRegisterRows ? RunBf16Pass<2>(pass) : RunBf16Pass<1>(pass);
    if (!fits) std::memcpy(out, last, static_cast<size_t>(count * kPanelCols) * sizeof(float));
    pass.x += kPassRows * kTileRowBytes;
    pass.fetch += chunks * pass.fetch_bytes;
  }
  ReleaseTiles();
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif
#endif  // FOLKMOOT_RUNTIME_CPU_BF16_TILES_INL_H_
