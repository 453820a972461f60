// SPDX-License-Identifier: Apache-2.0
// What the config.json of one architecture means, as data: defaults of absent keys (those of
// Transformers' configuration classes) and the keys that it honours. The families themselves:
// layers/models/.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/model_config_json.h"
#include "runtime/status.h"

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
  kAlternating,    // layer i when i is even, where layer_types is not given
  kAlwaysFromMax,  // as kFromMaxWindow, always in use
  kAllButNth,  // layer i unless sliding_window_pattern divides i + 1, where no layer_types is given
  kOwn,        // `read` reads layer_types; there is no key sliding_window
};

// Which layers of a family with experts have one dense FFN.
enum class DenseRule : uint8_t {
  kNone,
  kSparseStep,  // keys decoder_sparse_step and mlp_only_layers
  kFirst,       // the first first_k_dense_replace
  kOwn,         // `read` sets LayerConfig::moe; all have experts until then
};

// Bound of every width (hidden, intermediate, vocabulary); no model comes near.
constexpr IntRange kWidthRange = {1, 1 << 24};

// A key that is not read, since it may have this value only (JSON text), or those of all entries
// with its name; null is accepted too.
struct FixedKey {
  std::string_view key;
  std::string_view value;
};

struct ConfigFamily;

// What the readers of the parts of a ModelConfig need beside the result. Does not own.
struct ConfigSource {
  const ConfigReader& keys;
  const ConfigFamily& family;
};

struct ConfigFamily {
  std::string_view architecture;
  std::string_view other_architecture = "";  // that some published files have
  std::string_view model_type;
  std::string_view other_model_type = "";  // that some published files have
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t layers = 0;
  int64_t heads = 0;     // 0: as many as kv_heads; `read` may make more of them
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t max_positions = 0;
  int64_t head_dim = 0;  // 0: hidden / heads
  double rms_norm_eps = 1e-6;
  NormKind norm = NormKind::kRms;
  bool norm_bias = false;
  double rope_theta = 1e4;
  double partial_rotary = 0;  // of an absent partial_rotary_factor; 0: the family has none
  bool rope_neighbours = false;
  bool own_rope = false;              // `read` reads the rotary embedding
  int64_t latent_rope_dim = 0;        // of latent attention: of an absent qk_rope_head_dim
  std::string_view rope_absent = "";  // JSON of the object that a file without one means
  bool rope_context_inside = false;   // a context outside of the object is not read
  bool rope_mscales = false;          // longrope has short_mscale and long_mscale, and no factor
  bool rope_alpha = false;  // dynamic rotations may have an alpha, which fixes them (Hunyuan)
  int64_t eos = -1;         // -1: none
  bool eos_counts =
      false;  // its end tokens change the mathematics: text_config's must be the file's
  bool tied_embeddings = false;
  Activation activation = Activation::kSilu;
  BiasRule bias = BiasRule::kNever;
  bool mlp_bias_key = false;
  QkNormKind qk_norm = QkNormKind::kNone;
  WindowRule window = WindowRule::kNone;
  int64_t window_size = 0;  // 0: null
  int64_t max_window_layers = 28;
  int64_t window_pattern = 6;  // of an absent sliding_window_pattern
  bool kv_heads_null = true;   // null means as many as heads; else it is refused
  bool head_dim_null = true;   // null means hidden / heads; else it is refused
  // Routed experts; 0 for dense families.
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t moe_intermediate = 0;     // 0: intermediate_size is the experts' and no layer is dense
  int64_t shared_intermediate = 0;  // 0: no shared expert by key shared_expert_intermediate_size
  DenseRule dense = DenseRule::kNone;
  int64_t first_dense = 0;                 // of kFirst
  bool local_experts_alias = false;        // num_local_experts is num_experts
  bool local_experts_only = false;         // and the one name that is known
  bool experts_optional = false;           // 0 of them: all layers are dense
  bool norm_topk_key = false;              // norm_topk_prob; else weights add up to 1
  bool norm_topk = false;                  // where it is absent
  std::span<const KeyAlias> aliases = {};  // keys that it spells differently
  // Objects whose keys are known as "ffn_config.moe_top_k"; inner ones after outer ones.
  std::span<const std::string_view> nested = {};
  // Of a multimodal architecture whose text model alone is run: its keys stand in the object
  // text_config, which has this model_type, and keys beside it may be those that describe the rest.
  // Empty: they stand in the file.
  std::string_view text_model_type = "";
  std::string_view other_text_model_type = "";  // that some published files have
  std::span<const std::string_view> beside_text = {};
  // Keys of the text may stand beside text_config, too, and are not read there: authors have them
  // there alone, and Transformers, where it writes such a file again, leaves them.
  bool text_left_outside = false;
  // The authors' name of that object, in files that have no text_config. Keys of the text stand
  // beside it, too, and are not read there, but those of `authors_outside`, which may be there
  // alone (DeepSeek-OCR).
  std::string_view authors_text = "";
  std::span<const std::string_view> authors_outside = {};
  // The object in which text_config stands, with other keys beside it, where it is not the file
  // (Qwen3-Omni).
  std::string_view around_text = "";
  std::span<const FixedKey> fixed = {};  // keys that may say but one thing
  // Keys that others have and this one does not.
  std::span<const std::string_view> absent_keys = {};
  // What this family alone has: keys that `read` honours, after all others are read.
  std::span<const std::string_view> own_keys = {};
  absl::Status (*read)(const ConfigSource& source, ModelConfig& config) = nullptr;

  bool layer_types_rule() const {  // layer_types decides, where given
    return window == WindowRule::kFromMaxWindow || window == WindowRule::kEvenBeforeMax ||
           window == WindowRule::kAlternating || window == WindowRule::kAlwaysFromMax ||
           window == WindowRule::kAllButNth;
  }
  bool window_in_use_key() const {  // use_sliding_window decides
    return window == WindowRule::kAllInUse || window == WindowRule::kFromMaxWindow ||
           window == WindowRule::kEvenBeforeMax;
  }
};

// Reads a config.json of one of these families. Errors name the file, the key, its value and what
// would be accepted.
absl::StatusOr<ModelConfig> ParseConfigOf(std::span<const ConfigFamily* const> families,
                                          std::string_view json, std::string_view name_for_errors);
// The end tokens of a generation_config.json; nullopt: it names none.
absl::StatusOr<std::optional<std::vector<int32_t>>> ParseEndTokens(
    std::string_view json, std::string_view name_for_errors);

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
