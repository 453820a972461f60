// SPDX-License-Identifier: Apache-2.0
#include "launch/generation_config.h"

#include "nlohmann/json.hpp"
#include "runtime/checkpoint/gguf_model.h"
#include "runtime/file.h"

namespace folkmoot {

namespace {

absl::StatusOr<GenerationConfig> OfGguf(const std::string& path) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufModel> model, GgufModel::Open(path));
  GenerationConfig config;
  const auto read = [&](const char* key, auto* value) -> absl::Status {
    FM_ASSIGN_OR_RETURN(const auto number, model->Number(fmt::format("general.sampling.{}", key)));
    if (number) *value = static_cast<std::remove_pointer_t<decltype(value)>>(*number);
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(read("temp", &config.temperature));
  FM_RETURN_IF_ERROR(read("top_p", &config.top_p));
  FM_RETURN_IF_ERROR(read("top_k", &config.top_k));
  FM_RETURN_IF_ERROR(read("min_p", &config.min_p));
  FM_RETURN_IF_ERROR(read("penalty_repeat", &config.repetition_penalty));
  return config;
}

}  // namespace

absl::StatusOr<GenerationConfig> LoadGenerationConfig(const std::string& model) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(model));
  if (gguf) return OfGguf(*gguf);
  const std::string path = model + "/generation_config.json";
  GenerationConfig config;
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> text,
                      ReadFileIfThere(path, FaultPoint::kConfigRead));
  if (!text) return config;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidArgument("{}: not a JSON object", path);
  const auto read = [&](const char* key, auto* value) -> absl::Status {
    if (!json.contains(key) || json[key].is_null()) return absl::OkStatus();
    if (!json[key].is_number()) {
      return InvalidArgument("{}: '{}' is {}; expected a number", path, key, json[key].dump());
    }
    *value = json[key];
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(read("temperature", &config.temperature));
  FM_RETURN_IF_ERROR(read("top_p", &config.top_p));
  FM_RETURN_IF_ERROR(read("top_k", &config.top_k));
  FM_RETURN_IF_ERROR(read("min_p", &config.min_p));
  FM_RETURN_IF_ERROR(read("repetition_penalty", &config.repetition_penalty));
  config.do_sample = !(json.contains("do_sample") && json["do_sample"] == false);
  return config;
}

}  // namespace folkmoot
