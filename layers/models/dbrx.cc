// SPDX-License-Identifier: Apache-2.0
// DBRX (Databricks 2024): LayerNorm without biases, q, k and v in one matrix and clipped, the
// experts of a layer in three tensors. Most of its keys stand in attn_config and ffn_config.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr std::string_view kNested[] = {"attn_config", "ffn_config", "ffn_config.ffn_act_fn"};
constexpr const char* kTheta = "attn_config.rope_theta";
constexpr const char* kKvHeads = "attn_config.kv_n_heads";
constexpr KeyAlias kAliases[] = {{"hidden_size", "d_model", true},
                                 {"num_attention_heads", "n_heads", true},
                                 {"num_hidden_layers", "n_layers", true},
                                 {"max_position_embeddings", "max_seq_len", true},
                                 {"num_key_value_heads", kKvHeads},
                                 {"rope_theta", kTheta},
                                 {"num_experts", "ffn_config.moe_num_experts"},
                                 {"num_experts_per_tok", "ffn_config.moe_top_k"},
                                 {"moe_intermediate_size", "ffn_config.ffn_hidden_size"},
                                 {"hidden_act", "ffn_config.ffn_act_fn.name"}};
constexpr std::string_view kClip = "attn_config.clip_qkv";
constexpr std::string_view kNormalise = "ffn_config.moe_normalize_expert_weights";
constexpr std::string_view kWidth = "ffn_config.hidden_size";
// Read, then those that change nothing.
constexpr std::string_view kOwnKeys[] = {kClip,
                                         kNormalise,
                                         kWidth,
                                         "rope_theta",
                                         "num_key_value_heads",
                                         "resid_pdrop",
                                         "emb_pdrop",
                                         "attn_config.architectures",
                                         "attn_config.attn_pdrop",
                                         "attn_config.dtype",
                                         "ffn_config.architectures",
                                         "ffn_config.dtype",
                                         "ffn_config.moe_jitter_eps",
                                         "ffn_config.moe_loss_weight"};
constexpr FixedKey kFixed[] = {{"attn_config.model_type", "\"\""},
                               {"ffn_config.model_type", "\"\""},
                               {"attn_config.model_type", "\"dbrx\""},
                               {"ffn_config.model_type", "\"dbrx\""},
                               {"attn_config.is_encoder_decoder", "false"},
                               {"ffn_config.is_encoder_decoder", "false"},
                               {"ffn_config.uniform_expert_assignment", "false"}};

// The authors' keys are those of attn_config. Transformers 5 takes the base from outside of it, and
// writes the heads there, too.
absl::Status CheckOuter(const ConfigReader& keys, const char* key, const char* inner) {
  const nlohmann::json& object = keys.object();
  const auto outer = object.find(key);
  if (outer == object.end() || outer->is_null()) return absl::OkStatus();
  if (keys.Has(key) && *keys.Find(key) == *outer) return absl::OkStatus();
  return InvalidArgument("{}{}' is {}; {} is what counts: it must be the same", keys.prefix(), key,
                         ShowJson(*outer), inner);
}

// The power of the norm that the weights of a token's experts are divided by. null: they are not.
absl::Status ReadNormalisation(const ConfigReader& keys, ModelConfig& config) {
  config.moe.norm_topk_prob = true;
  if (!keys.Has(kNormalise)) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto power, keys.OptionalNumber(kNormalise, 0.0));
  config.moe.norm_topk_prob = power.has_value();
  if (power.value_or(1.0) == 1.0) return absl::OkStatus();
  return keys.Wrong(kNormalise, "weights are divided by their sum (1) or not at all (null)");
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(CheckOuter(keys, "rope_theta", kTheta));
  FM_RETURN_IF_ERROR(CheckOuter(keys, "num_key_value_heads", kKvHeads));
  if (config.head_dim * config.heads != config.hidden) {
    return keys.Wrong("head_dim", "it must be d_model / n_heads");
  }
  FM_ASSIGN_OR_RETURN(const int64_t width, keys.Int(kWidth, config.hidden, kWidthRange));
  if (width != config.hidden) return keys.Wrong(kWidth, "it must be d_model");
  if (config.tied_embeddings) {
    return keys.Wrong("tie_word_embeddings", "this architecture has an output head of its own");
  }
  FM_ASSIGN_OR_RETURN(config.clip_qkv, keys.FloatOrNull(kClip, 0.0f, 0.0));
  return ReadNormalisation(keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string block = prefix + "norm_attn_norm.";
  const std::string ffn = prefix + "ffn.";
  LayerNames names;
  names.input_norm = block + "norm_1";
  names.ffn_norm = block + "norm_2";
  names.attention.qkv = block + "attn.Wqkv";
  names.attention.o = block + "attn.out_proj";
  names.moe = {.router = ffn + "router.layer.weight",
               .experts = {.prefix = ffn,
                           .gate = "w1.weight",
                           .up = "v1.weight",
                           .down = "w2.weight",
                           .packed_gate_up = ffn + "experts.mlp.w1",
                           .packed_down = ffn + "experts.mlp.w2",
                           .packed_up = ffn + "experts.mlp.v1",
                           .always_packed = true,
                           .down_transposed = true}};
  return names;
}

EndNames Ends() { return {"transformer.wte.weight", "transformer.norm_f", "lm_head"}; }

}  // namespace

const Family kDbrx = {
    .config = {.architecture = "DbrxForCausalLM",
               .model_type = "dbrx",
               .vocab = 32000,
               .hidden = 2048,
               .layers = 24,
               .heads = 16,
               .kv_heads = 1,
               .max_positions = 2048,
               .rms_norm_eps = 1e-5,
               .norm = NormKind::kLayer,
               .kv_heads_null = false,
               .experts = 4,
               .top_k = 1,
               .moe_intermediate = 3584,
               .aliases = kAliases,
               .nested = kNested,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = Ends,
    .layers = "transformer.blocks.",
    .gate = TopKGate,
};

}  // namespace folkmoot
