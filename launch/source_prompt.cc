// SPDX-License-Identifier: Apache-2.0
#include "launch/source_prompt.h"

#include <algorithm>

namespace folkmoot {
namespace {

absl::StatusOr<int32_t> TokenOf(const Tokenizer* tokenizer, const char* option,
                                const std::string& name) {
  if (tokenizer == nullptr) {
    return InvalidArgument("{} is '{}', but the model has no tokenizer.json that names tokens",
                           option, name);
  }
  const std::optional<int32_t> id = tokenizer->TokenToId(name);
  if (!id || !tokenizer->IsSpecial(*id)) {
    return InvalidArgument(
        "{} is '{}': the tokenizer has no such special token; NLLB's languages are named like "
        "eng_Latn",
        option, name);
  }
  return *id;
}

// A special token that ends no text: NLLB's sources begin, or of old end, with their language.
bool NamesLanguage(const ModelConfig& config, const Tokenizer& tokenizer, int32_t id) {
  const auto& ends = config.eos_ids;
  return tokenizer.IsSpecial(id) && std::find(ends.begin(), ends.end(), id) == ends.end();
}

}  // namespace

absl::StatusOr<SourcePrompt> MakeSourcePrompt(const ModelConfig& config, const Tokenizer* tokenizer,
                                              const SourceOptions& options,
                                              std::span<const int32_t> source) {
  if (source.empty()) return InvalidArgument("the source is empty: give at least one token");
  SourcePrompt prompt;
  prompt.tokens.assign(source.begin(), source.end());
  if (!options.source_language.empty()) {
    FM_ASSIGN_OR_RETURN(const int32_t language,
                        TokenOf(tokenizer, "source_language", options.source_language));
    if (NamesLanguage(config, *tokenizer, prompt.tokens.front())) {
      prompt.tokens.front() = language;
    } else if (NamesLanguage(config, *tokenizer, prompt.tokens.back())) {
      prompt.tokens.back() = language;
    } else {
      prompt.tokens.insert(prompt.tokens.begin(), language);
    }
  }
  prompt.source = std::ssize(prompt.tokens);
  if (config.encoder.decoder_start < 0) {
    return InvalidArgument(
        "config.json names no decoder_start_token_id, with which the output begins: add it");
  }
  prompt.tokens.push_back(config.encoder.decoder_start);
  int32_t forced = options.forced_bos.value_or(config.encoder.forced_bos);
  if (!options.target_language.empty()) {
    if (options.forced_bos) {
      return InvalidArgument("give target_language or forced_bos_token_id, not both");
    }
    FM_ASSIGN_OR_RETURN(forced, TokenOf(tokenizer, "target_language", options.target_language));
  }
  if (forced >= config.vocab) {
    return InvalidArgument("forced_bos_token_id is {}: ids of this model are 0 to {}", forced,
                           config.vocab - 1);
  }
  if (forced < 0) return prompt;
  prompt.tokens.push_back(forced);
  prompt.begun = 1;
  return prompt;
}

}  // namespace folkmoot
