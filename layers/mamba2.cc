// SPDX-License-Identifier: Apache-2.0
#include "layers/mamba2.h"

#include "runtime/exact_math.h"

namespace folkmoot {

StateSpaceHeads Mamba2::HeadsOf(const ModelConfig& config, int64_t groups) {
  const RecurrentConfig& recurrent = config.recurrent;
  return {.groups = groups,
          .heads_per_group = recurrent.value_heads / recurrent.key_heads,
          .state_dim = recurrent.key_dim,
          .head_dim = recurrent.value_dim,
          .kernel = recurrent.kernel};
}

Mamba2::Mamba2(const ModelConfig& config, int64_t layer, ColumnExchange& columns)
    : RecurrentMixer(config, layer, config.recurrent.values() / config.recurrent.key_heads,
                     columns),
      all_(HeadsOf(config, config.recurrent.key_heads)) {
  params_ = {.layer = config.place_in_kind(layer),
             .heads = HeadsOf(config, own_units()),
             .norm_width = all_.values() / all_.groups,
             .norm_eps = config.rms_norm_eps};
}

absl::StatusOr<std::unique_ptr<Attention>> Mamba2::Load(ThreadPool& pool, WeightLoader& loader,
                                                        const ModelConfig& config, int64_t layer,
                                                        const RecurrentNames& names,
                                                        ColumnExchange& columns) {
  std::unique_ptr<Mamba2> mixer(new Mamba2(config, layer, columns));
  FM_RETURN_IF_ERROR(mixer->LoadInputs(pool, loader, config, names));
  FM_RETURN_IF_ERROR(mixer->LoadSteps(loader, names));
  FM_RETURN_IF_ERROR(
      mixer->LoadOutput(pool, loader, config.hidden, config.recurrent.bias, names.o));
  return mixer;
}

// One matrix has rows of z, x, B, C and dt. dt decides how long a state remembers: its rows are not
// rounded, as routers are not.
absl::Status Mamba2::LoadInputs(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                                const RecurrentNames& names) {
  const StateSpaceHeads& mine = params_.heads;
  const int64_t values = all_.values();
  const int64_t first_value = heads_.begin(rank());
  const int64_t first_state = first_unit() * all_.state_dim;
  const std::pair<int64_t, int64_t> channels[] = {
      {first_value, mine.values()},
      {values + first_state, mine.states()},
      {values + all_.states() + first_state, mine.states()}};
  const TensorRef in = {.name = names.in + ".weight", .n = all_.columns(), .k = config.hidden};
  std::vector<TensorRef> parts = {in.Rows(first_value, mine.values())};
  for (const auto& [first, width] : channels) parts.push_back(in.Rows(values + first, width));
  const RecurrentConfig& recurrent = config.recurrent;
  FM_RETURN_IF_ERROR(LoadProjections(pool, loader, parts, recurrent.bias));
  TensorRef steps =
      in.Rows(values + all_.channels() + first_unit() * all_.heads_per_group, mine.heads());
  steps.exact = true;
  FM_RETURN_IF_ERROR(LoadProjections(pool, loader, {&steps, 1}, recurrent.bias));
  FM_RETURN_IF_ERROR(
      LoadConvolution(loader, recurrent, {names.convolution}, all_.channels(), channels));
  params_.convolution = convolution();
  return absl::OkStatus();
}

absl::Status Mamba2::LoadSteps(WeightLoader& loader, const RecurrentNames& names) {
  const auto load = [&](const std::string& name, std::vector<float>& values,
                        std::span<const float>& view) -> absl::Status {
    FM_ASSIGN_OR_RETURN(values,
                        loader.VectorPart(name, all_.heads(), first_unit() * all_.heads_per_group,
                                          params_.heads.heads()));
    view = values;
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(load(names.rates, rates_, params_.rates));
  for (float& rate : rates_) rate = static_cast<float>(exact::Exp(static_cast<double>(rate)));
  FM_RETURN_IF_ERROR(load(names.step_bias, step_bias_, params_.step_bias));
  FM_RETURN_IF_ERROR(load(names.skip, skip_, params_.skip));
  FM_ASSIGN_OR_RETURN(norm_, loader.VectorPart(names.norm + ".weight", all_.values(),
                                               heads_.begin(rank()), params_.heads.values()));
  params_.norm = norm_;
  return absl::OkStatus();
}

void Mamba2::Attend(LayerContext& ctx, const AttentionStep& step, KvCache&, ConstMatrix x,
                    Matrix attended) const {
  const Matrix projected = Project(ctx, x);
  FM_CHECK(step.state != nullptr);
  StateSpace(ctx.pool, params_, step.sequences, projected, *step.state, ctx.workspace, attended);
}

}  // namespace folkmoot
