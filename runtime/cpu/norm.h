// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/norm.h; shapes are checked there.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/norm.h"

namespace folkmoot::cpu {

void RmsNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, float eps, Matrix out);
void AddRmsNorm(ThreadPool& pool, ConstMatrix delta, float factor, std::span<const float> weight,
                float eps, Matrix residual, Matrix out);
void Add(ThreadPool& pool, ConstMatrix delta, Matrix x);
void Multiply(ThreadPool& pool, ConstMatrix factors, Matrix x);
void LayerNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight,
               std::span<const float> bias, float eps, Matrix out);
void Scale(ThreadPool& pool, float factor, Matrix x);
void ScaleRows(ThreadPool& pool, std::span<const float> factors, Matrix x);
void ScaleHeads(ThreadPool& pool, std::span<const float> factors, std::span<const float> scale,
                std::span<const float> bias, Matrix x);
void ShiftScale(ThreadPool& pool, ConstMatrix x, std::span<const float> shift,
                std::span<const float> scale, Matrix out);
void SoftCap(ThreadPool& pool, float limit, Matrix x);
void Clamp(ThreadPool& pool, float limit, Matrix x);
void HeadRmsNorm(ThreadPool& pool, int64_t head_dim, std::span<const float> weight, float eps,
                 Matrix x);
void ClipHeads(ThreadPool& pool, int64_t head_dim, std::span<const float> scale, float limit,
               Matrix x);
void SplitHeads(ThreadPool& pool, int64_t head_dim, ConstMatrix x, Matrix first, Matrix second);
void EmbeddingLookup(ThreadPool& pool, const WeightView& table, std::span<const int32_t> ids,
                     Matrix out);
void EmbeddingLookup(ThreadPool& pool, std::span<const WeightView> parts,
                     std::span<const int64_t> ids, Matrix out);
void ApplyRope(ThreadPool& pool, ConstMatrix cos, ConstMatrix sin, const RotaryPart& part,
               Matrix x);
void AddSigmoidGated(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, ConstMatrix y,
                     Matrix out);
void MultiplySigmoid(ThreadPool& pool, ConstMatrix gates, Matrix out);
void MultiplyGates(ThreadPool& pool, GateFunction f, ConstMatrix gates, Matrix out);

double LogSumExp(std::span<const float> logits);
void SoftmaxWeights(std::span<const float> logits, float top, float temperature,
                    std::span<float> weights);
int64_t ArgMax(std::span<const float> values);
void TopK(std::span<const float> values, std::span<int32_t> indices);
bool AllFinite(std::span<const float> values);

}  // namespace folkmoot::cpu
