// SPDX-License-Identifier: Apache-2.0
// The tokenizer that the keys "tokenizer.*" of a GGUF file describe, as the tokenizer.json and
// tokenizer_config.json that the same tokenizer has in a Hugging Face model.
#pragma once

#include <string>

#include "runtime/checkpoint/gguf_model.h"
#include "runtime/status.h"

namespace folkmoot {

// tokenizer.ggml.model "gpt2" (byte-level BPE, words cut as tokenizer.ggml.pre names it), "llama"
// (SentencePiece BPE; merges follow from the scores as Transformers' converter derives them) and
// "t5" (SentencePiece unigram, as T5 has it). Refuses other models and ways to cut by name.
// NotFound: the file has no tokenizer.
absl::StatusOr<std::string> GgufTokenizerJson(const GgufModel& model);

// The begin, end, unknown and padding tokens, whether texts get them, and the chat templates.
absl::StatusOr<std::string> GgufTokenizerConfig(const GgufModel& model);

}  // namespace folkmoot
