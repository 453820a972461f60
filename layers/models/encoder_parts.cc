// SPDX-License-Identifier: Apache-2.0
#include "layers/models/encoder_parts.h"

namespace folkmoot {
namespace {

absl::StatusOr<int32_t> TokenOr(const ConfigReader& keys, std::string_view key, int32_t absent,
                                int64_t vocab) {
  if (!keys.Has(key)) return absent;
  FM_ASSIGN_OR_RETURN(const auto id, keys.OptionalInt(key, {0, vocab - 1}));
  return id ? static_cast<int32_t>(*id) : -1;
}

}  // namespace

absl::Status ReadEncoder(const ConfigReader& keys, int64_t heads, int64_t intermediate,
                         int64_t decoder_layers, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const bool both, keys.Bool("is_encoder_decoder", true));
  if (!both) {
    return keys.Wrong("is_encoder_decoder",
                      fmt::format("{} has an encoder: it must be true", config.architecture));
  }
  EncoderConfig& encoder = config.encoder;
  encoder.layers = static_cast<int64_t>(config.layers.size());
  encoder.heads = heads;
  encoder.intermediate = intermediate;
  encoder.head_dim = heads == config.heads ? config.head_dim : config.hidden / heads;
  config.layers.resize(static_cast<size_t>(encoder.layers + decoder_layers));
  for (LayerConfig& layer : config.layers) layer.rope = false;
  config.max_positions *= 2;
  FM_ASSIGN_OR_RETURN(config.pad_id, TokenOr(keys, "pad_token_id", config.pad_id, config.vocab));
  FM_ASSIGN_OR_RETURN(encoder.decoder_start,
                      TokenOr(keys, "decoder_start_token_id", encoder.decoder_start, config.vocab));
  FM_ASSIGN_OR_RETURN(encoder.forced_bos, TokenOr(keys, "forced_bos_token_id", -1, config.vocab));
  return absl::OkStatus();
}

absl::Status ReadGenerationStart(std::string_view text, std::string_view name_for_errors,
                                 ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const nlohmann::json generation, ParseConfigJson(text, name_for_errors));
  const ConfigReader keys(generation, fmt::format("{}: key '", name_for_errors));
  EncoderConfig& encoder = config.encoder;
  FM_ASSIGN_OR_RETURN(encoder.decoder_start,
                      TokenOr(keys, "decoder_start_token_id", encoder.decoder_start, config.vocab));
  FM_ASSIGN_OR_RETURN(encoder.forced_bos,
                      TokenOr(keys, "forced_bos_token_id", encoder.forced_bos, config.vocab));
  return absl::OkStatus();
}

}  // namespace folkmoot
