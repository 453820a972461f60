// SPDX-License-Identifier: Apache-2.0
// Hunyuan-A13B (Tencent 2025): q and k are normalised after they turn, every layer has experts and
// a shared expert of the width of a routed one, and layers may choose different numbers of them.
#include <algorithm>

#include "layers/models/family.h"

namespace folkmoot {
namespace {

// Read; then those of images and of code that is not run, which change nothing.
constexpr std::string_view kOwnKeys[] = {"moe_topk",
                                         "moe_intermediate_size",
                                         "num_shared_expert",
                                         "cla_share_factor",  // of use_cla
                                         "capacity_factor",   // of moe_drop_tokens
                                         "add_classification_head",
                                         "anyres_pooling_size",
                                         "anyres_vit_max_image_size",
                                         "anyres_vit_two_views",
                                         "class_num",
                                         "dense_list",
                                         "eod_token_id",
                                         "im_end_id",
                                         "im_newline_id",
                                         "im_start_id",
                                         "image_token_id",
                                         "mask_init_id",
                                         "num_media_embeds",
                                         "org_vocab_size",
                                         "pad_id",
                                         "pool_type",
                                         "skip_cls_token",
                                         "text_end_id",
                                         "text_start_id",
                                         "video_end_id",
                                         "video_start_id",
                                         "vit_add_patchemb_bias",
                                         "vit_input_resolution",
                                         "vit_mapping_type",
                                         "vit_norm_type",
                                         "vit_patch",
                                         "vit_path",
                                         "vit_remove_prenorm",
                                         "vit_token",
                                         "vit_type",
                                         "vit_used_rms_norm",
                                         "xdrope_section"};  // of position_embedding_xdrope

// Published files say one or the other.
constexpr KeyAlias kAliases[] = {{"head_dim", "attention_head_dim", true}};
// What published files say of what Tencent's other models have.
constexpr FixedKey kFixed[] = {{"use_mixed_mlp_moe", "true"},
                               {"use_qk_norm", "true"},
                               {"norm_topk_prob", "true"},
                               {"use_cla", "false"},
                               {"use_mla", "false"},
                               {"moe_layer_num_skipped", "0"},
                               {"norm_type", "\"rms\""},
                               {"norm_type", "\"hf_rms\""},
                               {"routed_scaling_factor", "false"},
                               {"routed_scaling_factor", "1.0"},
                               {"n_group", "false"},
                               {"n_group", "1"},
                               {"topk_group", "false"},
                               {"topk_group", "1"},
                               {"group_limited_greedy", "false"},
                               {"use_rotary_pos_emb", "true"},
                               {"position_embedding_xdrope", "false"},
                               {"moe_drop_tokens", "false"},
                               {"moe_random_routing_dropped_token", "false"},
                               {"kv_lora_rank", "null"},
                               {"q_lora_rank", "null"},
                               {"qk_nope_head_dim", "null"},
                               {"qk_rope_head_dim", "null"},
                               {"v_head_dim", "null"}};

// A number for all layers or a list with one for each; `absent` for all where there is neither.
absl::StatusOr<std::vector<int64_t>> ReadPerLayer(const ConfigReader& keys, std::string_view key,
                                                  int64_t absent, IntRange range, size_t layers) {
  if (!keys.HasValue(key) || !keys.Find(key)->is_array()) {
    FM_ASSIGN_OR_RETURN(const auto all, keys.OptionalInt(key, range));
    return std::vector<int64_t>(layers, all.value_or(absent));
  }
  FM_ASSIGN_OR_RETURN(std::vector<int64_t> list, keys.Ints(key, range));
  if (list.size() != layers) return keys.WrongLength(key, layers);
  return list;
}

// Keys that may say per layer what must be the same everywhere.
absl::Status CheckPerLayer(const ConfigReader& keys, std::string_view key, int64_t only,
                           size_t layers) {
  FM_ASSIGN_OR_RETURN(const auto list, ReadPerLayer(keys, key, only, kWidthRange, layers));
  if (std::all_of(list.begin(), list.end(), [&](int64_t entry) { return entry == only; })) {
    return absl::OkStatus();
  }
  return keys.Wrong(key, fmt::format("it must be {} in every layer", only));
}

absl::Status ReadChoices(const ConfigReader& keys, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  FM_ASSIGN_OR_RETURN(const auto chosen, ReadPerLayer(keys, "moe_topk", moe.top_k, {1, moe.experts},
                                                      config.layers.size()));
  if (keys.Has("num_experts_per_tok") && chosen != std::vector(chosen.size(), moe.top_k)) {
    return keys.Wrong("num_experts_per_tok", "it contradicts moe_topk; keep one of the two");
  }
  moe.top_k = *std::max_element(chosen.begin(), chosen.end());
  for (size_t i = 0; i < chosen.size(); ++i) {
    config.layers[i].top_k = chosen[i] == moe.top_k ? 0 : chosen[i];
  }
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  if (config.moe.experts == 1) {
    return keys.Wrong("num_experts",
                      "it must be at least 2: layers with one expert have other tensors");
  }
  config.moe.shared_intermediate = config.moe.intermediate;
  const size_t layers = config.layers.size();
  FM_RETURN_IF_ERROR(CheckPerLayer(keys, "moe_intermediate_size", config.intermediate, layers));
  FM_RETURN_IF_ERROR(CheckPerLayer(keys, "num_shared_expert", 1, layers));
  return ReadChoices(keys, config);
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention.q_norm = prefix + "self_attn.query_layernorm";
  names.attention.k_norm = prefix + "self_attn.key_layernorm";
  names.moe.router = prefix + "mlp.gate.wg.weight";
  names.moe.shared_prefix = prefix + "mlp.shared_mlp.";
  return names;
}

}  // namespace

const Family kHunyuanMoe = {
    .config = {.architecture = "HunYuanMoEV1ForCausalLM",
               .model_type = "hunyuan_v1_moe",
               .vocab = 290943,
               .hidden = 4096,
               .intermediate = 11008,
               .layers = 32,
               .heads = 32,
               .max_positions = 2048,
               .rms_norm_eps = 1e-5,
               .rope_alpha = true,
               .eos = 2,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeadsAfterRope,
               .experts = 1,
               .top_k = 1,
               .local_experts_alias = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = TopKGate,
};

}  // namespace folkmoot
