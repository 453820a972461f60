// SPDX-License-Identifier: Apache-2.0
// The tokens of a GGUF file, as all kinds of tokenizers have them. Private to runtime/tokenizer.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace folkmoot {

// tokenizer.ggml.token_type.
enum TokenType : int64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

// By id. Views into the file.
struct GgufVocabulary {
  std::vector<std::string_view> tokens;
  std::vector<int64_t> types;  // as many
};

}  // namespace folkmoot
