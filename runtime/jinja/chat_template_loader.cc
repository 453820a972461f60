// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/checkpoint/gguf_model.h"
#include "runtime/file.h"
#include "runtime/jinja/chat_template.h"
#include "runtime/tokenizer/gguf_tokenizer.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr uintmax_t kMaxFileBytes = uintmax_t{64} << 20;
constexpr std::array<const char*, 7> kNamedTokens = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

// nullopt: no such file.
absl::StatusOr<std::optional<std::string>> ReadIfThere(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::optional<std::string>();
  if (fs::file_size(path, error) > kMaxFileBytes || error) {
    return InvalidArgument("{}: not a file of at most {} bytes", path.string(), kMaxFileBytes);
  }
  return ReadFileIfThere(path.string(), FaultPoint::kConfigRead);
}

// An empty object when the file is not there.
absl::StatusOr<Json> ReadObject(const fs::path& path) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadIfThere(path));
  if (!text) return Json::object();
  Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return InvalidArgument("{}: not a JSON object", path.string());
  return json;
}

// "x" or {"content": "x", ...}; nullopt for anything else.
std::optional<std::string> TokenText(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_object()) return std::nullopt;
  const auto content = json.find("content");
  if (content == json.end() || !content->is_string()) return std::nullopt;
  return content->get<std::string>();
}

void AddTokens(const Json& config, SpecialTokenTexts* tokens) {
  const auto add = [tokens](const std::string& name, const Json& value) {
    const bool known = std::any_of(tokens->begin(), tokens->end(),
                                   [&](const auto& entry) { return entry.first == name; });
    if (const auto text = TokenText(value); text && !known) tokens->emplace_back(name, *text);
  };
  for (const char* name : kNamedTokens) {
    if (const auto found = config.find(name); found != config.end()) add(name, *found);
  }
  for (const auto& [name, value] : config.items()) {  // "image_token", ... of some models
    if (name.size() > 6 && name.ends_with("_token")) add(name, value);
  }
  const auto extra = config.find("extra_special_tokens");
  if (extra == config.end() || !extra->is_object()) return;
  for (const auto& [name, value] : extra->items()) add(name, value);
}

struct Source {
  std::string text;
  std::string name;
};
struct Sources {
  std::optional<Source> standard;
  std::optional<Source> tool_use;
};

absl::Status SourcesOfConfig(const Json& config, const std::string& path, Sources* sources) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return absl::OkStatus();
  const std::string name = path + ": chat_template";
  if (found->is_string()) {
    sources->standard = Source{found->get<std::string>(), name};
    return absl::OkStatus();
  }
  if (!found->is_array()) return InvalidArgument("{} must be a string or a list", name);
  for (const Json& entry : *found) {
    const bool right = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                       entry.contains("template") && entry["template"].is_string();
    if (!right) return InvalidArgument("{}: an entry has no \"name\" and \"template\"", name);
    Source source{entry["template"].get<std::string>(),
                  fmt::format("{} \"{}\"", name, entry["name"].get<std::string>())};
    if (entry["name"] == "default")
      sources->standard = std::move(source);
    else if (entry["name"] == "tool_use")
      sources->tool_use = std::move(source);
  }
  return absl::OkStatus();
}

absl::StatusOr<ChatTemplates> ParseAll(const Sources& sources, const SpecialTokenTexts& tokens) {
  ChatTemplates templates;
  FM_ASSIGN_OR_RETURN(templates.standard,
                      ChatTemplate::Parse(sources.standard->text, sources.standard->name, tokens));
  if (sources.tool_use) {
    FM_ASSIGN_OR_RETURN(templates.tool_use, ChatTemplate::Parse(sources.tool_use->text,
                                                                sources.tool_use->name, tokens));
  }
  return templates;
}

absl::StatusOr<ChatTemplates> TemplatesOfGguf(const std::string& path) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufModel> model, GgufModel::Open(path));
  FM_ASSIGN_OR_RETURN(const std::string text, GgufTokenizerConfig(*model));
  const Json config = Json::parse(text, nullptr, false);
  Sources sources;
  FM_RETURN_IF_ERROR(SourcesOfConfig(config, path, &sources));
  if (!sources.standard) {
    return NotFound(
        "{}: the model has no chat template (key 'tokenizer.chat_template'); use "
        "completions instead of chat, or give a template",
        path);
  }
  SpecialTokenTexts tokens;
  AddTokens(config, &tokens);
  return ParseAll(sources, tokens);
}

}  // namespace

absl::StatusOr<ChatTemplates> LoadChatTemplates(const std::string& model) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(model));
  if (gguf) return TemplatesOfGguf(*gguf);
  const std::string& directory = model;
  const fs::path root(directory);
  const fs::path config_path = root / "tokenizer_config.json";
  FM_ASSIGN_OR_RETURN(const Json config, ReadObject(config_path));
  Sources sources;
  const fs::path file = root / "chat_template.jinja";
  FM_ASSIGN_OR_RETURN(std::optional<std::string> text, ReadIfThere(file));
  if (text) {
    sources.standard = Source{*std::move(text), file.string()};
    const fs::path tool_file = root / "additional_chat_templates" / "tool_use.jinja";
    FM_ASSIGN_OR_RETURN(std::optional<std::string> tool_text, ReadIfThere(tool_file));
    if (tool_text) sources.tool_use = Source{*std::move(tool_text), tool_file.string()};
  } else {
    FM_RETURN_IF_ERROR(SourcesOfConfig(config, config_path.string(), &sources));
  }
  if (!sources.standard) {
    return NotFound(
        "{}: the model has no chat template (chat_template.jinja, or \"chat_template\" in "
        "tokenizer_config.json); use completions instead of chat, or give a template",
        directory);
  }
  SpecialTokenTexts tokens;
  AddTokens(config, &tokens);
  FM_ASSIGN_OR_RETURN(const Json map, ReadObject(root / "special_tokens_map.json"));
  AddTokens(map, &tokens);
  return ParseAll(sources, tokens);
}

}  // namespace folkmoot
