// SPDX-License-Identifier: Apache-2.0
// Models as the rest of the program asks for them: gates, limits, loading.
#include "layers/attention.h"
#include "layers/gates/gate.h"
#include "layers/models/decoder.h"
#include "layers/models/encoder_decoder.h"
#include "layers/models/family.h"
#include "layers/models/model.h"
#include "layers/models/ngram_inputs.h"

namespace folkmoot {
namespace {

absl::StatusOr<const Family*> KnownFamily(const ModelConfig& config) {
  const Family* family = FindFamily(config.architecture);
  if (family == nullptr) {
    return InvalidArgument("config.json: architecture '{}' is not one that Folkmoot runs",
                           config.architecture);
  }
  return family;
}

// A gate may be replaced freely, but not grow parts that the checkpoint has no weights for.
absl::Status CheckGate(const ModelConfig& config, const GateConfig& gate) {
  FM_RETURN_IF_ERROR(gate.Validate());
  for (const LayerConfig& layer : config.layers) {
    if (layer.top_k == 0) continue;
    GateConfig mine = gate;
    mine.top_k = ChoicesOfLayer(gate, layer.top_k);
    FM_RETURN_IF_ERROR(mine.Validate());
  }
  if (gate.zero_experts != config.moe.zero_experts) {
    return InvalidArgument("--gate zero_experts={}: {} has {}", gate.zero_experts,
                           config.architecture, config.moe.zero_experts);
  }
  if (gate.shared_sinks != config.moe.shared_sinks) {
    return InvalidArgument("--gate shared_sinks={}: {} has {}", gate.shared_sinks,
                           config.architecture, config.moe.shared_sinks);
  }
  if (gate.num_experts != config.moe.outputs()) {
    return InvalidArgument("--gate num_experts={}: the model has {} experts", gate.num_experts,
                           config.moe.outputs());
  }
  const bool biased = (config.moe.selection_bias && !gate.selection_bias.empty()) ||
                      (config.moe.router_bias && !gate.router_bias.empty());
  if (biased) {
    return InvalidArgument(
        "--gate: {} has biases of its own in every layer, which router_bias and selection_bias "
        "would not replace",
        config.architecture);
  }
  if (gate.shared && config.moe.shared_intermediate == 0) {
    return InvalidArgument("--gate shared=true: {} has no shared expert", config.architecture);
  }
  if (gate.shared_gate == SharedGate::kSoftmax2) {
    return InvalidArgument("--gate shared_gate=softmax2: {} has no weights for it",
                           config.architecture);
  }
  if (gate.group == CapacityGroup::kSequence && !config.has_encoder()) {
    return InvalidArgument(
        "--gate group=sequence: {} has no encoder, and prompts may be computed in pieces; give "
        "sequence_chunk(N)",
        config.architecture);
  }
  const bool has_gate = !NamesOf(*FindFamily(config.architecture), "").moe.shared_gate.empty();
  if (gate.shared && gate.shared_gate == SharedGate::kSigmoid && !has_gate) {
    return InvalidArgument("--gate shared_gate=sigmoid: {} has no weights for it",
                           config.architecture);
  }
  if (gate.weight_from == WeightFrom::kSparseMixer && config.moe.selection_bias) {
    return InvalidArgument("--gate weight_from=sparse_mixer: {} adds a bias to what it selects by",
                           config.architecture);
  }
  const auto rows = static_cast<int64_t>(gate.token_table.size()) / gate.top_k;
  if (gate.selection == Selection::kTokenTable && rows < config.vocab) {
    return InvalidArgument("--gate token_table: {} rows, but the model has {} tokens", rows,
                           config.vocab);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GateConfig> DefaultGate(const ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const Family* family, KnownFamily(config));
  if (family->gate == nullptr || config.moe.experts == 0) return GateConfig{};
  return family->gate(config);
}

absl::StatusOr<GateConfig> OverrideGate(const ModelConfig& config, const GateConfig& base,
                                        std::string_view overrides) {
  if (config.moe.experts == 0) {
    return InvalidArgument("gate '{}': {} is a dense model and has no gate", overrides,
                           config.architecture);
  }
  GateConfig gate = base;
  FM_RETURN_IF_ERROR(ApplyOverrides(overrides, &gate));
  // A preset says how to route; whether there is a shared expert is not its business.
  if (overrides.find("zero_experts=") == std::string_view::npos) {
    gate.zero_experts = base.zero_experts;
  }
  if (overrides.find("shared_sinks=") == std::string_view::npos) {
    gate.shared_sinks = base.shared_sinks;
  }
  if (overrides.find("zero_output=") == std::string_view::npos) gate.zero_output = base.zero_output;
  if (overrides.find("shared=") == std::string_view::npos) gate.shared = base.shared;
  if (overrides.find("shared_gate=") == std::string_view::npos) gate.shared_gate = base.shared_gate;
  if (gate.shared != base.shared || gate.shared_gate != base.shared_gate) {
    return InvalidArgument("gate '{}': the shared expert cannot be changed for a request",
                           overrides);
  }
  if (gate.apply_to != base.apply_to) {
    return InvalidArgument("gate '{}': apply_to cannot be changed for a request", overrides);
  }
  FM_RETURN_IF_ERROR(CheckGate(config, gate));
  return gate;
}

bool PrefixCacheable(const ModelConfig& config, const GateConfig& gate) {
  const auto by_length = [](const RopeConfig& rope) {
    return rope.type == RopeType::kDynamic || rope.type == RopeType::kLongrope;
  };
  if (gate.group == CapacityGroup::kSequence && gate.CanDrop()) {
    // A source is one group, and pages are shared only with the same source (scheduler.cc); tokens
    // of the decoder are groups of their own.
    return !gate.UsesRandom() || gate.rng_scope == RngScope::kPrefix;
  }
  if (by_length(config.rope) || (config.local_rope && by_length(*config.local_rope))) return false;
  return config.moe.experts == 0 || gate.PrefixCacheable();
}

absl::StatusOr<const Family*> CheckModel(const ModelConfig& config, const GateConfig& gate) {
  FM_ASSIGN_OR_RETURN(const Family* family, KnownFamily(config));
  if (config.moe.experts > 0) FM_RETURN_IF_ERROR(CheckGate(config, gate));
  return family;
}

std::string_view RecurrenceName(Recurrence kind) {
  switch (kind) {
    case Recurrence::kDeltaRule:
      break;
    case Recurrence::kStateSpace:
      return "state spaces";
    case Recurrence::kShortConvolution:
      return "short convolutions";
    case Recurrence::kSelectiveScan:
      return "selective scans";
    case Recurrence::kLightning:
      return "lightning attention";
    case Recurrence::kConvolvedAttention:
      return "convolved attention";
    case Recurrence::kResidualConvolutions:
      return "residual convolutions";
  }
  return "linear attention";
}

std::string_view WhyCpuOnly(const ModelConfig& config) {
  if (config.has_encoder()) return "an encoder";
  if (config.recurrent_layers() > 0) return RecurrenceName(config.recurrent.kind);
  if (config.compressed_layers() > 0) return "compressed attention";
  if (config.hyper.streams > 0) return "several residual streams";
  if (config.residual.of_norm) return "residuals of normalised rows";
  if (config.residual.learned || config.residual.gate_temperature > 0) return "learned residuals";
  if (config.residual.by_depth) return "residuals scaled by depth";
  if (config.residual.sum_layers > 0) return "mixtures of residuals";
  if (config.qk_norm == QkNormKind::kRows) return "q and k normalised over all heads";
  if (config.clip_qkv > 0) return "clipped q, k and v";
  if (config.latent.kv_rank > 0) return "latent attention";
  if (config.indexers() > 0) return "sparse attention";
  if (config.output_window() > 0) return "windows beside the prompt";
  if (config.attention_experts > 0) return "mixtures of attention heads";
  if (config.attention_gate != AttentionGate::kNone) return "gated attention";
  if (config.attention_multiplier > 0 || config.embedding_multiplier != 1.0f ||
      config.residual_multiplier != 1.0f || config.logits_scaling != 1.0f) {
    return "multipliers";
  }
  if (config.norm != NormKind::kRms || config.post_norms || config.expert_post_norms ||
      !config.input_norms) {
    return "norms of this kind";
  }
  if (config.qk_norm == QkNormKind::kHeadsAfterRope ||
      config.qk_norm == QkNormKind::kUnitAfterRope) {
    return "norms of rotated q and k";
  }
  if (config.qk_norm == QkNormKind::kUnitScaledKeys) return "scaled keys";
  if (config.sinks()) return "attention sinks";
  if (!config.uniform_heads()) return "layers with different heads";
  if (config.value_head_dim > 0 || config.value_multiplier != 1.0f || config.value_norm)
    return "values of this kind";
  if (config.parallel_blocks) return "attention beside the feed-forward network";
  if (config.attention_softcap > 0 || config.logits_softcap > 0) return "logit capping";
  if (config.head_bias) return "a biased output head";
  if (config.activation == Activation::kClampedSwiglu ||
      config.activation == Activation::kLimitedSwiglu ||
      config.activation == Activation::kCappedSwiglu ||
      config.activation == Activation::kSoftcappedSwiglu) {
    return "clamped SwiGLU";
  }
  if (config.activation == Activation::kReluSquared) return "squared ReLU";
  if (config.rope.neighbours || config.local_rope || config.rope.dim > 0 ||
      config.rope.partial_rotary_factor != 1.0) {
    return "rotary embeddings of this kind";
  }
  for (const LayerConfig& layer : config.layers) {
    if (layer.chunk > 0 || !layer.rope) return "chunked attention";
    if (layer.mixer == Mixer::kNone || !layer.ffn) return "layers without attention or FFN";
    if (layer.shortcut || layer.beside) return "experts beside a dense network";
    if (layer.hashed) return "experts by a table of tokens";
    if (layer.kv_layer >= 0 || layer.keys_are_values) return "shared keys and values";
    if (layer.top_k > 0) return "layers that choose different numbers of experts";
  }
  if (config.layer_inputs > 0) return "embeddings of each layer";
  if (config.embedding_norm) return "normalised embeddings";
  if (config.relative.profiles > 0) return "scores by distance";
  if (config.scored_vocab > 0) return "tokens that are never predicted";
  const MoeConfig& moe = config.moe;
  if (moe.expert_bias) return "biased experts";
  if (moe.router_bias || moe.selection_bias) return "a biased router";
  if (moe.zero_experts > 0) return "zero experts";
  if (moe.latent > 0) return "experts of a width of their own";
  if (moe.router_hidden > 0) return "routers of several layers";
  if (moe.router_softcap > 0) return "logit capping";
  if (moe.shared_sinks > 0) return "weighed shared experts";
  if (moe.output_scale != 1.0f || moe.weight_scales || moe.weight_scale || config.layer_scalars)
    return "multipliers";
  const LayerNames names = NamesOf(*FindFamily(config.architecture), "");
  if (moe.shared_intermediate > 0 && names.moe.shared_gate.empty()) {
    return "a shared expert without a gate";
  }
  if (!names.attention.qkv.empty() || !names.dense_gate_up.empty()) return "fused projections";
  return "";
}

int64_t StateBytesPerSequence(const ModelConfig& config) {
  if (config.recurrent_layers() == 0) return 0;
  return RecurrentState::BytesPerSlot(StateShape(config, RecurrentSplit(config, 1).cols(), 0)) +
         RecurrentState::BytesPerSlot(NgramInputs::StateShape(config, 0));
}

std::string_view WhyNotSpeculative(const ModelConfig& config) {
  if (config.has_encoder()) return "it has an encoder, and steps without sources leave it out";
  if (config.compressed_layers() > 0) {
    return "its attention compresses tokens as they come, and a wrong guess could not be taken out";
  }
  if (config.indexers() > config.token_indexers()) {
    return "its indexers pool keys as they come, and a wrong guess could not be taken out";
  }
  if (config.recurrent_layers() == 0) return "";
  switch (config.recurrent.kind) {
    case Recurrence::kDeltaRule:
      break;
    case Recurrence::kStateSpace:
      return "its state spaces keep a state, which a wrong guess would change for good";
    case Recurrence::kShortConvolution:
    case Recurrence::kConvolvedAttention:
    case Recurrence::kResidualConvolutions:
      return "its convolutions keep a state, which a wrong guess would change for good";
    case Recurrence::kSelectiveScan:
      return "its selective scans keep a state, which a wrong guess would change for good";
    case Recurrence::kLightning:
      break;
  }
  return "its linear attention keeps a state, which a wrong guess would change for good";
}

std::string_view WhyNotTensorParallel(const ModelConfig& config) {
  if (config.has_encoder()) return "it has an encoder, whose layers are not divided";
  if (config.qk_norm == QkNormKind::kRows) {
    return "q and k are normalised over all heads, and no rank has them all";
  }
  if (config.moe.expert_norms) {
    return "what each expert gives is normalised, and no rank has all of it";
  }
  if (config.recurrent_layers() == 0) return "";
  if (config.recurrent.kind == Recurrence::kSelectiveScan) {
    return "its selective scans are steered by all channels, and no rank has them all";
  }
  if (config.recurrent.kind == Recurrence::kLightning) {
    return "its lightning attention is normalised over all heads, and no rank has them all";
  }
  return "";
}

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const ModelConfig& config,
                                                 const ModelOptions& options, WeightLoader& loader,
                                                 const ExpertPlacement& placement,
                                                 Communicator& experts, ThreadPool& pool) {
  FM_ASSIGN_OR_RETURN(const Family* const family, CheckModel(config, options.gate));
  if (config.has_encoder()) {
    return EncoderDecoderModel::Load(*family, config, options, loader, placement, experts, pool);
  }
  return DecoderModel::Load(*family, config, options, loader, placement, experts, pool);
}

}  // namespace folkmoot
