// SPDX-License-Identifier: Apache-2.0
#include "layers/models/layer_inputs.h"

#include <array>
#include <cmath>

#include "layers/models/ends.h"
#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<LayerInputs> LayerInputs::Load(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config, const EndNames& names) {
  LayerInputs inputs;
  const int64_t width = static_cast<int64_t>(config.layers.size()) * config.layer_inputs;
  FM_ASSIGN_OR_RETURN(
      inputs.table_,
      loader.Table({.name = names.input_embedding, .n = config.layer_input_vocab, .k = width}));
  FM_ASSIGN_OR_RETURN(
      inputs.projection_,
      loader.Pack(pool,
                  {.name = names.input_projection + ".weight", .n = width, .k = config.hidden}));
  FM_ASSIGN_OR_RETURN(
      inputs.norm_,
      RmsNormWeights(loader, config.norm, names.input_norm + ".weight", config.layer_inputs));
  inputs.eps_ = config.rms_norm_eps;
  return inputs;
}

Matrix LayerInputs::Make(LayerContext& ctx, std::span<const int32_t> ids,
                         ConstMatrix embedded) const {
  const auto size = static_cast<float>(norm_.size());
  const Matrix inputs = ctx.workspace.GetMatrix(embedded.rows, projection_.n());
  const Workspace::Position mark = ctx.workspace.Mark();
  Gemm(ctx.pool, embedded, projection_, {}, ctx.workspace, inputs);
  Scale(ctx.pool, 1.0f / std::sqrt(static_cast<float>(embedded.cols)), inputs);
  HeadRmsNorm(ctx.pool, std::ssize(norm_), norm_, eps_, inputs);
  const Matrix own = ctx.workspace.GetMatrix(inputs.rows, inputs.cols);
  EmbedTokens(ctx, table_, ids, std::sqrt(size), own);
  folkmoot::Add(ctx.pool, own, inputs);
  Scale(ctx.pool, std::sqrt(0.5f), inputs);
  ctx.workspace.Release(mark);
  return inputs;
}

absl::StatusOr<LayerInput> LayerInput::Load(ThreadPool& pool, WeightLoader& loader,
                                            const ModelConfig& config, const LayerNames& names) {
  LayerInput input;
  const int64_t size = config.layer_inputs;
  input.activation_ = config.activation;
  input.gate_.gated = false;
  FM_ASSIGN_OR_RETURN(
      input.gate_.gate_up,
      loader.Pack(pool, {.name = names.input_gate + ".weight", .n = size, .k = config.hidden}));
  FM_ASSIGN_OR_RETURN(
      input.projection_,
      loader.Pack(pool,
                  {.name = names.input_projection + ".weight", .n = config.hidden, .k = size}));
  FM_ASSIGN_OR_RETURN(input.norm_,
                      Norm::Load(loader, config, names.input_post_norm, config.hidden));
  return input;
}

void LayerInput::Add(LayerContext& ctx, ConstMatrix inputs, Matrix hidden) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix gated = ctx.workspace.GetMatrix(hidden.rows, inputs.cols);
  const std::array<const GatedFfnWeights*, 1> networks = {&gate_};
  const std::array<int64_t, 2> offsets = {0, hidden.rows};
  GroupedGateUp(ctx.pool, networks, offsets, activation_, hidden, ctx.workspace, gated);
  Multiply(ctx.pool, inputs, gated);
  const Matrix projected = ctx.workspace.GetMatrix(hidden.rows, hidden.cols);
  Gemm(ctx.pool, gated, projection_, {}, ctx.workspace, projected);
  norm_.Apply(ctx, projected, projected);
  folkmoot::Add(ctx.pool, projected, hidden);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
