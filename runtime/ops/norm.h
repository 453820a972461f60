// SPDX-License-Identifier: Apache-2.0
// Row-wise operations of a transformer block.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/dtype.h"
#include "runtime/ops/gemm.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight. x and out [T, H] may be the same matrix.
void RmsNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, float eps, Matrix out);

// residual += factor * delta, the product rounded first, then out = RmsNorm(residual). One pass
// over memory; same bits as the steps.
void AddRmsNorm(ThreadPool& pool, ConstMatrix delta, float factor, std::span<const float> weight,
                float eps, Matrix residual, Matrix out);

// out[t] = (x[t] - mean) / sqrt(variance + eps) * weight + bias, `bias` may be empty. x and out may
// be the same matrix.
void LayerNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight,
               std::span<const float> bias, float eps, Matrix out);

// x *= factor, elementwise.
void Scale(ThreadPool& pool, float factor, Matrix x);
// x[t] *= factors[t].
void ScaleRows(ThreadPool& pool, std::span<const float> factors, Matrix x);
// x[t] *= scale[h] * factors[t] + bias[h], in the columns of head h. x [T, heads * head_dim].
void ScaleHeads(ThreadPool& pool, std::span<const float> factors, std::span<const float> scale,
                std::span<const float> bias, Matrix x);
// out[t] = (x[t] + shift) * scale, by column; `shift` may be empty. x and out may be the same
// matrix.
void ShiftScale(ThreadPool& pool, ConstMatrix x, std::span<const float> shift,
                std::span<const float> scale, Matrix out);
// x = limit * tanh(x / limit), elementwise.
void SoftCap(ThreadPool& pool, float limit, Matrix x);

// x += delta, elementwise.
void Add(ThreadPool& pool, ConstMatrix delta, Matrix x);

// x *= factors, elementwise.
void Multiply(ThreadPool& pool, ConstMatrix factors, Matrix x);

// x = min(max(x, -limit), limit), elementwise; NaN stays.
void Clamp(ThreadPool& pool, float limit, Matrix x);

// The head-wise form used on q and k: x is [T, heads * head_dim], normalised per head.
void HeadRmsNorm(ThreadPool& pool, int64_t head_dim, std::span<const float> weight, float eps,
                 Matrix x);

// Each head of x [T, heads * head_dim], multiplied with `scale` [heads * head_dim], unless that is
// empty, is made as long as `limit` where it is longer: times min(1, limit / (|head| + 1e-6)).
void ClipHeads(ThreadPool& pool, int64_t head_dim, std::span<const float> scale, float limit,
               Matrix x);

// Each head of x [T, heads * 2 * head_dim] has two halves: first and second, [T, heads * head_dim]
// each.
void SplitHeads(ThreadPool& pool, int64_t head_dim, ConstMatrix x, Matrix first, Matrix second);

// out[t] = row ids[t] of table [V, H], widened to float32. ids must be in range.
void EmbeddingLookup(ThreadPool& pool, const WeightView& table, std::span<const int32_t> ids,
                     Matrix out);
void EmbeddingLookup(ThreadPool& pool, const CodeMatrix& table, std::span<const int32_t> ids,
                     Workspace& workspace, Matrix out);
// The same of a table in parts, one behind the other, all of which have as many rows as the first,
// but the last, which may have fewer.
void EmbeddingLookup(ThreadPool& pool, std::span<const WeightView> parts,
                     std::span<const int64_t> ids, Matrix out);

// What of each head turns: its elements first .. first + r, in pairs of (i, i + r/2) as in NeoX, or
// of neighbours as in GPT-J.
struct RotaryPart {
  int64_t head_dim = 0;
  int64_t first = 0;
  bool neighbours = false;
};

// Rotary embedding in place on x [T, heads * head_dim]; the rest of each head passes through. cos,
// sin: [T, r / 2], one row per token (runtime/rope.h).
void ApplyRope(ThreadPool& pool, ConstMatrix cos, ConstMatrix sin, const RotaryPart& part,
               Matrix x);

// out[t] += sigmoid(x[t] . weight) * y[t]: the gated shared expert of Qwen2-MoE. x [T, H]; y and
// out are [T, H] or the same columns of it.
void AddSigmoidGated(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, ConstMatrix y,
                     Matrix out);

// out *= sigmoid(gates), elementwise.
void MultiplySigmoid(ThreadPool& pool, ConstMatrix gates, Matrix out);

// out *= f(gates), each of the G gates of a row for out.cols / G neighbours. Sigmoids of a gate for
// each are those of MultiplySigmoid.
enum class GateFunction : uint8_t { kSigmoid, kSoftplus };
void MultiplyGates(ThreadPool& pool, GateFunction f, ConstMatrix gates, Matrix out);

// log(sum over v of exp(logits[v])) in double, added by index mod 8.
double LogSumExp(std::span<const float> logits);

// weights[v] = e^((logits[v] - top) / temperature), for `top` the greatest logit and a temperature
// above 0; logits of -infinity weigh 0.
void SoftmaxWeights(std::span<const float> logits, float top, float temperature,
                    std::span<float> weights);

// Index of the greatest value; the lower index wins a tie.
int64_t ArgMax(std::span<const float> values);

// The `k` greatest in descending order; ties go to the lower index. indices.size() == k.
void TopK(std::span<const float> values, std::span<int32_t> indices);

// False when any element is NaN or infinite.
bool AllFinite(std::span<const float> values);

}  // namespace folkmoot
