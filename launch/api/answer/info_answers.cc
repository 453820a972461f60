// SPDX-License-Identifier: Apache-2.0
#include "launch/api/answer/info_answers.h"

#include "launch/api/common/json_body.h"
#include "launch/api/request/field_reader.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

Json ModelJson(const ServedModel& model, const std::string& name) {
  return {{"id", name},
          {"object", "model"},
          {"created", model.options().created},
          {"owned_by", "folkmoot"},
          {"root", model.options().root},
          {"parent", nullptr},
          {"max_model_len", model.options().context},
          {"permission", Json::array()}};
}

absl::StatusOr<std::vector<int32_t>> TokensOf(const Fields& fields, const ServedModel& model) {
  const Json* prompt = fields.Get("prompt");
  const Json* messages = fields.Get("messages");
  const auto content = fields.String("content");
  if ((prompt != nullptr ? 1 : 0) + (messages != nullptr ? 1 : 0) + (content ? 1 : 0) != 1) {
    return BadField("prompt", "give exactly one of prompt, content and messages");
  }
  if (messages != nullptr) {
    FM_ASSIGN_OR_RETURN(const RenderedChat chat, RenderChat(fields, model));
    return model.EncodeChat(chat, fields.Boolean("add_special_tokens", false),
                            /*any_length=*/true);
  }
  const bool parse = fields.Boolean("parse_special", true);
  if (content) {
    return model.Encode(*content, fields.Boolean("add_special", false), parse, /*any_length=*/true,
                        "content");
  }
  if (!prompt->is_string()) return BadField("prompt", "prompt: expected a string");
  return model.Encode(prompt->get_ref<const std::string&>(),
                      fields.Boolean("add_special_tokens", true), parse, /*any_length=*/true,
                      "prompt");
}

}  // namespace

InfoAnswer TellModels(const ServedModel& model, const HttpRequest&) {
  Json list = {{"object", "list"}, {"data", Json::array()}};
  for (const std::string& name : model.options().names) {
    list["data"].push_back(ModelJson(model, name));
  }
  return list;
}

InfoAnswer TellModel(const ServedModel& model, const HttpRequest& request) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string name = request.path.substr(std::min(kPrefix.size(), request.path.size()));
  if (model.Serves(name)) return ModelJson(model, name);
  return WithCode(WithParam(NotFound("The model `{}` does not exist.", name), "model"),
                  "model_not_found");
}

InfoAnswer TellTokenize(const ServedModel& model, const HttpRequest& request) {
  FM_ASSIGN_OR_RETURN(const Json body, ParseBody(request.body));
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kTokenize));
  FM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, TokensOf(fields, model));
  Json json = {{"count", ids.size()},
               {"max_model_len", model.options().context},
               {"tokens", ids},
               {"token_strs", nullptr}};
  if (fields.Boolean("return_token_strs", false) || fields.Boolean("with_pieces", false)) {
    json["token_strs"] = Json::array();
    for (const int32_t id : ids) json["token_strs"].push_back(model.tokenizer()->IdToToken(id));
  }
  return json;
}

InfoAnswer TellDetokenize(const ServedModel& model, const HttpRequest& request) {
  FM_ASSIGN_OR_RETURN(const Json body, ParseBody(request.body));
  FM_ASSIGN_OR_RETURN(const Fields fields, Fields::Check(body, kDetokenize));
  const Json* tokens = fields.Get("tokens");
  if (tokens == nullptr) return BadField("tokens", "tokens: it is missing");
  FM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                      ReadIds(*tokens, model.options().vocab, "tokens"));
  if (model.tokenizer() == nullptr) {
    return BadField("tokens", "tokens: this model has no tokenizer.json");
  }
  const std::string text = model.Decode(ids, /*skip_special_tokens=*/false);
  return Json{{"prompt", text}, {"content", text}};
}

InfoAnswer TellTokenizerInfo(const ServedModel& model, const HttpRequest&) {
  if (model.tokenizer() == nullptr) return NotFound("this model has no tokenizer.json");
  Json json = Json::parse(model.options().tokenizer_config, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) json = Json::object();
  const auto set = [&](const char* name, std::optional<int32_t> id) {
    json[name] = id ? Json(model.tokenizer()->IdToToken(*id)) : Json();
  };
  set("bos_token", model.tokenizer()->bos_id());
  set("eos_token", model.tokenizer()->eos_id());
  set("pad_token", model.tokenizer()->pad_id());
  const std::string& source = model.options().chat_template;
  json["chat_template"] = source.empty() ? Json() : Json(source);
  return json;
}

Json ModelInfoJson(const ServedModel& model) {
  return {{"model_path", model.options().root},
          {"tokenizer_path", model.options().root},
          {"is_generation", true},
          {"preferred_sampling_params", nullptr},
          {"weight_version", "default"}};
}

InfoAnswer TellModelInfo(const ServedModel& model, const HttpRequest&) {
  return ModelInfoJson(model);
}

}  // namespace folkmoot
