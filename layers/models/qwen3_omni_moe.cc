// SPDX-License-Identifier: Apache-2.0
// The text model of Qwen3-Omni (Alibaba 2025), which stands in its thinker: Qwen3-MoE. Without
// pictures and sounds the three sections of its positions are equal. What talks is not run.
#include "layers/models/family.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr FixedKey kFixed[] = {{"shared_expert_intermediate_size", "0"}, {"use_qk_norm", "true"}};
// In the file, and in the thinker.
constexpr std::string_view kBesideText[] = {
    "talker_config",           "code2wav_config",     "enable_audio_output",
    "im_start_token_id",       "im_end_token_id",     "system_token_id",
    "user_token_id",           "assistant_token_id",  "tts_pad_token_id",
    "tts_bos_token_id",        "tts_eos_token_id",    "audio_config",
    "vision_config",           "audio_token_id",      "audio_start_token_id",
    "audio_end_token_id",      "image_token_id",      "video_token_id",
    "vision_token_id",         "vision_end_token_id", "vision_start_token_id",
    "position_id_per_seconds", "seconds_per_chunk"};
constexpr std::string_view kNotText[] = {"thinker.audio_tower.", "thinker.visual.", "talker.",
                                         "code2wav."};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(source.keys, {.theta = source.family.rope_theta,
                                                           .dim = config.head_dim,
                                                           .max_positions = config.max_positions,
                                                           .sections = true}));
  return absl::OkStatus();
}

EndNames Ends() {
  return {"thinker.model.embed_tokens.weight", "thinker.model.norm", "thinker.lm_head"};
}

}  // namespace

const Family kQwen3OmniMoe = {
    .config = {.architecture = "Qwen3OmniMoeForConditionalGeneration",
               .model_type = "qwen3_omni_moe",
               .vocab = 3584,
               .hidden = 2048,
               .intermediate = 18944,
               .layers = 28,
               .heads = 28,
               .kv_heads = 4,
               .max_positions = 32768,
               .rope_theta = 1e6,
               .own_rope = true,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .kv_heads_null = false,
               .experts = 128,
               .top_k = 8,
               .moe_intermediate = 768,
               .dense = DenseRule::kSparseStep,
               .norm_topk_key = true,
               .norm_topk = true,
               .text_model_type = "qwen3_omni_moe_text",
               .beside_text = kBesideText,
               .around_text = "thinker_config",
               .fixed = kFixed,
               .read = Read},
    .end_names = Ends,
    .layers = "thinker.model.layers.",
    .gate = TopKGate,
    .unused = kNotText,
};

}  // namespace folkmoot
