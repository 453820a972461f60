// SPDX-License-Identifier: Apache-2.0
// The inner loop of every matrix product: rows of x against one packed panel of 32 outputs.
//
// Layouts of a panel (runtime/cpu/pack.cc):
//   F32   float    [k][32]
//   F16   uint16_t [k][32]
//   BF16  uint32_t [ceil(k / 2)][32], the even k in the low half and the odd k in the high half, so
//         that a shift and a mask widen them
// A tile keeps its sums in registers. With more rows than a tile, K is cut into blocks that stay in
// L1 while all tiles pass over them; the sums wait in float32 memory meanwhile, which keeps their
// bits. Every sum is one chain of fused multiply-adds over k ascending.
#include <algorithm>
#include <cstdint>

#include "hwy/cache_control.h"
#include "runtime/cpu/simd-inl.h"

#if defined(FOLKMOOT_RUNTIME_CPU_PANEL_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_PANEL_KERNEL_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_PANEL_KERNEL_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_PANEL_KERNEL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kPanelCols = 32;
// Few rows: a wide tile reads all columns of a panel at once, so that memory is one stream. More
// rows: a tall tile of kTallCols columns reuses each weight in registers more often.
constexpr int64_t kWideRows = 3;
constexpr int64_t kTallRows = 3;
constexpr int64_t kTallCols = 32;
// Rows whose sums live in the caller's scratch at a time: [kRowBlock][32] floats, 12 KiB.
constexpr int64_t kRowBlock = 96;

// The rows of x that meet a panel: row r starts at x + r * stride.
struct PanelRows {
  const float* x;
  int64_t stride;
  int64_t rows;
};

// The sums of a tile in registers; in memory a row is kPanelCols floats.
template <int kRows, int kCols>
struct Sums {
  static constexpr size_t kCount = static_cast<size_t>(kCols) / kVector;
  VF v[kRows][kCount];

  HWY_INLINE void Load(const float* p) {
    const DF d;
    for (int r = 0; r < kRows; ++r) {
      for (size_t i = 0; i < kCount; ++i) v[r][i] = hn::Load(d, p + r * 32 + i * kVector);
    }
  }
  HWY_INLINE void Store(float* p) const {
    const DF d;
    for (int r = 0; r < kRows; ++r) {
      for (size_t i = 0; i < kCount; ++i) hn::Store(v[r][i], d, p + r * 32 + i * kVector);
    }
  }
  // Adds x[r] * w to row r, w being the vectors widen(0), widen(1), ..: each is made right before
  // its use, since there are no registers to keep them in.
  template <class Widen>
  HWY_INLINE void Add(const float* x, int64_t stride, Widen widen) {
    const DF d;
    VF values[kRows];
    for (int r = 0; r < kRows; ++r) values[r] = hn::Set(d, x[r * stride]);
    for (size_t i = 0; i < kCount; ++i) {
      const VF w = widen(i * kVector);
      for (int r = 0; r < kRows; ++r) v[r][i] = Fma(values[r], w, v[r][i]);
    }
  }
};

struct F32Panel {
  static constexpr int64_t kStep = 1;  // values of k per step
  static constexpr int64_t kStepBytes = 128;
  static constexpr int64_t kBlock = 128;       // values of k whose panel slice is 16 KiB

  template <class S>
  static HWY_INLINE void Step(const std::byte* w, const float* x, int64_t stride, S& sums) {
    const auto* row = reinterpret_cast<const float*>(w);
    sums.Add(x, stride, [row](size_t column) HWY_ATTR { return hn::Load(DF(), row + column); });
  }
};

struct F16Panel {
  static constexpr int64_t kStep = 1;
  static constexpr int64_t kStepBytes = 64;
  static constexpr int64_t kBlock = 256;

  template <class S>
  static HWY_INLINE void Step(const std::byte* w, const float* x, int64_t stride, S& sums) {
    const auto* row = reinterpret_cast<const uint16_t*>(w);
    sums.Add(x, stride, [row](size_t column) HWY_ATTR { return LoadF16(row + column); });
  }
};

struct BF16Panel {
  static constexpr int64_t kStep = 2;
  static constexpr int64_t kStepBytes = 128;
  static constexpr int64_t kBlock = 256;

  template <class S>
  static HWY_INLINE void Even(const std::byte* w, const float* x, int64_t stride, S& sums) {
    const auto* row = reinterpret_cast<const uint32_t*>(w);
    sums.Add(x, stride, [row](size_t column) HWY_ATTR {
      return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::Load(DU(), row + column)));
    });
  }
  template <class S>
  static HWY_INLINE void Odd(const std::byte* w, const float* x, int64_t stride, S& sums) {
    const auto* row = reinterpret_cast<const uint32_t*>(w);
    sums.Add(x, stride, [row](size_t column) HWY_ATTR {
      const auto high = hn::Set(DU(), 0xffff0000u);
      return hn::BitCast(DF(), hn::And(hn::Load(DU(), row + column), high));
    });
  }
  template <class S>
  static HWY_INLINE void Step(const std::byte* w, const float* x, int64_t stride, S& sums) {
    Even(w, x, stride, sums);
    // Hides that the address is the same, or the compiler keeps the pairs of Even in registers that
    // it does not have.
    asm volatile("" : "+r"(w));
    Odd(w, x + 1, stride, sums);
  }
};

// A tile's share of a panel slice: k values of x from `x`, weights from `w` (of its first column),
// sums from `sums` [rows][32]. Fetches memory `ahead` bytes further on while it goes, if not zero.
struct TileArgs {
  const std::byte* w;
  const float* x;
  int64_t stride;
  int64_t k;
  int64_t ahead;
  float* sums;
};

template <class Panel, int kRows, int kCols>
HWY_NOINLINE void RunTile(const TileArgs& args) {
  Sums<kRows, kCols> sums;
  sums.Load(args.sums);
  const std::byte* w = args.w;
  const float* x = args.x;
  const int64_t stride = args.stride;
  const float* end = x + args.k / Panel::kStep * Panel::kStep;
  if (args.ahead != 0) {
    const int64_t ahead = args.ahead;
    for (; x != end; x += Panel::kStep, w += Panel::kStepBytes) {
      for (int64_t line = 0; line < Panel::kStepBytes; line += 64) hwy::Prefetch(w + ahead + line);
      Panel::Step(w, x, stride, sums);
    }
  } else {
    for (; x != end; x += Panel::kStep, w += Panel::kStepBytes) Panel::Step(w, x, stride, sums);
  }
  if constexpr (Panel::kStep == 2) {
    if (args.k % 2 != 0) Panel::Even(w, x, stride, sums);
  }
  sums.Store(args.sums);
}

template <class Panel, int kCols, int kRows>
HWY_INLINE void RunTileOf(int64_t rows, const TileArgs& args) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return RunTileOf<Panel, kCols, kRows - 1>(rows, args);
  }
  RunTile<Panel, kRows, kCols>(args);
}

// sums [x.rows][32] = x [x.rows, k] * panel, x.rows <= kRowBlock; sums is 64-byte aligned.
template <class Panel>
HWY_INLINE void RunPanel(const std::byte* panel, const PanelRows& x, int64_t k, float* sums) {
  std::memset(sums, 0, static_cast<size_t>(x.rows * kPanelCols) * sizeof(float));
  if (x.rows <= kWideRows) {
    return RunTileOf<Panel, kPanelCols, kWideRows>(x.rows, {panel, x.x, x.stride, k, 2048, sums});
  }
  const int64_t tiles = (x.rows + kTallRows - 1) / kTallRows;
  constexpr int64_t kAhead = Panel::kBlock / Panel::kStep * Panel::kStepBytes;  // the next block
  for (int64_t first = 0; first < k; first += Panel::kBlock) {
    const int64_t count = std::min(Panel::kBlock, k - first);
    const std::byte* w = panel + first / Panel::kStep * Panel::kStepBytes;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = x.rows * tile / tiles;  // tiles of equal height
      const int64_t rows = x.rows * (tile + 1) / tiles - row;
      const float* tile_x = x.x + row * x.stride + first;
      for (int64_t column = 0; column < kPanelCols; column += kTallCols) {
        RunTileOf<Panel, kTallCols, kTallRows>(
            rows, {w + column * Panel::kElementBytes, tile_x, x.stride, count,
                   tile == 0 && column == 0 ? kAhead : 0, sums + row * kPanelCols + column});
      }
    }
  }
}

HWY_INLINE void RunPanel(DType dtype, const std::byte* panel, const PanelRows& x, int64_t k,
                         float* sums) {
  if (dtype == DType::kBF16) return RunPanel<BF16Panel>(panel, x, k, sums);
  if (dtype == DType::kF16) return RunPanel<F16Panel>(panel, x, k, sums);
  RunPanel<F32Panel>(panel, x, k, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_PANEL_KERNEL_INL_H_
