// SPDX-License-Identifier: Apache-2.0
// The product of product_task.h on CUDA cores, straight from memory: a warp computes 4 rows of w
// for the positions of a tile, its lanes share k. Nothing is staged: w is read once by streaming
// 16-byte loads, several steps ahead of their use, and x comes from the first-level cache.
//
// A warp's rows are two and the two that lie 8 below, so that it holds gates with their up values.
#include <type_traits>

#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/product_store.cuh"
#include "runtime/cuda/ptx.h"

namespace folkmoot::cuda {
namespace {

constexpr int kWarps = 4;  // of a block
constexpr int kRowsOfWarp = 4;
constexpr int kRowsOfBlock = kWarps * kRowsOfWarp;  // a whole group of gate and up rows

// Elements of a lane per step: 16 bytes of w.
template <typename W>
constexpr int kVector = 16 / static_cast<int>(sizeof(W));

template <typename T>
__device__ void Unpack(const uint4& bits, float* to) {
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      to[i] = __uint_as_float(words[i]);
    } else {
      to[2 * i] = ElementPair<T>::Low(words[i]);
      to[2 * i + 1] = ElementPair<T>::High(words[i]);
    }
  }
}

// kCount elements from index `at` of a row of k; zeros past its end. `aligned`: rows begin at
// multiples of 16 bytes and k is a multiple of kCount, as always with 16-bit elements.
template <typename T, int kCount, bool kStream>
__device__ void LoadVector(const T* row, int at, int k, bool aligned,
                           uint4 (&to)[kCount * sizeof(T) / 16]) {
  constexpr int kPart = 16 / static_cast<int>(sizeof(T));
#pragma unroll
  for (int i = 0; i < kCount / kPart; ++i) {
    const int begin = at + i * kPart;
    if (sizeof(T) == 2 || aligned) {
      if (begin >= k) {
        to[i] = make_uint4(0, 0, 0, 0);
      } else if constexpr (kStream) {
        to[i] = LoadGlobalStreaming(row + begin);
      } else {
        to[i] = *reinterpret_cast<const uint4*>(row + begin);
      }
    } else {
      const auto bits = [&](int index) {
        return index < k ? __float_as_uint(static_cast<float>(row[index])) : 0u;
      };
      to[i] = make_uint4(bits(begin), bits(begin + 1), bits(begin + 2), bits(begin + 3));
    }
  }
}

template <typename X, typename W>
struct DotRows {
  const W* w[kRowsOfWarp];
  const X* x;  // first row
  int k;
  bool aligned;
  bool scaled;
};

// kCount elements of x as numbers, scaled under row_weight.
template <typename X, int kCount, typename W>
__device__ void LoadInput(const X* x, int at, const DotRows<X, W>& rows, float scale,
                          float (&to)[kCount]) {
  constexpr int kParts = kCount / kVector<X>;
  uint4 bits[kParts];
  LoadVector<X, kCount, false>(x, at, rows.k, rows.aligned, bits);
#pragma unroll
  for (int part = 0; part < kParts; ++part) Unpack<X>(bits[part], to + part * kVector<X>);
  if (rows.scaled) {
#pragma unroll
    for (int v = 0; v < kCount; ++v) {
      to[v] = static_cast<float>(FromFloat<X>(__fmul_rn(to[v], scale)));
    }
  }
}

// Positions first .. first + kCount of the tile.
template <typename X, typename W, int kCount>
__device__ void DotPositions(const ProductTask& task, const DotRows<X, W>& rows, int first,
                             int row) {
  constexpr int kV = kVector<W>;
  constexpr int kAhead = kCount <= 2 ? 2 : 1;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const X* x[kCount];
  float scale[kCount];
  float sums[kCount][kRowsOfWarp];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    x[i] = rows.x + InputRow(task, first + i) * task.x_stride;
    scale[i] = RowScale(task, first + i);
#pragma unroll
    for (int j = 0; j < kRowsOfWarp; ++j) sums[i][j] = 0.0f;
  }
#pragma unroll 1
  for (int begin = lane * kV; begin < rows.k + lane * kV; begin += 32 * kV * kAhead) {
    uint4 w_bits[kAhead][kRowsOfWarp][1];
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead) {
#pragma unroll
      for (int j = 0; j < kRowsOfWarp; ++j) {
        LoadVector<W, kV, true>(rows.w[j], begin + ahead * 32 * kV, rows.k, rows.aligned,
                                w_bits[ahead][j]);
      }
    }
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead) {
      float values[kCount][kV];
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        LoadInput<X, kV>(x[i], begin + ahead * 32 * kV, rows, scale[i], values[i]);
      }
#pragma unroll
      for (int j = 0; j < kRowsOfWarp; ++j) {
        float w[kV];
        Unpack<W>(w_bits[ahead][j][0], w);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
#pragma unroll
          for (int v = 0; v < kV; ++v) sums[i][j] = __fmaf_rn(values[i][v], w[v], sums[i][j]);
        }
      }
    }
  }
  // A step past the end of k, which not every kCount makes, may turn -0 into 0: no -0 is left.
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
#pragma unroll
    for (int j = 0; j < kRowsOfWarp; ++j) sums[i][j] = __fadd_rn(sums[i][j], 0.0f);
  }
#pragma unroll
  for (int bit = 16; bit > 0; bit /= 2) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
#pragma unroll
      for (int j = 0; j < kRowsOfWarp; ++j) {
        sums[i][j] = __fadd_rn(sums[i][j], __shfl_xor_sync(kFullMask, sums[i][j], bit));
      }
    }
  }
  // Every lane has all sums; lane 2 i + u stores row + u for position i.
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      if (lane == 2 * i + u) {
        StoreTwoRows<X>(task, OutputRow(task, first + i), row + u, sums[i][u], sums[i][u + 2]);
      }
    }
  }
}

// Block i: rows of w (i % row_blocks) of tile i / row_blocks.
template <typename X, typename W>
__global__ void __launch_bounds__(kWarps * 32, 3)
    DotProductKernel(const ProductTask task, const int row_blocks, const bool aligned) {
  GridDependencyWait();
  GridDependencyLaunch();
  const int index = static_cast<int>(blockIdx.x);
  const ExpertTile tile = TileOf(task, index / row_blocks, kDotTokens);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = index % row_blocks * kRowsOfBlock + warp * 2;
  if (tile.count <= 0 || row >= task.n) return;

  DotRows<X, W> rows;
  const W* w = static_cast<const W*>(task.w) + int64_t{tile.slot} * task.n * task.w_stride;
#pragma unroll
  for (int j = 0; j < kRowsOfWarp; ++j) {
    const int wanted = row + j % 2 + j / 2 * 8;
    rows.w[j] = w + (wanted < task.n ? wanted : row) * task.w_stride;  // a row past the end: any
  }
  rows.x = static_cast<const X*>(task.x);
  rows.k = task.k;
  rows.aligned = aligned;
  rows.scaled = task.row_weight != nullptr;
  int first = tile.first;
  for (int left = tile.count; left > 0;) {
    const int count = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    if (count == 4) {
      DotPositions<X, W, 4>(task, rows, first, row);
    } else if (count == 2) {
      DotPositions<X, W, 2>(task, rows, first, row);
    } else {
      DotPositions<X, W, 1>(task, rows, first, row);
    }
    first += count;
    left -= count;
  }
}

bool Aligned(const void* data, int64_t stride, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride * bytes % 16 == 0;
}

template <typename X, typename W>
void LaunchTypes(Stream& stream, const ProductTask& task) {
  const bool aligned = Aligned(task.x, task.x_stride, sizeof(X)) &&
                       Aligned(task.w, task.w_stride, sizeof(W)) && task.k % kVector<W> == 0;
  FM_CHECK(aligned || sizeof(W) == 4);
  const int row_blocks = (task.n + kRowsOfBlock - 1) / kRowsOfBlock;
  const int tiles =
      task.tiles != nullptr ? task.max_tiles : (task.rows + kDotTokens - 1) / kDotTokens;
  if (tiles == 0) return;
  const LaunchShape shape{
      .grid = static_cast<unsigned>(row_blocks * tiles), .block = kWarps * 32, .overlap = true};
  Launch(stream, shape, DotProductKernel<X, W>, task, row_blocks, aligned);
}

}  // namespace

void DotProduct(Stream& stream, DType x, DType w, const ProductTask& task) {
  FM_CHECK(!task.gated || task.n % 16 == 0);
  if (x == DType::kBF16 && w == DType::kBF16) {
    LaunchTypes<__nv_bfloat16, __nv_bfloat16>(stream, task);
  } else if (x == DType::kF16 && w == DType::kF16) {
    LaunchTypes<__half, __half>(stream, task);
  } else if (x == DType::kF32 && w == DType::kBF16) {
    LaunchTypes<float, __nv_bfloat16>(stream, task);
  } else if (x == DType::kF32 && w == DType::kF16) {
    LaunchTypes<float, __half>(stream, task);
  } else {
    FM_CHECK(x == DType::kF32 && w == DType::kF32);
    LaunchTypes<float, float>(stream, task);
  }
}

}  // namespace folkmoot::cuda
