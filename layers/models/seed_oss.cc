// SPDX-License-Identifier: Apache-2.0
// Seed-OSS (ByteDance 2025), dense: Llama with biases of q, k and v, and one of the output by a key
// of its own.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

// Read; the last is of training.
constexpr std::string_view kOwnKeys[] = {"attention_bias", "attention_out_bias",
                                         "residual_dropout"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.qkv_bias, source.keys.Bool("attention_bias", true));
  FM_ASSIGN_OR_RETURN(config.output_bias, source.keys.Bool("attention_out_bias", false));
  return absl::OkStatus();
}

}  // namespace

const Family kSeedOss = {
    .config = {.architecture = "SeedOssForCausalLM",
               .model_type = "seed_oss",
               .vocab = 155136,
               .hidden = 4096,
               .intermediate = 27648,
               .layers = 64,
               .heads = 80,
               .kv_heads = 8,
               .max_positions = 524288,
               .head_dim = 128,
               .eos = 2,
               .mlp_bias_key = true,
               .head_dim_null = false,
               .own_keys = kOwnKeys,
               .read = Read},
};

}  // namespace folkmoot
