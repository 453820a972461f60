// SPDX-License-Identifier: Apache-2.0
#include "runtime/config_family.h"

#include <algorithm>
#include <array>
#include <string>

namespace folkmoot {
namespace {

// Training, caching, bookkeeping, and generation settings that old files keep here.
constexpr std::array kHarmless = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "activation_dropout",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "decoder_layerdrop",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dropout_rate",
    "early_stopping",
    "encoder_layerdrop",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "hidden_dropout_prob",
    "id2label",
    "init_std",
    "initializer_factor",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "router_z_loss_coef",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
};

}  // namespace

std::vector<std::string_view> HonouredKeys(const ConfigFamily& family) {
  std::vector<std::string_view> keys = {
      "architectures",
      "dtype",
      "eos_token_id",
      "head_dim",
      "hidden_act",
      "hidden_size",
      "intermediate_size",
      "layer_types",
      "max_position_embeddings",
      "model_type",
      "num_attention_heads",
      "num_hidden_layers",
      "num_key_value_heads",
      "original_max_position_embeddings",
      "quantization_config",
      "rms_norm_eps",
      "rope_parameters",
      "rope_scaling",
      "rope_theta",
      "tie_word_embeddings",
      "torch_dtype",
      "vocab_size",
  };
  if (family.experts > 0 && family.intermediate == 0) std::erase(keys, "intermediate_size");
  const auto add = [&keys](bool condition, std::initializer_list<std::string_view> more) {
    if (condition) keys.insert(keys.end(), more);
  };
  add(family.bias == BiasRule::kQkvBiasKey, {"qkv_bias"});
  add(family.bias == BiasRule::kAttentionKey, {"attention_bias"});
  add(family.mlp_bias_key, {"mlp_bias"});
  add(family.window != WindowRule::kNone && family.window != WindowRule::kOwn, {"sliding_window"});
  // qwen3_moe files carry max_window_layers, which Transformers does not read for it.
  add(family.window_in_use_key(), {"use_sliding_window", "max_window_layers"});
  add(family.window == WindowRule::kAlwaysFromMax, {"max_window_layers"});
  add(family.partial_rotary > 0, {"partial_rotary_factor"});
  add(family.latent_rope_dim > 0, {"q_lora_rank", "kv_lora_rank", "qk_nope_head_dim",
                                   "qk_rope_head_dim", "qk_head_dim", "v_head_dim"});
  add(family.experts > 0, {"num_experts_per_tok"});
  add(family.experts > 0 && !family.local_experts_only, {"num_experts"});
  add(family.local_experts_alias, {"num_local_experts"});
  add(family.norm_topk_key, {"norm_topk_prob"});
  add(family.moe_intermediate > 0, {"moe_intermediate_size"});
  add(family.dense == DenseRule::kSparseStep, {"decoder_sparse_step", "mlp_only_layers"});
  add(family.dense == DenseRule::kFirst, {"first_k_dense_replace"});
  add(family.shared_intermediate > 0, {"shared_expert_intermediate_size"});
  for (const KeyAlias& alias : family.aliases) {
    std::replace(keys.begin(), keys.end(), alias.usual, alias.own);
    add(alias.both, {alias.usual});
  }
  for (const std::string_view key : family.absent_keys) std::erase(keys, key);
  keys.insert(keys.end(), family.own_keys.begin(), family.own_keys.end());
  return keys;
}

bool IsHarmlessKey(std::string_view key) {
  return std::find(kHarmless.begin(), kHarmless.end(), key) != kHarmless.end();
}

std::vector<NeutralKey> NeutralKeys() {
  return {
      {"add_cross_attention", false, "cross-attention is not supported"},
      {"attention_bias", false, "this architecture has no such biases"},
      {"attention_multiplier", 1, "this architecture does not scale its attention"},
      {"attn_logit_softcapping", nullptr, "logit capping is not part of this architecture"},
      {"clip_qkv", nullptr, "clipping of q, k and v is not part of this architecture"},
      {"cross_attention_hidden_size", nullptr, "cross-attention is not supported"},
      {"embedding_multiplier", 1, "this architecture does not scale its embeddings"},
      {"final_logit_softcapping", nullptr, "logit capping is not part of this architecture"},
      {"is_decoder", false, "cross-attention is not supported"},
      {"is_encoder_decoder", false, "this architecture has no encoder"},
      {"logits_scaling", 1, "this architecture does not scale its logits"},
      {"mlp_bias", false, "this architecture has no such biases"},
      {"partial_rotary_factor", 1, "partial rotary embeddings are not part of this architecture"},
      {"per_layer_config", nullptr, "layers of different shapes are not supported"},
      {"pruned_heads", nlohmann::json::object(), "pruned heads are not supported"},
      {"residual_multiplier", 1, "this architecture does not scale its residuals"},
      {"rope_interleaved", false, "interleaved rotary pairs are not supported"},
      {"sliding_window", nullptr, "this architecture has no sliding window"},
      {"tie_encoder_decoder", false, "encoder-decoder models are not supported"},
      {"use_mrope", false, "multimodal rotary embeddings are not supported"},
      {"use_sliding_window", false, "this architecture has no sliding window"},
  };
}

}  // namespace folkmoot
