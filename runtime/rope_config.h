// SPDX-License-Identifier: Apache-2.0
// What a config.json says of rotary embeddings.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace folkmoot {

// kProportional: the first partial_rotary_factor of the pairs turn, with the frequencies of a whole
// head; the others stand still (Gemma 4).
enum class RopeType : uint8_t {
  kDefault,
  kLinear,
  kDynamic,
  kYarn,
  kLlama3,
  kLongrope,
  kProportional
};

// Rotary embedding parameters after defaults are filled in; formulas in runtime/rope.h.
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double partial_rotary_factor = 1.0;
  int64_t dim = 0;          // numbers of a head that turn; 0: by partial_rotary_factor
  bool neighbours = false;  // pairs are (2i, 2i + 1), not (i, i + D/2)
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
  // In place of attention_factor (Phi-MoE), within the original context and beyond.
  std::optional<double> short_mscale;
  std::optional<double> long_mscale;
  // Of kDefault, from GGUF files (rope_freqs): what the frequency of each pair is divided by.
  // Empty: nothing.
  std::vector<double> divisors;
};

}  // namespace folkmoot
