// SPDX-License-Identifier: Apache-2.0
#include "layers/models/qwen_parts.h"

#include <fmt/format.h>

#include "layers/models/layer_kinds.h"

namespace folkmoot {

absl::Status ReadGatedDelta(const ConfigReader& keys, const DeltaHeadDefaults& defaults,
                            ModelConfig& config) {
  constexpr IntRange kHeads = {1, 1 << 16};
  constexpr IntRange kHeadDim = {1, 1 << 12};
  RecurrentConfig& linear = config.recurrent;
  FM_ASSIGN_OR_RETURN(linear.kernel, keys.Int("linear_conv_kernel_dim", 4, kKernelRows));
  FM_ASSIGN_OR_RETURN(linear.key_dim, keys.Int("linear_key_head_dim", 128, kHeadDim));
  FM_ASSIGN_OR_RETURN(linear.value_dim, keys.Int("linear_value_head_dim", 128, kHeadDim));
  FM_ASSIGN_OR_RETURN(linear.key_heads,
                      keys.Int("linear_num_key_heads", defaults.key_heads, kHeads));
  FM_ASSIGN_OR_RETURN(linear.value_heads,
                      keys.Int("linear_num_value_heads", defaults.value_heads, kHeads));
  linear.activation = config.activation;
  if (linear.value_heads % linear.key_heads == 0) return absl::OkStatus();
  return keys.Wrong(
      "linear_num_value_heads",
      fmt::format("it must be a multiple of linear_num_key_heads = {}", linear.key_heads));
}

RecurrentNames GatedDeltaNames(const std::string& mixer) {
  return {.qkv = mixer + "in_proj_qkv",
          .z = mixer + "in_proj_z",
          .b = mixer + "in_proj_b",
          .a = mixer + "in_proj_a",
          .convolution = mixer + "conv1d",
          .rates = mixer + "A_log",
          .step_bias = mixer + "dt_bias",
          .norm = mixer + "norm",
          .o = mixer + "out_proj"};
}

}  // namespace folkmoot
