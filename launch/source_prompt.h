// SPDX-License-Identifier: Apache-2.0
// What a request to a model with an encoder begins with: its source, and the first tokens of the
// output.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/status.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {

struct SourceOptions {
  // Tokens of the vocabulary that name languages ("eng_Latn"); empty: as the tokenizer says, and
  // none or the model's own.
  std::string source_language;
  std::string target_language;        // the first token of the output
  std::optional<int32_t> forced_bos;  // the same as an id
};

struct SourcePrompt {
  std::vector<int32_t> tokens;
  int64_t source = 0;  // the first so many
  int32_t begun = 0;   // tokens behind the decoder's first, which are output that is settled
};

// `source` as the tokenizer encodes a text, special tokens included, or ids of the client's own,
// which stay as they are unless a language is named. `tokenizer` may be null: then there are no
// names of languages. Errors name the option.
absl::StatusOr<SourcePrompt> MakeSourcePrompt(const ModelConfig& config, const Tokenizer* tokenizer,
                                              const SourceOptions& options,
                                              std::span<const int32_t> source);

}  // namespace folkmoot
