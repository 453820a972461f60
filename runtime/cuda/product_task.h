// SPDX-License-Identifier: Apache-2.0
// One matrix product as its kernels are told of it: out = x * w^T for the rows of a dense matrix,
// or for the tiles of a grouped one, where the tile names the expert and the choices name the rows.
// Used by gemm.cc and expert_ffn.cc; the kernels are in mma_product, code_product, dot_product and
// wgmma_product.
//
// A tile covers positions first .. first + count. Dense: position p is row p of x and of out.
// Grouped: position p is choices[p]; see `gather` and `scatter`.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

struct ProductTask {
  const void* w = nullptr;  // [slots, n, k], k contiguous
  int n = 0;
  int k = 0;
  int64_t w_stride = 0;  // elements between rows; slots follow each other without a gap
  // Where w has codes: what they are multiplied with, one for each row and 128 k.
  const float* w_scale = nullptr;  // [slots, ceil(k / 128), n]
  const void* x = nullptr;         // [*, k]
  int64_t x_stride = 0;
  void* out = nullptr;  // [*, n], or [*, n / 2] when gated
  int64_t out_stride = 0;
  bool out_float = true;  // else the type of x
  int rows = 0;           // dense: M

  const ExpertTile* tiles = nullptr;  // null: dense
  const int32_t* tile_count = nullptr;
  const int32_t* choices = nullptr;
  int max_tiles = 0;
  int choices_per_row = 1;
  bool gather = false;   // position p reads row choices[p] / choices_per_row, else row p
  bool scatter = false;  // and is written to row choices[p], else to row p

  const float* row_weight = nullptr;  // [choices]: x is scaled by it and rounded once; or null
  const float* bias = nullptr;        // [n] or null
  bool gated = false;                 // rows of w: 8 of gate, 8 of up, and so on
  int activation = 0;                 // of the gate
};

// The shapes of mma_product: rows of w times positions. All of them give the same bits.
enum class MmaShape : uint8_t { k16x8, k16x16, k32x16, k64x32, k128x64, k128x128 };
// Positions of a tile: what GroupedRows::tile_rows must be.
int MmaTokens(MmaShape shape);
int MmaWeightRows(MmaShape shape);

// Tensor cores, mma.sync; x and w both kBF16 or both kF16.
//
// Order of summation, for every shape and device: k is cut into 4 segments of a multiple of 64
// (the last may be short or empty); a segment is summed by instructions of 16 k in rising order,
// from zero; the segments are added in rising order, from zero.
void MmaProduct(Stream& stream, MmaShape shape, DType dtype, const ProductTask& task);

// The same with E4M3 codes as w, in the order of CodeColumn (expert_ffn.h); k and w_stride are
// multiples of 16, n of 8. Codes are widened exactly, so that weights are not rounded.
//
// Order of summation, for every shape (up to 64 positions) and device: as above, but 4 segments of
// a multiple of 128; 128 k are summed from zero, and their sum, times w_scale, is added to the
// segment by one FMA.
void CodeProduct(Stream& stream, MmaShape shape, DType x, const ProductTask& task);

// CUDA cores, float32 FMA, straight from memory: for few rows of a large w, float32, and float32 x
// with 16-bit w. A tile has at most kDotTokens positions.
//
// Order of summation: lane i of a warp adds up vectors i, i + 32, i + 64, .. of 8 k (float32 w: 4)
// with FMAs in rising order; then lanes that differ in bit 16 are added, in bit 8, 4, 2 and 1.
constexpr int kDotTokens = 8;
void DotProduct(Stream& stream, DType x, DType w, const ProductTask& task);

// Tensor cores of sm_90a, wgmma; types as MmaProduct, without row_weight; tiles of kWgmmaTokens
// positions. Its sums are its own: the same from run to run and for every tile, but not those of
// MmaProduct.
constexpr int kWgmmaTokens = 128;
constexpr int kWgmmaWeightRows = 256;
bool HasWgmma(const DeviceInfo& device);
void WgmmaProduct(Stream& stream, DType dtype, const ProductTask& task);

}  // namespace folkmoot::cuda
