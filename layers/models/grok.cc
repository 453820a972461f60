// SPDX-License-Identifier: Apache-2.0
// Grok-1 (xAI 2024, github.com/xai-org/grok-1) as converted for Transformers by HPC-AI Tech: norms
// before and after attention and FFN, capped attention scores, and probabilities over all experts
// that weigh the chosen ones as they are. GELU is that of the authors, with tanh, which the
// converted code replaced.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr FixedKey kFixed[] = {{"max_attn_value", "30.0"}};
constexpr std::string_view kOwnKeys[] = {"attn_output_multiplier", "embedding_multiplier_scale",
                                         "output_multiplier_scale"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_ASSIGN_OR_RETURN(config.attention_multiplier,
                      keys.Float("attn_output_multiplier", 0.08838834764831845f, 0.0));
  FM_ASSIGN_OR_RETURN(config.embedding_multiplier,
                      keys.Float("embedding_multiplier_scale", 78.38367176906169f, 0.0));
  FM_ASSIGN_OR_RETURN(const double output,
                      keys.Number("output_multiplier_scale", 0.5773502691896257, 1e-9));
  config.logits_scaling = static_cast<float>(1.0 / output);
  config.attention_softcap = 30.0f;
  config.post_norms = true;
  config.moe.norm_topk_prob = false;
  if (config.activation != Activation::kGelu && config.activation != Activation::kGeluTanh) {
    return keys.Wrong("hidden_act", "known: gelu");
  }
  config.activation = Activation::kGeluTanh;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  const std::string block = prefix + "moe_block.";
  LayerNames names;
  names.input_norm = prefix + "pre_attn_norm.scale";
  names.attention_post_norm = prefix + "post_attn_norm.scale";
  names.ffn_norm = prefix + "pre_moe_norm.scale";
  names.ffn_post_norm = prefix + "post_moe_norm.scale";
  names.attention = UsualAttentionNames(prefix + "attn.");
  names.moe = {.router = block + "gate.weight",
               .experts = {.prefix = block,
                           .gate = "linear.weight",
                           .up = "linear_v.weight",
                           .down = "linear_1.weight"}};
  return names;
}

EndNames Ends() { return {"model.embed_tokens.weight", "model.norm.scale", "lm_head"}; }

}  // namespace

const Family kGrok1 = {
    .config = {.architecture = "Grok1ModelForCausalLM",
               .other_architecture = "Grok1ForCausalLM",
               .model_type = "grok-1",
               .vocab = 131072,
               .hidden = 6144,
               .intermediate = 32768,
               .layers = 64,
               .heads = 48,
               .kv_heads = 8,
               .max_positions = 8192,
               .rms_norm_eps = 1e-5,
               .eos = 2,
               .tied_embeddings = true,
               .activation = Activation::kGeluTanh,
               .experts = 8,
               .top_k = 2,
               .local_experts_alias = true,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = Ends,
    .gate = TopKGate,
};

}  // namespace folkmoot
