// SPDX-License-Identifier: Apache-2.0
// Row-wise steps of a decoder on the device. The residual stream is float32 [T, H]; what goes into
// products (`out`) has the type of the weights. Sums of a row are taken in one fixed tree, so a row
// has the same bits in every batch.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

// hidden[t] = row token_ids[t] of table [V, H], widened.
void Embed(Stream& stream, const MatrixRef& table, const StepRows& rows, float* hidden);

// out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight, x float32 [T, H].
void RmsNorm(Stream& stream, const float* x, const float* weight, float eps, const MatrixRef& out);

// residual[t] += delta[t], then out[t] = RmsNorm(residual[t]). residual, delta float32 [T, H].
void AddRmsNorm(Stream& stream, const float* delta, const float* weight, float eps, float* residual,
                const MatrixRef& out);

// out[i] = x[rows[i]] for i < count; x, out have the same type. For the rows whose logits are
// wanted; `rows` comes with the step's input, as StepRows. rows[i] < 0: the row is not written.
void GatherRows(Stream& stream, const MatrixRef& x, const int32_t* rows, int count,
                const MatrixRef& out);

// out[t] = act(gate[t]) * up[t] for a dense or shared FFN; gate_up [T, 2I] holds gate in its first
// half and up in its second, out [T, I]. kind: an Activation of runtime/ops/gemm.h.
void GatedActivation(Stream& stream, int kind, const MatrixRef& gate_up, const MatrixRef& out);

// What routed experts of a layer, and its shared expert, add to the residual stream.
struct CombineInput {
  RoutingRef routing;
  // [T * K, H] results by choice. All are read, those of action 1 count.
  const float* expert_rows = nullptr;
  bool weight_on_input = false;         // results count once, without their weight
  const float* x = nullptr;             // [T, H] float32 input of the layer, for action 2; or null
  const float* shared = nullptr;        // [T, H] of the shared expert, or null
  const float* shared_logit = nullptr;  // [T] sigmoid gate of the shared expert, or null: 1
};

// delta[t] = sum over k = 0..K-1, in this order, from +0, of weight * row (action 1) or weight * x
// (action 2), one rounding per product and one per sum; then + shared (times sigmoid of its logit).
// The order and the roundings of parallel/combine.h. Then residual[t] += delta[t] and out[t] =
// RmsNorm(residual[t], weight): the input of the next layer.
void CombineAddRmsNorm(Stream& stream, const CombineInput& in, const float* weight, float eps,
                       float* residual, const MatrixRef& out);
// The sum alone, delta float32 [T, H]: for tests, and for a rank whose rows travel on.
void Combine(Stream& stream, const CombineInput& in, int64_t hidden, float* delta);

}  // namespace folkmoot::cuda
