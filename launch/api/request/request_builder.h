// SPDX-License-Identifier: Apache-2.0
// From the body of an HTTP request to an ApiRequest. Errors are those of docs/serving.md, with the
// field at fault.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "launch/api/common/served_model.h"
#include "launch/api/request/api_request.h"
#include "launch/api/request/field_reader.h"
#include "launch/http/http.h"
#include "nlohmann/json_fwd.hpp"

namespace folkmoot {

// What the readers below may ask for.
struct BuildContext {
  const ServedModel* model;
  const HttpRequest* http;
  uint64_t salt_key = 0;    // secret of this process: keys hashes of tenants and salts
  uint64_t fresh_seed = 0;  // for a request that names none
  int64_t now = 0;          // seconds since 1970
};

struct BuiltRequest {
  ApiRequest request;
  std::vector<std::string> unknown;  // fields that had no effect
};

absl::StatusOr<BuiltRequest> BuildCompletion(const nlohmann::ordered_json& body,
                                             const BuildContext& context);
absl::StatusOr<BuiltRequest> BuildChat(const nlohmann::ordered_json& body,
                                       const BuildContext& context);
absl::StatusOr<BuiltRequest> BuildGenerate(const nlohmann::ordered_json& body,
                                           const BuildContext& context);
absl::StatusOr<BuiltRequest> BuildEmbedding(const nlohmann::ordered_json& body,
                                            const BuildContext& context);
absl::StatusOr<BuiltRequest> BuildScore(const nlohmann::ordered_json& body,
                                        const BuildContext& context);
absl::StatusOr<BuiltRequest> BuildRerank(const nlohmann::ordered_json& body,
                                         const BuildContext& context);

// Parts of the above.

// Temperature to bad_words: fields that mean the same everywhere.
absl::Status ReadSampling(const Fields& fields, const ServedModel& model, uint64_t fresh_seed,
                          ApiRequest* out);
// use_beam_search to early_stopping; after n is read.
absl::Status ReadBeams(const Fields& fields, ApiRequest* out);
// source_language to forced_bos_token_id.
absl::Status ReadLanguages(const Fields& fields, const ServedModel& model, ApiRequest* out);
// Of a model with an encoder, a prompt is its source: what the output begins with is added.
absl::Status MakeSource(const ServedModel& model, const ApiRequest& request, std::string_view param,
                        ApiPrompt* prompt);
// response_format, structured_outputs and their older names.
absl::Status ReadConstraint(const Fields& fields, const ServedModel& model, Request* out);
// The gate override in canonical form ("a=1,b=2", by name); empty without one.
absl::StatusOr<std::string> ReadGate(const Fields& fields, const ServedModel& model);
// model, id, timeout, priority, cache_salt, gate: whatever the engine is to do.
absl::Status ReadCaller(const Fields& fields, const BuildContext& context,
                        std::string_view id_prefix, ApiRequest* out);
// The same, and stream, logprob forms, echo.
absl::Status ReadCommon(const Fields& fields, const BuildContext& context,
                        std::string_view id_prefix, ApiRequest* out);
// tools, tool_choice and what else decides about reading the output of a chat. After
// ReadConstraint: demanded calls are a form, too.
absl::Status ReadTools(const Fields& fields, const ServedModel& model, ApiRequest* out);
// Whether the tools have the form of tools.
absl::Status CheckTools(const Fields& fields);
// Whether a prompt ends inside of reasoning, or right behind it. `begins_answer`: the template was
// asked for the beginning of the answer (add_generation_prompt).
void SetReasoningStart(const RenderedChat& chat, bool begins_answer, OutputRules* rules);
// A form of the output begins behind the reasoning, where the model has tokens that mark it; else
// there is no reasoning.
void LetReasoningComeFirst(const ServedModel& model, ApiRequest* out);
// The special tokens that a parser looks for become part of the text.
void ShowMarkers(const ServedModel& model, const OutputRules& rules, TextRules* text);
// A chat's messages (and tools) as the prompt's text. Shared with /tokenize.
absl::StatusOr<RenderedChat> RenderChat(const Fields& fields, const ServedModel& model);
// A prompt is a string, a list of strings, a list of ids, or a list of such lists: its parts.
absl::StatusOr<std::vector<const nlohmann::ordered_json*>> SplitPrompts(
    const nlohmann::ordered_json& json, std::string_view param);
// Cuts the prompt where asked, checks its length, and settles max_tokens: `fallback` or what is
// left of the context when the request names none (fallback < 0: all that is left).
absl::Status FitPrompt(const ServedModel& model, const ApiRequest& request,
                       std::optional<int64_t> truncate, int64_t fallback, std::string_view param,
                       ApiPrompt* prompt);

}  // namespace folkmoot
