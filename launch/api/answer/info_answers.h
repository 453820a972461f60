// SPDX-License-Identifier: Apache-2.0
// Answers about the model and its tokenizer, which need no engine.
#pragma once

#include "launch/api/common/served_model.h"
#include "launch/http/http.h"
#include "nlohmann/json_fwd.hpp"
#include "runtime/status.h"

namespace folkmoot {

using InfoAnswer = absl::StatusOr<nlohmann::ordered_json>;

InfoAnswer TellModels(const ServedModel& model, const HttpRequest& request);
InfoAnswer TellModel(const ServedModel& model, const HttpRequest& request);
// {prompt | content | messages} -> {count, max_model_len, tokens, token_strs}
InfoAnswer TellTokenize(const ServedModel& model, const HttpRequest& request);
// {tokens} -> {prompt, content}
InfoAnswer TellDetokenize(const ServedModel& model, const HttpRequest& request);
// tokenizer_config.json with its special tokens as plain strings, and the chat template in use.
InfoAnswer TellTokenizerInfo(const ServedModel& model, const HttpRequest& request);
InfoAnswer TellModelInfo(const ServedModel& model, const HttpRequest& request);

nlohmann::ordered_json ModelInfoJson(const ServedModel& model);

}  // namespace folkmoot
