// SPDX-License-Identifier: Apache-2.0
#include "layers/mamba.h"

#include "layers/norm.h"
#include "runtime/exact_math.h"

namespace folkmoot {

SelectiveScanShape Mamba::ShapeOf(const ModelConfig& config) {
  const RecurrentConfig& recurrent = config.recurrent;
  return {
      .channels = recurrent.values(), .state_dim = recurrent.key_dim, .kernel = recurrent.kernel};
}

Mamba::Mamba(const ModelConfig& config, int64_t layer, ColumnExchange& columns)
    : RecurrentMixer(config, layer, config.recurrent.values(), columns),
      params_{.layer = config.place_in_kind(layer), .shape = ShapeOf(config)},
      step_rank_(config.recurrent.step_rank),
      norm_eps_(config.rms_norm_eps) {
  FM_CHECK(columns.size() == 1);  // WhyNotTensorParallel
}

absl::StatusOr<std::unique_ptr<Attention>> Mamba::Load(ThreadPool& pool, WeightLoader& loader,
                                                       const ModelConfig& config, int64_t layer,
                                                       const RecurrentNames& names,
                                                       ColumnExchange& columns) {
  std::unique_ptr<Mamba> mixer(new Mamba(config, layer, columns));
  const RecurrentConfig& recurrent = config.recurrent;
  const int64_t channels = mixer->params_.shape.channels;
  const TensorRef in = {.name = names.in + ".weight", .n = 2 * channels, .k = config.hidden};
  const std::pair<int64_t, int64_t> all[] = {{0, channels}};
  FM_RETURN_IF_ERROR(mixer->LoadProjections(pool, loader, {&in, 1}, recurrent.bias));
  FM_RETURN_IF_ERROR(mixer->LoadConvolution(loader, recurrent, {names.convolution}, channels, all));
  FM_RETURN_IF_ERROR(mixer->LoadSelection(pool, loader, config, names));
  FM_RETURN_IF_ERROR(mixer->LoadRates(loader, names));
  FM_RETURN_IF_ERROR(mixer->LoadOutput(pool, loader, config.hidden, recurrent.bias, names.o));
  return mixer;
}

// dt decides how long a state remembers: what makes it is not rounded, as routers are not.
absl::Status Mamba::LoadSelection(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                                  const RecurrentNames& names) {
  const SelectiveScanShape& shape = params_.shape;
  FM_ASSIGN_OR_RETURN(select_, loader.Pack(pool, {.name = names.select + ".weight",
                                                  .n = step_rank_ + 2 * shape.state_dim,
                                                  .k = shape.channels,
                                                  .exact = true}));
  FM_ASSIGN_OR_RETURN(steps_, loader.Pack(pool, {.name = names.step + ".weight",
                                                 .n = shape.channels,
                                                 .k = step_rank_,
                                                 .exact = true}));
  FM_ASSIGN_OR_RETURN(step_bias_, loader.Vector(names.step + ".bias", shape.channels));
  const auto norm = [&](const std::string& module, int64_t n) {
    return RmsNormWeights(loader, config.norm, module + ".weight", n);
  };
  FM_ASSIGN_OR_RETURN(step_norm_, norm(names.step_norm, step_rank_));
  FM_ASSIGN_OR_RETURN(b_norm_, norm(names.b_norm, shape.state_dim));
  FM_ASSIGN_OR_RETURN(c_norm_, norm(names.c_norm, shape.state_dim));
  return absl::OkStatus();
}

// Logarithms [channels, state_dim] become rates [state_dim, stride].
absl::Status Mamba::LoadRates(WeightLoader& loader, const RecurrentNames& names) {
  const SelectiveScanShape& shape = params_.shape;
  FM_ASSIGN_OR_RETURN(
      const std::vector<float> logarithms,
      loader.Vector(names.rates, shape.channels * shape.state_dim, shape.state_dim));
  rates_.resize(static_cast<size_t>(shape.state_dim * shape.stride()));
  for (int64_t c = 0; c < shape.channels; ++c) {
    for (int64_t i = 0; i < shape.state_dim; ++i) {
      const float logarithm = logarithms[static_cast<size_t>(c * shape.state_dim + i)];
      rates_[static_cast<size_t>(i * shape.stride() + c)] =
          -static_cast<float>(exact::Exp(static_cast<double>(logarithm)));
    }
  }
  params_.rates = rates_;
  FM_ASSIGN_OR_RETURN(skip_, loader.Vector(names.skip, shape.channels));
  params_.skip = skip_;
  return absl::OkStatus();
}

void Mamba::Attend(LayerContext& ctx, const AttentionStep& step, KvCache&, ConstMatrix x,
                   Matrix attended) const {
  const int64_t channels = params_.shape.channels;
  const int64_t states = params_.shape.state_dim;
  FM_CHECK(step.state != nullptr);
  const Matrix projected = Project(ctx, x);
  const Matrix mixed = ctx.workspace.GetMatrix(x.rows, channels);
  Convolve(ctx.pool, convolution(), params_.layer, step.sequences, projected.Columns(0, channels),
           *step.state, mixed);
  const Matrix selected = ctx.workspace.GetMatrix(x.rows, select_.n());
  Gemm(ctx.pool, mixed, select_, {}, ctx.workspace, selected);
  const Matrix dt = selected.Columns(0, step_rank_);
  const Matrix b = selected.Columns(step_rank_, states);
  const Matrix c = selected.Columns(step_rank_ + states, states);
  HeadRmsNorm(ctx.pool, step_rank_, step_norm_, norm_eps_, dt);
  HeadRmsNorm(ctx.pool, states, b_norm_, norm_eps_, b);
  HeadRmsNorm(ctx.pool, states, c_norm_, norm_eps_, c);
  const Matrix steps = ctx.workspace.GetMatrix(x.rows, channels);
  Gemm(ctx.pool, dt, steps_, step_bias_, ctx.workspace, steps);
  const SelectiveScanRows rows = {
      .x = mixed, .steps = steps, .b = b, .c = c, .z = projected.Columns(channels, channels)};
  SelectiveScan(ctx.pool, params_, step.sequences, rows, *step.state, attended);
}

}  // namespace folkmoot
