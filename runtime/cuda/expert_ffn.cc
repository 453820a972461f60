// SPDX-License-Identifier: Apache-2.0
// The grouped FFN as two products: gate and up with the activation, then down. Which kernels carry
// them out is decided by the plan.
#include "runtime/cuda/expert_ffn.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/cuda/product_task.h"

namespace folkmoot::cuda {
namespace {

// ExpertFfnPlan::kernel.
enum ExpertKernel : int { kDotKernel, kMmaKernel, kCodeKernel, kWgmmaKernel };

// From so many rows per expert on, tiles of wgmma are full enough.
constexpr int kWgmmaRows = 64;

// The smallest tile that takes all rows of nearly every expert when each has `mean` of them: a
// second tile reads the weights again, though mostly from the cache.
MmaShape ShapeForMean(double mean) {
  if (mean <= 3) return MmaShape::k16x8;
  if (mean <= 9) return MmaShape::k32x16;
  if (mean <= 20) return MmaShape::k64x32;
  return mean <= 96 ? MmaShape::k128x64 : MmaShape::k128x128;
}

MmaShape ShapeOfTile(int tile_rows) {
  for (const MmaShape shape : {MmaShape::k16x8, MmaShape::k32x16, MmaShape::k64x32,
                               MmaShape::k128x64, MmaShape::k128x128}) {
    if (MmaTokens(shape) == tile_rows) return shape;
  }
  FM_CHECK(false);
}

void Run(Stream& stream, const ExpertFfnPlan& plan, DType dtype, const ProductTask& task) {
  if (plan.kernel == kDotKernel) {
    DotProduct(stream, dtype, dtype, task);
  } else if (plan.kernel == kCodeKernel) {
    CodeProduct(stream, ShapeOfTile(plan.tile_rows), dtype, task);
  } else if (plan.kernel == kWgmmaKernel && task.row_weight == nullptr) {
    WgmmaProduct(stream, dtype, task);
  } else {
    MmaProduct(stream, ShapeOfTile(plan.tile_rows), dtype, task);
  }
}

}  // namespace

ExpertFfnPlan PlanExpertFfn(const DeviceInfo& device, const ExpertWeights& weights, int rows, int k,
                            int experts, GemmPolicy policy) {
  FM_CHECK(rows > 0 && k > 0 && experts > 0);
  if (weights.dtype == DType::kF32) return {kDotTokens, kDotKernel};
  const double mean = static_cast<double>(rows) * k / experts;
  if (weights.codes) {
    constexpr int kMostTokens = 64;  // of code_product.cu
    return {std::min(MmaTokens(ShapeForMean(mean)), kMostTokens), kCodeKernel};
  }
  if (policy == GemmPolicy::kFastest && mean >= kWgmmaRows && HasWgmma(device)) {
    return {kWgmmaTokens, kWgmmaKernel};
  }
  return {MmaTokens(ShapeForMean(mean)), kMmaKernel};
}

void ExpertFfn(Stream& stream, const ExpertFfnPlan& plan, const ExpertWeights& weights,
               const GroupedRows& groups, int k, const MatrixRef& x, const float* row_weight,
               void* hidden, float* out) {
  FM_CHECK(groups.tile_rows == plan.tile_rows && k > 0);
  FM_CHECK(x.dtype == weights.dtype && x.cols == weights.hidden);
  FM_CHECK(weights.hidden % 8 == 0 && weights.intermediate % 8 == 0);
  if (groups.max_tiles == 0) return;

  ProductTask task;
  task.tiles = groups.tiles;
  task.tile_count = groups.tile_count;
  task.choices = groups.choices;
  task.max_tiles = groups.max_tiles;
  task.choices_per_row = k;

  task.w = weights.gate_up;
  task.w_scale = weights.gate_up_scale;
  task.n = static_cast<int>(2 * weights.intermediate);
  task.k = static_cast<int>(weights.hidden);
  task.w_stride = weights.hidden;
  task.x = x.data;
  task.x_stride = x.stride;
  task.gather = true;
  task.row_weight = row_weight;
  task.gated = true;
  task.activation = weights.activation;
  task.out = hidden;
  task.out_stride = weights.intermediate;
  task.out_float = false;
  Run(stream, plan, weights.dtype, task);

  task.w = weights.down;
  task.w_scale = weights.down_scale;
  task.n = static_cast<int>(weights.hidden);
  task.k = static_cast<int>(weights.intermediate);
  task.w_stride = weights.intermediate;
  task.x = hidden;
  task.x_stride = weights.intermediate;
  task.gather = false;
  task.scatter = true;
  task.row_weight = nullptr;
  task.gated = false;
  task.out = out;
  task.out_stride = weights.hidden;
  task.out_float = true;
  Run(stream, plan, weights.dtype, task);
}

}  // namespace folkmoot::cuda
