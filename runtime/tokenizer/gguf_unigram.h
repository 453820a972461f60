// SPDX-License-Identifier: Apache-2.0
// tokenizer.ggml.model "t5": SentencePiece's unigram model, as T5 and its relatives have it.
// Private to runtime/tokenizer.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/checkpoint/gguf_model.h"
#include "runtime/status.h"
#include "runtime/tokenizer/gguf_vocabulary.h"

namespace folkmoot {

// Ids of special tokens where the file does not name them (llama.cpp's).
inline constexpr int64_t kUnigramPad = 0;
inline constexpr int64_t kUnigramEos = 1;
inline constexpr int64_t kUnigramUnknown = 2;

// What tokenizer.json has of it but added tokens, as Transformers' T5Tokenizer writes it: words
// have no spaces inside, and one before each. Reads the keys tokenizer.ggml.scores,
// precompiled_charsmap, add_space_prefix and remove_extra_whitespaces; a file whose words keep
// their spaces, or lack the first one, is refused by name. Unused tokens behind all others, which
// converters fill vocabularies up with, are no tokens. `unknown`: the id of that token.
absl::StatusOr<nlohmann::json> UnigramJson(const GgufModel& model, const GgufVocabulary& vocabulary,
                                           int64_t unknown);

}  // namespace folkmoot
