// SPDX-License-Identifier: Apache-2.0
// The inner loop of every matrix product: rows of x against one packed panel of 32 outputs.
//
// Layouts of a panel (runtime/cpu/pack.cc):
//   F32   float    [k][32]
//   F16   uint16_t [k][32]
//   BF16  uint32_t [ceil(k / 2)][32], the even k in the low half and the odd k in the high half, so
//         that a shift and a mask widen them
// A tile keeps its sums in registers. With more rows than a tile, K is cut into blocks that stay in
// L1 while all tiles pass over them; for more than 4 rows BF16 is widened once per block then. The
// sums wait in float32 memory meanwhile, which keeps their bits. Every sum is one chain of fused
// multiply-adds over k ascending.
#include <algorithm>
#include <cstdint>

#include "runtime/cpu/bf16_pairs-inl.h"
#include "runtime/cpu/fetch_distance.h"
#include "runtime/cpu/panel.h"
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

constexpr int64_t kPanelCols = PackedMatrix::kPanel;
constexpr size_t kPanelVectors = kPanelCols / kVector;
// Rows of a tile: as many as leave registers for a weight and the rows' values.
constexpr int64_t kTileRows = kVector == 16 ? 8 : 3;

// The rows of x that meet a panel: row r starts at x + r * stride.
struct PanelRows {
  const float* x;
  int64_t stride;
  int64_t rows;
};

// The sums of a tile in registers; in memory a row is kPanelCols floats.
template <int kRows>
struct Sums {
  VF v[kRows][kPanelVectors];

  HWY_INLINE void Load(const float* p) {
    const DF d;
    for (int r = 0; r < kRows; ++r) {
      for (size_t i = 0; i < kPanelVectors; ++i)
        v[r][i] = hn::Load(d, p + r * kPanelCols + i * kVector);
    }
  }
  HWY_INLINE void Store(float* p) const {
    const DF d;
    for (int r = 0; r < kRows; ++r) {
      for (size_t i = 0; i < kPanelVectors; ++i)
        hn::Store(v[r][i], d, p + r * kPanelCols + i * kVector);
    }
  }
  // Adds x[r] * w to row r, w being the vectors widen(0), widen(1), ..: each is made right before
  // its use, since there are no registers to keep them in.
  template <VF kMultiplyAdd(VF, VF, VF) = Fma, class Widen>
  HWY_INLINE void Add(const float* x, int64_t stride, Widen widen) {
    const DF d;
    VF values[kRows];
    for (int r = 0; r < kRows; ++r) values[r] = hn::Set(d, x[r * stride]);
    for (size_t i = 0; i < kPanelVectors; ++i) {
      const VF w = widen(i * kVector);
      for (int r = 0; r < kRows; ++r) v[r][i] = kMultiplyAdd(values[r], w, v[r][i]);
    }
  }
};

struct F32Panel {
  static constexpr bool kWidenFirst = false;
  static constexpr int64_t kRows = kTileRows;
  static constexpr int64_t kStep = 1;  // values of k per step
  static constexpr int64_t kStepBytes = 128;
  static constexpr int64_t kBlock = 128;  // values of k whose panel slice is 16 KiB

  template <class S>
  static HWY_INLINE void Step(const std::byte* w, const float* x, int64_t stride, S& sums) {
    const auto* row = reinterpret_cast<const float*>(w);
    sums.Add(x, stride, [row](size_t column) HWY_ATTR { return hn::Load(DF(), row + column); });
  }
};

struct F16Panel {
  static constexpr bool kWidenFirst = false;
  static constexpr int64_t kRows = kTileRows;
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
  static constexpr bool kWidenFirst = true;
  static constexpr int64_t kRows = kVector == 8 ? 2 : kTileRows;  // widening takes a register
  static constexpr int64_t kStep = 2;
  static constexpr int64_t kStepBytes = 128;
  static constexpr int64_t kBlock = 128;

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
    Odd(w, x + 1, stride, sums);
  }

  // The slice of k values at w as an F32Panel slice.
  static HWY_INLINE void Widen(const std::byte* w, int64_t k, float* wide) {
    const DF d;
    const DU du;
    const auto high = hn::Set(du, 0xffff0000u);
    for (int64_t i = 0; i < k; i += 2, w += kStepBytes, wide += 2 * kPanelCols) {
      const auto* row = reinterpret_cast<const uint32_t*>(w);
      for (size_t column = 0; column < kPanelCols; column += kVector) {
        const auto pairs = hn::Load(du, row + column);
        hn::Store(hn::BitCast(d, hn::ShiftLeft<16>(pairs)), d, wide + column);
        hn::Store(hn::BitCast(d, hn::And(pairs, high)), d, wide + kPanelCols + column);
      }
    }
  }
};

// A tile's share of a panel slice: k values of x from `x` times the weights from `w`, added to the
// sums [rows][32].
struct TileArgs {
  const std::byte* w;
  const float* x;
  int64_t stride;
  int64_t k;
  // Memory to fetch meanwhile, as many bytes as w has; null fetches none. Of kFetchSteps each, the
  // tile fetches part fetch_part of every fetch_parts. It goes to L2: this slice and the next are
  // together as large as an L1 of 32 KiB.
  const std::byte* fetch;
  int64_t fetch_part;
  int64_t fetch_parts;
  float* sums;
};

constexpr int64_t kFetchSteps = 8;

// Steps of Panel until x is `end`; kFetch: each fetches what it would read `ahead` bytes further.
template <class Panel, bool kFetch, int kRows>
HWY_INLINE void RunSteps(const std::byte*& w, const float*& x, const float* end, int64_t stride,
                         int64_t ahead, Sums<kRows>& sums) {
  const auto step = [&]() HWY_ATTR {
    if constexpr (kFetch) {
      for (int64_t line = 0; line < Panel::kStepBytes; line += 64) {
        __builtin_prefetch(w + ahead + line, 0, 2);
      }
    }
    Panel::Step(w, x, stride, sums);
    x += Panel::kStep;
    w += Panel::kStepBytes;
  };
  if constexpr (kRows <= 2) {  // little to do between two branches
#pragma GCC unroll 2
    while (x != end) step();
  } else {
    while (x != end) step();
  }
}

template <class Panel, int kRows>
HWY_NOINLINE void RunTile(const TileArgs& args) {
  Sums<kRows> sums;
  sums.Load(args.sums);
  const std::byte* w = args.w;
  const float* x = args.x;
  const int64_t stride = args.stride;
  const float* end = x + args.k / Panel::kStep * Panel::kStep;
  if (args.fetch != nullptr) {
    const int64_t ahead = args.fetch - w;
    for (int64_t part = args.fetch_parts - args.fetch_part; x != end; ++part) {
      const float* stop = std::min(x + kFetchSteps * Panel::kStep, end);
      if (part % args.fetch_parts == 0) {
        RunSteps<Panel, true>(w, x, stop, stride, ahead, sums);
      } else {
        RunSteps<Panel, false>(w, x, stop, stride, ahead, sums);
      }
    }
  } else {
    RunSteps<Panel, false>(w, x, end, stride, 0, sums);
  }
  if constexpr (Panel::kStep == 2) {
    if (args.k % 2 != 0) Panel::Even(w, x, stride, sums);
  }
  sums.Store(args.sums);
}

template <class Panel, int kRows = Panel::kRows>
HWY_INLINE void RunTileOf(int64_t rows, const TileArgs& args) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return RunTileOf<Panel, kRows - 1>(rows, args);
  }
  RunTile<Panel, kRows>(args);
}

// All tiles over one slice. Each fetches its share of the memory at `fetch`, the next slice, so
// that memory is busy all the time.
template <class Panel>
HWY_INLINE void RunSlice(const std::byte* w, const PanelRows& x, int64_t k, const std::byte* fetch,
                         float* sums) {
  const int64_t tiles = (x.rows + Panel::kRows - 1) / Panel::kRows;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    // Tiles of equal height: 4 rows are 2 + 2 and not 3 + 1, which has too few chains.
    const int64_t row = x.rows * tile / tiles;
    RunTileOf<Panel>(
        x.rows * (tile + 1) / tiles - row,
        {w, x.x + row * x.stride, x.stride, k, fetch, tile, tiles, sums + row * kPanelCols});
  }
}

// sums [x.rows][32] = x [x.rows, k] * panel, x.rows <= kRowBlock; sums is 64-byte aligned.
template <class Panel>
HWY_INLINE void RunPanel(const std::byte* panel, const PanelRows& x, int64_t k, float* sums) {
  std::memset(sums, 0, static_cast<size_t>(x.rows * kPanelCols) * sizeof(float));
  if (x.rows <= Panel::kRows) return RunSlice<Panel>(panel, x, k, panel + FetchDistance(), sums);
  for (int64_t first = 0; first < k; first += Panel::kBlock) {
    const int64_t count = std::min(Panel::kBlock, k - first);
    const std::byte* w = panel + first / Panel::kStep * Panel::kStepBytes;
    const std::byte* next = w + (count + Panel::kStep - 1) / Panel::kStep * Panel::kStepBytes;
    const PanelRows rows{x.x + first, x.stride, x.rows};
    if constexpr (Panel::kWidenFirst) {
      // Fewer rows widen in less time than they would take to store.
      constexpr int64_t kWidenAbove = kVector == 8 ? 10 : 4;
      if (x.rows > kWidenAbove) {
        HWY_ALIGN float wide[Panel::kBlock * kPanelCols];
        Panel::Widen(w, count, wide);
        RunSlice<F32Panel>(reinterpret_cast<const std::byte*>(wide), rows, count, next, sums);
        continue;
      }
    }
    RunSlice<Panel>(w, rows, count, next, sums);
  }
}

// BF16 panels beside rows of bfloat16 (ProductRows::pairs): words that lie as floats do, and whose
// values of k are pairs.
template <bool kNative>
struct BF16PairsPanel : F32Panel {
  template <class S>
  static HWY_INLINE void Step(const std::byte* w, const float* x, int64_t stride, S& sums) {
    const auto* row = reinterpret_cast<const float*>(w);
    sums.template Add<AddBf16Pairs<kNative>>(
        x, stride, [row](size_t column) HWY_ATTR { return hn::Load(DF(), row + column); });
  }
};

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
