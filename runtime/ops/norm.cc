// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/norm.h"

#include "runtime/check.h"
#include "runtime/cpu/norm.h"

namespace folkmoot {
namespace {

void CheckSameShape(const ConstMatrix& a, const ConstMatrix& b) {
  FM_CHECK(a.rows == b.rows && a.cols == b.cols);
}
void CheckLength(std::span<const float> weight, int64_t length) {
  FM_CHECK(static_cast<int64_t>(weight.size()) == length);
}

}  // namespace

void RmsNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, float eps,
             Matrix out) {
  CheckSameShape(x, out);
  CheckLength(weight, x.cols);
  cpu::RmsNorm(pool, x, weight, eps, out);
}

void AddRmsNorm(ThreadPool& pool, ConstMatrix delta, float factor, std::span<const float> weight,
                float eps, Matrix residual, Matrix out) {
  CheckSameShape(delta, residual);
  CheckSameShape(delta, out);
  CheckLength(weight, delta.cols);
  cpu::AddRmsNorm(pool, delta, factor, weight, eps, residual, out);
}

void Add(ThreadPool& pool, ConstMatrix delta, Matrix x) {
  CheckSameShape(delta, x);
  cpu::Add(pool, delta, x);
}

void Multiply(ThreadPool& pool, ConstMatrix factors, Matrix x) {
  CheckSameShape(factors, x);
  cpu::Multiply(pool, factors, x);
}

void LayerNorm(ThreadPool& pool, ConstMatrix x, std::span<const float> weight,
               std::span<const float> bias, float eps, Matrix out) {
  CheckSameShape(x, out);
  CheckLength(weight, x.cols);
  if (!bias.empty()) CheckLength(bias, x.cols);
  cpu::LayerNorm(pool, x, weight, bias, eps, out);
}

void Scale(ThreadPool& pool, float factor, Matrix x) { cpu::Scale(pool, factor, x); }

void ScaleRows(ThreadPool& pool, std::span<const float> factors, Matrix x) {
  CheckLength(factors, x.rows);
  cpu::ScaleRows(pool, factors, x);
}

void ScaleHeads(ThreadPool& pool, std::span<const float> factors, std::span<const float> scale,
                std::span<const float> bias, Matrix x) {
  CheckLength(factors, x.rows);
  CheckLength(bias, std::ssize(scale));
  FM_CHECK(!scale.empty() && x.cols % std::ssize(scale) == 0);
  cpu::ScaleHeads(pool, factors, scale, bias, x);
}

void ShiftScale(ThreadPool& pool, ConstMatrix x, std::span<const float> shift,
                std::span<const float> scale, Matrix out) {
  CheckSameShape(x, out);
  CheckLength(scale, x.cols);
  if (!shift.empty()) CheckLength(shift, x.cols);
  cpu::ShiftScale(pool, x, shift, scale, out);
}

void SoftCap(ThreadPool& pool, float limit, Matrix x) {
  FM_CHECK(limit > 0.0f);
  cpu::SoftCap(pool, limit, x);
}

void Clamp(ThreadPool& pool, float limit, Matrix x) {
  FM_CHECK(limit > 0.0f);
  cpu::Clamp(pool, limit, x);
}

void HeadRmsNorm(ThreadPool& pool, int64_t head_dim, std::span<const float> weight, float eps,
                 Matrix x) {
  FM_CHECK(head_dim > 0 && x.cols % head_dim == 0);
  CheckLength(weight, head_dim);
  cpu::HeadRmsNorm(pool, head_dim, weight, eps, x);
}

void ClipHeads(ThreadPool& pool, int64_t head_dim, std::span<const float> scale, float limit,
               Matrix x) {
  FM_CHECK(head_dim > 0 && x.cols % head_dim == 0 && limit > 0.0f);
  if (!scale.empty()) CheckLength(scale, x.cols);
  cpu::ClipHeads(pool, head_dim, scale, limit, x);
}

void SplitHeads(ThreadPool& pool, int64_t head_dim, ConstMatrix x, Matrix first, Matrix second) {
  CheckSameShape(first, second);
  FM_CHECK(head_dim > 0 && first.cols % head_dim == 0);
  FM_CHECK(x.rows == first.rows && x.cols == 2 * first.cols);
  cpu::SplitHeads(pool, head_dim, x, first, second);
}

void EmbeddingLookup(ThreadPool& pool, const WeightView& table, std::span<const int32_t> ids,
                     Matrix out) {
  FM_CHECK(out.rows == static_cast<int64_t>(ids.size()) && out.cols == table.k);
  FM_CHECK(table.dtype == DType::kF32 || table.dtype == DType::kBF16 || table.dtype == DType::kF16);
  for (const int32_t id : ids) FM_CHECK(id >= 0 && id < table.n);
  cpu::EmbeddingLookup(pool, table, ids, out);
}

void EmbeddingLookup(ThreadPool& pool, std::span<const WeightView> parts,
                     std::span<const int64_t> ids, Matrix out) {
  FM_CHECK(!parts.empty() && out.rows == static_cast<int64_t>(ids.size()));
  int64_t rows = 0;
  for (const WeightView& part : parts) {
    FM_CHECK(part.k == out.cols && rows % parts.front().n == 0);
    FM_CHECK(part.dtype == DType::kF32 || part.dtype == DType::kBF16 || part.dtype == DType::kF16);
    rows += part.n;
  }
  for (const int64_t id : ids) FM_CHECK(id >= 0 && id < rows);
  cpu::EmbeddingLookup(pool, parts, ids, out);
}

void EmbeddingLookup(ThreadPool& pool, const CodeMatrix& table, std::span<const int32_t> ids,
                     Workspace& workspace, Matrix out) {
  FM_CHECK(out.rows == static_cast<int64_t>(ids.size()) && out.cols == table.k());
  for (const int32_t id : ids) FM_CHECK(id >= 0 && id < table.n());
  const Workspace::Position mark = workspace.Mark();
  // Scratch for one row of each thread.
  const std::span<uint8_t> codes = workspace.Get<uint8_t>(pool.threads() * table.k());
  const std::span<float> scales = workspace.Get<float>(pool.threads() * table.groups());
  const std::span<float> offsets = workspace.Get<float>(pool.threads() * table.groups());
  pool.ParallelFor(out.rows, 8, [&](int64_t begin, int64_t end, int thread) {
    const auto k = static_cast<size_t>(table.k());
    const auto groups = static_cast<size_t>(table.groups());
    const auto at = static_cast<size_t>(thread);
    const CodeRow scratch = {
        codes.subspan(at * k, k), scales.subspan(at * groups, groups),
        offsets.subspan(at * groups, table.spec().offsets ? groups : size_t{0})};
    for (int64_t r = begin; r < end; ++r) {
      DequantizeRow(table, ids[static_cast<size_t>(r)], scratch, out.RowSpan(r));
    }
  });
  workspace.Release(mark);
}

void ApplyRope(ThreadPool& pool, ConstMatrix cos, ConstMatrix sin, const RotaryPart& part,
               Matrix x) {
  CheckSameShape(cos, sin);
  FM_CHECK(part.head_dim > 0 && x.cols % part.head_dim == 0 && part.first >= 0);
  FM_CHECK(cos.rows == x.rows && part.first + 2 * cos.cols <= part.head_dim);
  cpu::ApplyRope(pool, cos, sin, part, x);
}

void MultiplySigmoid(ThreadPool& pool, ConstMatrix gates, Matrix out) {
  CheckSameShape(gates, out);
  cpu::MultiplySigmoid(pool, gates, out);
}

void MultiplyGates(ThreadPool& pool, GateFunction f, ConstMatrix gates, Matrix out) {
  if (f == GateFunction::kSigmoid && gates.cols == out.cols) {
    return MultiplySigmoid(pool, gates, out);
  }
  FM_CHECK(gates.rows == out.rows && gates.cols > 0 && out.cols % gates.cols == 0);
  cpu::MultiplyGates(pool, f, gates, out);
}

void AddSigmoidGated(ThreadPool& pool, ConstMatrix x, std::span<const float> weight, ConstMatrix y,
                     Matrix out) {
  CheckSameShape(y, out);
  FM_CHECK(x.rows == y.rows);
  CheckLength(weight, x.cols);
  cpu::AddSigmoidGated(pool, x, weight, y, out);
}

double LogSumExp(std::span<const float> logits) {
  FM_CHECK(!logits.empty());
  return cpu::LogSumExp(logits);
}

void SoftmaxWeights(std::span<const float> logits, float top, float temperature,
                    std::span<float> weights) {
  FM_CHECK(logits.size() == weights.size() && temperature > 0);
  cpu::SoftmaxWeights(logits, top, temperature, weights);
}

int64_t ArgMax(std::span<const float> values) {
  FM_CHECK(!values.empty());
  return cpu::ArgMax(values);
}

void TopK(std::span<const float> values, std::span<int32_t> indices) {
  FM_CHECK(indices.size() <= values.size());
  cpu::TopK(values, indices);
}

bool AllFinite(std::span<const float> values) { return cpu::AllFinite(values); }

}  // namespace folkmoot
