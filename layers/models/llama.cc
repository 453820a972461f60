// SPDX-License-Identifier: Apache-2.0
// Dense decoders, the base case: Llama, Mistral, Qwen2 and Qwen3 differ in flags of ModelConfig
// only.
#include "layers/models/family.h"

namespace folkmoot {

const Family kLlama = {
    .config = {.architecture = "LlamaForCausalLM",
               .model_type = "llama",
               .vocab = 32000,
               .hidden = 4096,
               .intermediate = 11008,
               .layers = 32,
               .heads = 32,
               .max_positions = 2048,
               .eos = 2,
               .bias = BiasRule::kAttentionKey,
               .mlp_bias_key = true},
};

const Family kMistral = {
    .config = {.architecture = "MistralForCausalLM",
               .model_type = "mistral",
               .vocab = 32000,
               .hidden = 4096,
               .intermediate = 14336,
               .layers = 32,
               .heads = 32,
               .kv_heads = 8,
               .max_positions = 131072,
               .eos = 2,
               .window = WindowRule::kAll,
               .window_size = 4096},
};

const Family kQwen2 = {
    .config = {.architecture = "Qwen2ForCausalLM",
               .model_type = "qwen2",
               .vocab = 151936,
               .hidden = 4096,
               .intermediate = 22016,
               .layers = 32,
               .heads = 32,
               .kv_heads = 32,
               .max_positions = 32768,
               .bias = BiasRule::kAlwaysQkv,
               .window = WindowRule::kFromMaxWindow,
               .window_size = 4096,
               .head_dim_null = false},
};

const Family kQwen3 = {
    .config = {.architecture = "Qwen3ForCausalLM",
               .model_type = "qwen3",
               .vocab = 151936,
               .hidden = 4096,
               .intermediate = 22016,
               .layers = 32,
               .heads = 32,
               .kv_heads = 32,
               .max_positions = 32768,
               .head_dim = 128,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kFromMaxWindow,
               .window_size = 4096,
               .head_dim_null = false},
};

}  // namespace folkmoot
