// SPDX-License-Identifier: Apache-2.0
// Dense decoders, the base case: Llama, Mistral, Qwen2 and Qwen3 differ in flags of ModelConfig
// only.
#include "layers/models/family.h"

namespace folkmoot {

const Family kLlama = {"LlamaForCausalLM"};
const Family kMistral = {"MistralForCausalLM"};
const Family kQwen2 = {"Qwen2ForCausalLM"};
const Family kQwen3 = {"Qwen3ForCausalLM"};

}  // namespace folkmoot
