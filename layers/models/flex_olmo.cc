// SPDX-License-Identifier: Apache-2.0
// FlexOlmo (arXiv 2507.07024): OLMoE's experts and norms of q and k over all heads in OLMo 2's
// block, which normalises what attention and FFN give instead of what they read.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

absl::Status Read(const ConfigSource&, ModelConfig& config) {
  config.input_norms = false;
  config.post_norms = true;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = prefix + "post_attention_layernorm";
  names.ffn_post_norm = prefix + "post_feedforward_layernorm";
  return names;
}

}  // namespace

const Family kFlexOlmo = {
    .config = {.architecture = "FlexOlmoForCausalLM",
               .model_type = "flex_olmo",
               .vocab = 100352,
               .hidden = 4096,
               .intermediate = 11008,
               .layers = 32,
               .heads = 32,
               .max_positions = 4096,
               .rope_theta = 5e5,
               .eos = 100257,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kRows,
               .head_dim_null = false,
               .experts = 7,
               .top_k = 5,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .read = Read},
    .layer_names = Names,
    .gate = TopKGate,
};

}  // namespace folkmoot
