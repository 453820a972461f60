// SPDX-License-Identifier: Apache-2.0
#include "layers/norm.h"

#include <algorithm>
#include <array>
#include <utility>

namespace folkmoot {
namespace {

void CopyRows(ConstMatrix from, Matrix to) {
  for (int64_t t = 0; t < from.rows; ++t) std::copy_n(from.Row(t), from.cols, to.Row(t));
}

}  // namespace

absl::StatusOr<std::vector<float>> RmsNormWeights(WeightLoader& loader, NormKind kind,
                                                  const std::string& name, int64_t n) {
  FM_ASSIGN_OR_RETURN(std::vector<float> weights, loader.Vector(name, n));
  if (kind == NormKind::kRmsPlusOne) {
    for (float& weight : weights) weight += 1.0f;
  }
  return weights;
}

absl::StatusOr<Norm> Norm::Load(WeightLoader& loader, const ModelConfig& config,
                                const std::string& module, int64_t n) {
  return Load(loader, config, config.norm, module, n);
}

absl::StatusOr<Norm> Norm::Load(WeightLoader& loader, const ModelConfig& config, NormKind kind,
                                const std::string& module, int64_t n) {
  Norm norm;
  norm.eps_ = config.rms_norm_eps;
  if (module.empty()) {
    norm.weight_.assign(static_cast<size_t>(n), 1.0f);
    return norm;
  }
  norm.kind_ = kind;
  const std::string name = module.ends_with(".scale") ? module : module + ".weight";
  FM_ASSIGN_OR_RETURN(norm.weight_, RmsNormWeights(loader, kind, name, n));
  if (kind == NormKind::kLayer && config.norm_bias) {
    FM_ASSIGN_OR_RETURN(norm.bias_, loader.Vector(module + ".bias", n));
  }
  return norm;
}

absl::StatusOr<Norm> Norm::LoadLate(WeightLoader& loader, const ModelConfig& config,
                                    const std::string& module, int64_t n) {
  FM_ASSIGN_OR_RETURN(Norm norm, Load(loader, config, module, n));
  norm.first_ = std::exchange(norm.weight_, std::vector<float>(static_cast<size_t>(n), 1.0f));
  return norm;
}

void Norm::MultiplyWeights(float factor) {
  for (float& weight : weight_) weight *= factor;
}

absl::StatusOr<Norm> Norm::LoadGated(ThreadPool& pool, WeightLoader& loader,
                                     const ModelConfig& config, const std::string& module,
                                     int64_t n) {
  FM_ASSIGN_OR_RETURN(Norm norm, Load(loader, config, module + ".norm", n));
  GatedFfnWeights& gate = norm.gate_.emplace();
  gate.gated = false;
  // As routers, they are not rounded: they are small and decide much.
  FM_ASSIGN_OR_RETURN(gate.gate_up, loader.Pack(pool, {.name = module + ".W_down.weight",
                                                       .n = config.norm_gate_rank,
                                                       .k = n,
                                                       .exact = true}));
  FM_ASSIGN_OR_RETURN(gate.down, loader.Pack(pool, {.name = module + ".W_up.weight",
                                                    .n = n,
                                                    .k = config.norm_gate_rank,
                                                    .exact = true}));
  return norm;
}

void Norm::Apply(LayerContext& ctx, ConstMatrix x, Matrix out) const {
  ApplyAlone(ctx.pool, x, out);
  if (gate_) ApplyGate(ctx, out);
}

void Norm::AddApply(LayerContext& ctx, ConstMatrix delta, float factor, Matrix residual,
                    Matrix out) const {
  AddApplyAlone(ctx.pool, delta, factor, residual, out);
  if (gate_) ApplyGate(ctx, out);
}

void Norm::ApplyGate(LayerContext& ctx, Matrix y) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix hidden = ctx.workspace.GetMatrix(y.rows, gate_->outputs());
  const Matrix gates = ctx.workspace.GetMatrix(y.rows, y.cols);
  const std::array<const GatedFfnWeights*, 1> network = {&*gate_};
  const std::array<int64_t, 2> offsets = {0, y.rows};
  GroupedGatedFfn(ctx.pool, network, offsets, Activation::kSilu, y, ctx.workspace, hidden, gates);
  MultiplySigmoid(ctx.pool, gates, y);
  ctx.workspace.Release(mark);
}

void Norm::ApplyAlone(ThreadPool& pool, ConstMatrix x, Matrix out) const {
  if (weight_.empty()) return CopyRows(x, out);
  if (kind_ == NormKind::kLayer) return LayerNorm(pool, x, weight_, bias_, eps_, out);
  if (!first_.empty()) ShiftScale(pool, x, {}, first_, out);
  RmsNorm(pool, first_.empty() ? x : ConstMatrix(out), weight_, eps_, out);
}

void Norm::AddApplyAlone(ThreadPool& pool, ConstMatrix delta, float factor, Matrix residual,
                         Matrix out) const {
  FM_CHECK(first_.empty());  // it is never before a part of a layer
  if (kind_ != NormKind::kLayer && !weight_.empty()) {
    return AddRmsNorm(pool, delta, factor, weight_, eps_, residual, out);
  }
  FM_CHECK(factor == 1.0f);  // no family has both
  Add(pool, delta, residual);
  if (weight_.empty()) return CopyRows(residual, out);
  LayerNorm(pool, residual, weight_, bias_, eps_, out);
}

absl::StatusOr<StreamNorm> StreamNorm::Load(WeightLoader& loader, const ModelConfig& config,
                                            const std::string& module, int64_t streams, int64_t n) {
  StreamNorm norm;
  norm.n_ = n;
  norm.eps_ = config.rms_norm_eps;
  FM_ASSIGN_OR_RETURN(norm.weight_,
                      RmsNormWeights(loader, config.norm, module + ".weight", streams * n));
  return norm;
}

void StreamNorm::MultiplyWeights(float factor) {
  for (float& weight : weight_) weight *= factor;
}

void StreamNorm::Apply(LayerContext& ctx, ConstMatrix x, Matrix out) const {
  for (int64_t first = 0; first < x.cols; first += n_) {
    const auto weight =
        std::span(weight_).subspan(static_cast<size_t>(first), static_cast<size_t>(n_));
    RmsNorm(ctx.pool, x.Columns(first, n_), weight, eps_, out.Columns(first, n_));
  }
}

}  // namespace folkmoot
