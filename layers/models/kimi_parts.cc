// SPDX-License-Identifier: Apache-2.0
#include "layers/models/kimi_parts.h"

#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

// A size under the authors' name or that of Transformers.
absl::StatusOr<int64_t> ReadSize(const ConfigReader& keys, const char* authors, const char* other,
                                 int64_t absent, IntRange range) {
  FM_ASSIGN_OR_RETURN(const int64_t size, keys.Int(other, absent, range));
  FM_ASSIGN_OR_RETURN(const auto own, keys.OptionalInt(authors, range));
  if (own && keys.HasValue(other) && *own != size) {
    return keys.Wrong(authors, fmt::format("it contradicts {} = {}", other, size));
  }
  return own.value_or(size);
}

}  // namespace

absl::Status ReadKimiAttention(const ConfigReader& keys, const KimiDefaults& defaults,
                               ModelConfig& config) {
  constexpr IntRange kHeads = {1, 1 << 16};
  RecurrentConfig& linear = config.recurrent;
  FM_ASSIGN_OR_RETURN(linear.key_dim, ReadSize(keys, "linear_attn_config.head_dim",
                                               "linear_head_dim", defaults.head_dim, kKimiHeadDim));
  FM_ASSIGN_OR_RETURN(linear.key_heads, ReadSize(keys, "linear_attn_config.num_heads",
                                                 "linear_num_heads", defaults.heads, kHeads));
  FM_ASSIGN_OR_RETURN(linear.kernel,
                      ReadSize(keys, "linear_attn_config.short_conv_kernel_size",
                               "linear_conv_kernel_dim", defaults.kernel, kKernelRows));
  linear.value_dim = linear.key_dim;
  linear.value_heads = linear.key_heads;
  linear.activation = config.activation;
  linear.key_decays = true;
  return absl::OkStatus();
}

RecurrentNames KimiAttentionNames(const std::string& mixer) {
  RecurrentNames names;
  names.q = mixer + "q_proj";
  names.k = mixer + "k_proj";
  names.v = mixer + "v_proj";
  names.b = mixer + "b_proj";
  names.a_low = mixer + "f_a_proj";
  names.a = mixer + "f_b_proj";
  names.z_low = mixer + "g_a_proj";
  names.z = mixer + "g_b_proj";
  names.q_convolution = mixer + "q_conv1d";
  names.k_convolution = mixer + "k_conv1d";
  names.v_convolution = mixer + "v_conv1d";
  names.rates = mixer + "A_log";
  names.step_bias = mixer + "dt_bias";
  names.norm = mixer + "o_norm";
  names.o = mixer + "o_proj";
  return names;
}

}  // namespace folkmoot
