// SPDX-License-Identifier: Apache-2.0
// What the configurations of models with an encoder share.
#pragma once

#include <array>
#include <string_view>

#include "runtime/config_family.h"

namespace folkmoot {

// Keys that all decoders without an encoder have.
constexpr std::array<std::string_view, 7> kKeysOfDecodersAlone = {
    "layer_types",         "num_key_value_heads",
    "num_experts_per_tok", "original_max_position_embeddings",
    "rope_scaling",        "rope_parameters",
    "rope_theta"};

// config.layers are the encoder's when it is called, and get the decoder's behind them. Reads with
// what a decoder begins. A source and its target may each be as long as config.json says.
absl::Status ReadEncoder(const ConfigReader& keys, int64_t heads, int64_t intermediate,
                         int64_t decoder_layers, ModelConfig& config);

// What a generation_config.json says of the same: newer files keep it there.
absl::Status ReadGenerationStart(std::string_view text, std::string_view name_for_errors,
                                 ModelConfig& config);

}  // namespace folkmoot
