// SPDX-License-Identifier: Apache-2.0
// What config.json of dots3.note says of latent attention and its rotations, those of layers with a
// window (LayerConfig::sliding_window, which is read before) and those of the others. Semantics:
// Transformers' configuration_dots3_note.py.
#pragma once

#include <string_view>

#include "runtime/config_family.h"

namespace folkmoot {

// Beside which full_attention is what it says, too.
inline constexpr const char* kDots3PerLayer = "per_layer_config";

// config.latent of the usual keys, config.local_latent of the same behind swa_, or of
// per_layer_config, which says in what layers differ; with heads and scales of scores.
absl::Status ReadDots3Latents(const ConfigSource& source, ModelConfig& config);

// config.rope of rope_theta and config.local_rope of swa_rope_theta, or of the entries of
// rope_parameters, of which layers without a window have `kind`. Behind the latents.
absl::Status ReadDots3Ropes(const ConfigReader& keys, std::string_view kind, ModelConfig& config);

}  // namespace folkmoot
