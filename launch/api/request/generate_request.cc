// SPDX-License-Identifier: Apache-2.0
// POST /generate, SGLang's own endpoint: reading the body.
#include "launch/api/common/json_body.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kDefaultMaxTokens = 128;

absl::Status ReadPrompts(const Fields& fields, const ServedModel& model, ApiRequest* out) {
  const Json* text = fields.Get("text");
  const Json* ids = fields.Get("input_ids");
  if ((text == nullptr) == (ids == nullptr)) {
    return BadField("text", "give exactly one of text and input_ids");
  }
  const char* param = text != nullptr ? "text" : "input_ids";
  const Json& source = text != nullptr ? *text : *ids;
  std::vector<const Json*> parts = {&source};
  out->list = source.is_array() && (text != nullptr || (!source.empty() && source[0].is_array()));
  if (out->list) {
    if (source.empty() || source.size() > kMaxPrompts) {
      return BadField(param, "{}: expected 1 to {} prompts", param, kMaxPrompts);
    }
    parts.clear();
    for (const Json& item : source) parts.push_back(&item);
  }
  for (const Json* part : parts) {
    ApiPrompt& prompt = out->prompts.emplace_back();
    if (text != nullptr) {
      if (!part->is_string()) return BadField(param, "text: expected a string or list of strings");
      prompt.from_text = true;
      FM_ASSIGN_OR_RETURN(prompt.ids,
                          model.Encode(part->get_ref<const std::string&>(), /*special_around=*/true,
                                       /*parse_special=*/true, /*any_length=*/false, param));
    } else {
      FM_ASSIGN_OR_RETURN(prompt.ids, ReadIds(*part, model.options().vocab, param));
    }
    FM_RETURN_IF_ERROR(FitPrompt(model, *out, std::nullopt, kDefaultMaxTokens, param, &prompt));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BuiltRequest> BuildGenerate(const Json& body, const BuildContext& context) {
  const ServedModel& model = *context.model;
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kGenerate));
  BuiltRequest built{.request = {}, .unknown = fields.unknown()};
  ApiRequest& out = built.request;
  FM_RETURN_IF_ERROR(ReadCommon(fields, context, "", &out));

  const Json none = Json::object();
  const Json* sampling = fields.Get("sampling_params");
  FM_ASSIGN_OR_RETURN(const Fields inner, Fields::Check(sampling == nullptr ? none : *sampling,
                                                        kGenerateSampling, "sampling_params."));
  built.unknown.insert(built.unknown.end(), inner.unknown().begin(), inner.unknown().end());
  FM_RETURN_IF_ERROR(ReadSampling(inner, model, context.fresh_seed, &out));
  FM_RETURN_IF_ERROR(ReadConstraint(inner, model, &out.request));

  if (fields.Boolean("return_logprob", false)) {
    out.logprobs = static_cast<int32_t>(fields.Integer("top_logprobs_num").value_or(0));
    out.logprob_start = fields.Integer("logprob_start_len").value_or(-1);
    out.request.logprobs = out.logprobs;
    out.request.prompt_logprobs = out.logprob_start >= 0;
    out.request.top_logprobs = out.logprobs;
    out.text_in_logprobs = fields.Boolean("return_text_in_logprobs", false);
  }
  FM_RETURN_IF_ERROR(ReadPrompts(fields, model, &out));
  return built;
}

}  // namespace folkmoot
