// SPDX-License-Identifier: Apache-2.0
#include "layers/attention.h"

#include <cmath>

#include "layers/clipped_attention.h"
#include "layers/compressed_attention.h"
#include "layers/convolved_projection.h"
#include "layers/gated_delta_net.h"
#include "layers/grouped_attention.h"
#include "layers/kimi_delta_attention.h"
#include "layers/latent_attention.h"
#include "layers/lightning_attention.h"
#include "layers/mamba.h"
#include "layers/mamba2.h"
#include "layers/mixture_attention.h"
#include "layers/residual_convolution.h"
#include "layers/short_convolution.h"

namespace folkmoot {
namespace {

absl::StatusOr<std::unique_ptr<Attention>> LoadRecurrent(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const RecurrentNames& names,
                                                         ColumnExchange& columns) {
  FM_CHECK(!config.convolved() && !config.residual_convolutions());  // whose layers attend
  switch (config.recurrent.kind) {
    case Recurrence::kDeltaRule:
    case Recurrence::kConvolvedAttention:
    case Recurrence::kResidualConvolutions:
      break;
    case Recurrence::kStateSpace:
      return Mamba2::Load(pool, loader, config, layer, names, columns);
    case Recurrence::kShortConvolution:
      return ShortConvolutionMixer::Load(pool, loader, config, layer, names, columns);
    case Recurrence::kSelectiveScan:
      return Mamba::Load(pool, loader, config, layer, names, columns);
    case Recurrence::kLightning:
      return LightningMixer::Load(pool, loader, config, layer, names, columns);
  }
  if (config.recurrent.key_decays) {
    return KimiDeltaAttention::Load(pool, loader, config, layer, names, columns);
  }
  return GatedDeltaNet::Load(pool, loader, config, layer, names, columns);
}

}  // namespace

absl::Status UniformAttention::LoadOutput(ThreadPool& pool, WeightLoader& loader, int64_t hidden,
                                          bool bias, const std::string& module) {
  output_ = OutputSplit(hidden, columns_->size());
  const TensorRef o = {.name = module + ".weight", .n = hidden, .k = heads_.cols()};
  FM_ASSIGN_OR_RETURN(o_, loader.Pack(pool, o.Rows(output_.begin(rank()), output_.width(rank()))));
  if (!bias) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(o_bias_, loader.VectorPart(module + ".bias", hidden, output_.begin(rank()),
                                                 output_.width(rank())));
  return absl::OkStatus();
}

absl::StatusOr<Matrix> UniformAttention::Forward(LayerContext& ctx, const AttentionStep& step,
                                                 KvCache& cache, ConstMatrix x) const {
  WaitLabel label = {.layer = static_cast<int>(layer_), .step = ctx.step};
  const Matrix attended = columns_->Take(x.rows, heads_);
  if (heads_.width(rank()) > 0) {
    const Workspace::Position mark = ctx.workspace.Mark();
    Attend(ctx, step, cache, x, columns_->Mine(attended, heads_));
    ctx.workspace.Release(mark);
  }
  label.phase = "attention gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  const Matrix out = columns_->Take(x.rows, output_);
  Gemm(ctx.pool, attended, o_, o_bias_, ctx.workspace, columns_->Mine(out, output_));
  label.phase = "attention output gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  return out;
}

float ScoreScale(const ModelConfig& config) {
  if (config.attention_multiplier > 0) return config.attention_multiplier;
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
}

RecurrentState::Shape StateShape(const ModelConfig& config, int64_t units, int64_t slots) {
  RecurrentState::Shape shape = {.layers = config.recurrent_layers(), .slots = slots};
  switch (config.recurrent.kind) {
    case Recurrence::kDeltaRule:
      shape.layer = GatedDeltaNet::HeadsOf(config, units).state();
      break;
    case Recurrence::kStateSpace:
      shape.layer = Mamba2::HeadsOf(config, units).state();
      break;
    case Recurrence::kShortConvolution:
      shape.layer = ShortConvolutionMixer::StateOf(config, units);
      break;
    case Recurrence::kSelectiveScan:
      shape.layer = Mamba::ShapeOf(config).state();
      break;
    case Recurrence::kLightning:
      shape.layer = LightningMixer::HeadsOf(config).state();
      break;
    case Recurrence::kConvolvedAttention:
      shape.layer = ConvolvedProjection::StateOf(config, units);
      break;
    case Recurrence::kResidualConvolutions:
      shape.layer = ResidualConvolution::StateOf(config);
      break;
  }
  return shape;
}

absl::StatusOr<std::unique_ptr<Attention>> LoadAttention(ThreadPool& pool, WeightLoader& loader,
                                                         const ModelConfig& config, int64_t layer,
                                                         const LayerNames& names,
                                                         ColumnExchange& columns) {
  if (config.layers[static_cast<size_t>(layer)].mixer == Mixer::kRecurrent) {
    return LoadRecurrent(pool, loader, config, layer, names.recurrent, columns);
  }
  if (config.layers[static_cast<size_t>(layer)].mixer == Mixer::kCompressed) {
    return CompressedAttention::Load(pool, loader, config, layer, names.attention, columns);
  }
  if (config.latent.kv_rank > 0) {
    return LatentAttention::Load(pool, loader, config, layer, names.attention, columns);
  }
  if (config.clip.heads > 0) {
    return ClippedAttention::Load(pool, loader, config, layer, names.attention, columns);
  }
  if (config.attention_experts > 0) {
    return MixtureAttention::Load(pool, loader, config, layer, names.attention, columns);
  }
  return GroupedAttention::Load(pool, loader, config, layer, names.attention, columns);
}

}  // namespace folkmoot
