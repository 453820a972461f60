// SPDX-License-Identifier: Apache-2.0
// POST /v1/completions: reading the body.
#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kDefaultMaxTokens = 16;

}  // namespace

absl::StatusOr<std::vector<const Json*>> SplitPrompts(const Json& json, std::string_view param) {
  std::vector<const Json*> prompts;
  if (json.is_string()) return prompts = {&json};
  if (!json.is_array()) {
    return BadField(param,
                    "{}: expected a string, a list of strings, a list of token ids, or a list of "
                    "such lists",
                    param);
  }
  if (json.empty()) return BadField(param, "{}: it is empty", param);
  if (json.front().is_number()) return prompts = {&json};
  if (json.size() > kMaxPrompts) {
    return BadField(param, "{}: {} prompts, at most {} are allowed", param, json.size(),
                    kMaxPrompts);
  }
  for (const Json& item : json) {
    if (item.type() != json.front().type() || !(item.is_string() || item.is_array())) {
      return BadField(param,
                      "{}: the items of a list must all be strings, all be token ids or all be "
                      "lists of token ids",
                      param);
    }
    prompts.push_back(&item);
  }
  return prompts;
}

absl::StatusOr<BuiltRequest> BuildCompletion(const Json& body, const BuildContext& context) {
  const ServedModel& model = *context.model;
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kCompletions));
  BuiltRequest built{.request = {}, .unknown = fields.unknown()};
  ApiRequest& out = built.request;
  FM_RETURN_IF_ERROR(ReadCommon(fields, context, "cmpl-", &out));
  FM_RETURN_IF_ERROR(ReadSampling(fields, model, context.fresh_seed, &out));
  FM_RETURN_IF_ERROR(ReadConstraint(fields, model, &out.request));
  FM_RETURN_IF_ERROR(ReadLanguages(fields, model, &out));

  const Json* prompt = fields.Get("prompt");
  if (prompt == nullptr) return BadField("prompt", "prompt: it is missing");
  FM_ASSIGN_OR_RETURN(const std::vector<const Json*> parts, SplitPrompts(*prompt, "prompt"));
  const std::optional<int64_t> truncate = fields.Integer("truncate_prompt_tokens");
  const bool special = fields.Boolean("add_special_tokens", true);
  for (const Json* part : parts) {
    ApiPrompt& one = out.prompts.emplace_back();
    if (part->is_string()) {
      one.text = part->get<std::string>();
      one.from_text = true;
      FM_ASSIGN_OR_RETURN(one.ids, model.Encode(one.text, special, /*parse_special=*/true,
                                                truncate.has_value(), "prompt"));
    } else {
      FM_ASSIGN_OR_RETURN(one.ids, ReadIds(*part, model.options().vocab, "prompt"));
    }
    FM_RETURN_IF_ERROR(FitPrompt(model, out, truncate, kDefaultMaxTokens, "prompt", &one));
    if (out.echo && (!one.from_text || truncate)) {
      one.text = model.Decode(one.ids, /*skip_special_tokens=*/false);
    }
  }
  return built;
}

}  // namespace folkmoot
