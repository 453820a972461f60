// SPDX-License-Identifier: Apache-2.0
// What the architectures have in common and where they differ, as data: defaults of absent keys
// (those of Transformers' configuration classes) and the keys that each one honours. Internal to
// model_config*.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace folkmoot {

// Where biases of the attention projections come from.
enum class BiasRule : uint8_t {
  kNever,
  kAlwaysQkv,     // q, k and v, not the output
  kQkvBiasKey,    // key qkv_bias (absent: true): q, k and v
  kAttentionKey,  // key attention_bias (absent: false): q, k, v and the output
};

// Which layers slide. "In use" means use_sliding_window, false when absent.
enum class WindowRule : uint8_t {
  kNone,
  kAll,            // every layer when sliding_window is not null
  kAllInUse,       // every layer when in use and not null
  kFromMaxWindow,  // in use: layer i when i >= max_window_layers
  kEvenBeforeMax,  // in use: layer i when i is even and i < max_window_layers
};

struct ConfigFamily {
  std::string_view architecture;
  std::string_view model_type;
  int64_t vocab;
  int64_t hidden;
  int64_t intermediate;
  int64_t layers;
  int64_t heads;
  int64_t kv_heads;  // 0: as many as heads
  int64_t max_positions;
  int64_t head_dim;  // 0: hidden / heads
  double rms_norm_eps;
  double rope_theta;
  int64_t eos;  // -1: none
  BiasRule bias;
  bool mlp_bias_key;
  bool qk_norm;
  WindowRule window;
  int64_t window_size;  // 0: null
  bool kv_heads_null;   // null means as many as heads; else it is refused
  bool head_dim_null;   // null means hidden / heads; else it is refused
  // Routed experts; 0 for dense families.
  int64_t experts;
  int64_t top_k;
  int64_t moe_intermediate;     // 0: intermediate_size is the experts' and no layer is dense
  int64_t shared_intermediate;  // 0: no shared expert
  bool local_experts_alias;     // num_local_experts is num_experts

  bool layer_types_rule() const {  // layer_types decides, where given
    return window == WindowRule::kFromMaxWindow || window == WindowRule::kEvenBeforeMax;
  }
  bool dense_layers() const { return experts > 0 && moe_intermediate > 0; }
};

std::span<const ConfigFamily> Families();

// Keys that `family` honours: they are read and change the model.
std::vector<std::string_view> HonouredKeys(const ConfigFamily& family);

// Keys of any family that change nothing at inference.
bool IsHarmlessKey(std::string_view key);

// A key that would change the mathematics of this family unless it has its neutral value.
struct NeutralKey {
  std::string_view key;
  nlohmann::json neutral;  // null is always accepted too
  std::string_view reason;
};
std::vector<NeutralKey> NeutralKeys();

}  // namespace folkmoot
