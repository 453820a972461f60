// SPDX-License-Identifier: Apache-2.0
// The text model of Qwen3-VL with experts (Alibaba 2025): Qwen3-MoE with experts in one tensor.
// Without pictures the three sections of its positions are equal, which makes them those of text.
#include "layers/models/family.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr FixedKey kFixed[] = {{"norm_topk_prob", "true"}};
constexpr std::string_view kBesideText[] = {"vision_config", "image_token_id", "video_token_id",
                                            "vision_start_token_id", "vision_end_token_id"};
constexpr std::string_view kNotText[] = {"model.visual."};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(source.keys, {.theta = source.family.rope_theta,
                                                           .dim = config.head_dim,
                                                           .max_positions = config.max_positions,
                                                           .sections = true}));
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.moe.experts.always_packed = true;
  names.moe.experts.gate_up_transposed = true;
  names.moe.experts.down_transposed = true;
  names.moe.experts.either_way = true;  // Transformers 5 saves them as it holds them
  return names;
}

}  // namespace

const Family kQwen3VlMoe = {
    .config = {.architecture = "Qwen3VLMoeForConditionalGeneration",
               .model_type = "qwen3_vl_moe",
               .vocab = 151936,
               .hidden = 2048,
               .intermediate = 5632,
               .layers = 24,
               .heads = 16,
               .kv_heads = 16,
               .max_positions = 128000,
               .rope_theta = 5e5,
               .own_rope = true,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .experts = 60,
               .top_k = 4,
               .moe_intermediate = 1408,
               .dense = DenseRule::kSparseStep,
               .local_experts_alias = true,
               .text_model_type = "qwen3_vl_moe_text",
               .beside_text = kBesideText,
               .fixed = kFixed,
               .read = Read},
    .layer_names = Names,
    .end_names = InnerLanguageModelEndNames,
    .layers = "model.language_model.layers.",
    .gate = TopKGate,
    .unused = kNotText,
};

}  // namespace folkmoot
