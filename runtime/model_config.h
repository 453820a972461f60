// SPDX-License-Identifier: Apache-2.0
// The shape of a model, read from a Hugging Face directory's config.json (config_family.h) or from
// the keys of a GGUF file (model_config_gguf.h).
//
// Every key of a known family that changes the mathematics is honoured or refused by name; keys
// that do not change it (dropout, initialisers, cache flags, ...) are on a list; any other key is
// refused by name, so nothing is ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/ops/gemm.h"
#include "runtime/status.h"

namespace folkmoot {

class WeightFormat;

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kYarn, kLlama3, kLongrope };

// Rotary embedding parameters after defaults are filled in; formulas in runtime/rope.h.
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double partial_rotary_factor = 1.0;
  double factor = 1.0;
  int64_t original_max_positions = 0;
  double beta_fast = 32.0;  // yarn
  double beta_slow = 1.0;
  bool truncate = true;
  std::optional<double> attention_factor;  // yarn, longrope
  std::optional<double> mscale;
  std::optional<double> mscale_all_dim;
  double low_freq_factor = 1.0;  // llama3
  double high_freq_factor = 4.0;
  std::vector<double> short_factor;  // longrope
  std::vector<double> long_factor;
  // Of kDefault, from GGUF files (rope_freqs): what the frequency of each pair is divided by.
  // Empty: nothing.
  std::vector<double> divisors;
};

struct LayerConfig {
  bool moe = false;            // routed experts; else one dense FFN
  int64_t sliding_window = 0;  // keys that a query sees, itself included; 0 = all
};

struct MoeConfig {
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t intermediate = 0;
  bool norm_topk_prob = false;
  int64_t shared_intermediate = 0;  // 0 = no shared expert
};

// RMSNorm on q and k before RoPE: of each head, or of all heads of a token together (OLMoE).
enum class QkNormKind : uint8_t { kNone, kHeads, kRows };

struct ModelConfig {
  std::string architecture;  // "Qwen2MoeForCausalLM"
  std::string model_type;    // "qwen2_moe"
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab = 0;
  int64_t max_positions = 0;
  int64_t intermediate = 0;  // of dense FFN layers
  float rms_norm_eps = 1e-6f;
  Activation activation = Activation::kSilu;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  // attention output projection
  bool mlp_bias = false;
  QkNormKind qk_norm = QkNormKind::kNone;
  // Granite: what embeddings and the outputs of attention and FFN are multiplied with, what logits
  // are divided by (multiplied with 1 / it, in fact), and the scale of attention scores (0: 1 /
  // sqrt(head_dim)).
  float embedding_multiplier = 1.0f;
  float residual_multiplier = 1.0f;
  float logits_scaling = 1.0f;
  float attention_multiplier = 0.0f;
  float clip_qkv = 0.0f;      // q, k and v are clamped to +- this; 0: they are not
  DType dtype = DType::kF32;  // as config.json says; tensors may differ
  RopeConfig rope;
  std::vector<LayerConfig> layers;
  MoeConfig moe;  // experts == 0 for dense families
  std::vector<int32_t> eos_ids;
  // How quantised weights are stored, by "quantization_config"; null: all are plain.
  std::shared_ptr<const WeightFormat> weight_format;
};

}  // namespace folkmoot
