// SPDX-License-Identifier: Apache-2.0
#include "layers/lightning_attention.h"

#include "runtime/exact_math.h"

namespace folkmoot {
namespace {

// Of its norm, whatever the model's others have.
constexpr float kLightningEps = 1e-6f;

}  // namespace

LightningHeads LightningMixer::HeadsOf(const ModelConfig& config) {
  return {.heads = config.recurrent.value_heads, .head_dim = config.recurrent.value_dim};
}

std::vector<float> LightningMixer::DecaysOf(int64_t heads, int64_t layer, int64_t layers) {
  constexpr double kLn2 = 0.693147180559945309417;
  const double less =
      1.0 - static_cast<double>(layer) / (static_cast<double>(layers - 1) + 1e-5) + 1e-5;
  std::vector<float> decays;
  for (int64_t h = 0; h < heads; ++h) {
    const double power = -8.0 * static_cast<double>(h + 1) / static_cast<double>(heads);
    decays.push_back(static_cast<float>(exact::Exp(-exact::Exp(power * kLn2) * less)));
  }
  return decays;
}

LightningMixer::LightningMixer(const ModelConfig& config, int64_t layer, ColumnExchange& columns)
    : RecurrentMixer(config, layer, config.recurrent.value_dim, columns),
      decays_(DecaysOf(config.recurrent.value_heads, layer, std::ssize(config.layers))) {
  params_ = {.layer = config.place_in_kind(layer),
             .heads = HeadsOf(config),
             .decays = decays_,
             .activation = config.recurrent.activation};
}

absl::StatusOr<std::unique_ptr<Attention>> LightningMixer::Load(
    ThreadPool& pool, WeightLoader& loader, const ModelConfig& config, int64_t layer,
    const RecurrentNames& names, ColumnExchange& columns) {
  FM_CHECK(columns.size() == 1);  // WhyNotTensorParallel
  std::unique_ptr<LightningMixer> mixer(new LightningMixer(config, layer, columns));
  const LightningHeads& heads = mixer->params_.heads;
  const TensorRef inputs[] = {
      {.name = names.qkv + ".weight", .n = heads.columns(), .k = config.hidden},
      {.name = names.z + ".weight", .n = heads.values(), .k = config.hidden}};
  FM_RETURN_IF_ERROR(mixer->LoadProjections(pool, loader, inputs, /*biased=*/false));
  FM_ASSIGN_OR_RETURN(mixer->norm_, loader.Vector(names.norm + ".weight", heads.values()));
  FM_RETURN_IF_ERROR(mixer->LoadOutput(pool, loader, config.hidden, /*bias=*/false, names.o));
  return mixer;
}

void LightningMixer::Attend(LayerContext& ctx, const AttentionStep& step, KvCache&, ConstMatrix x,
                            Matrix attended) const {
  const LightningHeads& heads = params_.heads;
  const Matrix projected = Project(ctx, x);
  FM_CHECK(step.state != nullptr);
  LightningAttention(ctx.pool, params_, step.sequences, projected.Columns(0, heads.columns()),
                     *step.state, attended);
  RmsNorm(ctx.pool, attended, norm_, kLightningEps, attended);
  MultiplySigmoid(ctx.pool, projected.Columns(heads.columns(), heads.values()), attended);
}

}  // namespace folkmoot
