// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_config_objects.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr std::string_view kText = "text_config";
// Of the whole file; text_config may have them instead.
constexpr std::array kOfFile = {"dtype", "torch_dtype", "quantization_config", "eos_token_id"};

// Where the text's keys stand, in `file` or in ConfigFamily::around_text of it.
std::string_view TextObject(const ConfigReader& file, const ConfigFamily& family) {
  const std::string_view authors = family.authors_text;
  return !authors.empty() && !file.HasValue(kText) && file.HasValue(authors) ? authors : kText;
}

// `object` is where the text's keys stand.
absl::Status CheckBesideText(const ConfigReader& file, const ConfigFamily& family,
                             std::string_view object) {
  constexpr std::array kRead = {"architectures", "model_type", "tie_word_embeddings"};
  const auto is = [](const auto& names, std::string_view key) {
    return std::find(names.begin(), names.end(), key) != names.end();
  };
  std::vector<std::string_view> left;
  if (family.text_left_outside || object == family.authors_text) {
    left = HonouredKeys(family);
    for (const FixedKey& fixed : family.fixed) left.push_back(fixed.key);
  }
  for (const auto& [key, value] : file.object().items()) {
    if (key == object || is(kRead, key) || is(kOfFile, key) || is(family.beside_text, key) ||
        is(left, key)) {
      continue;
    }
    if (IsHarmlessKey(key)) continue;
    return file.Wrong(key, fmt::format("{} has no such key beside {}; remove it if it is known to "
                                       "change nothing",
                                       family.architecture, object));
  }
  return absl::OkStatus();
}

// Keys that authors have beside the text's object join it.
absl::Status TakeOutside(const ConfigReader& file, const ConfigFamily& family, json& text) {
  for (const std::string_view key : family.authors_outside) {
    if (!file.HasValue(key)) continue;
    const json& outside = *file.Find(key);
    const json& inside = text.emplace(std::string(key), outside).first.value();
    if (inside == outside) continue;
    return file.Wrong(key, fmt::format("it contradicts that of {}", family.authors_text));
  }
  return absl::OkStatus();
}

absl::StatusOr<json> TextKeys(const ConfigReader& file, const ConfigFamily& family) {
  const std::string_view object = TextObject(file, family);
  FM_RETURN_IF_ERROR(CheckBesideText(file, family, object));
  if (!file.HasValue(object) || !file.Find(object)->is_object()) {
    return file.Wrong(object, "it must be an object");
  }
  json text = *file.Find(object);
  if (object == family.authors_text) FM_RETURN_IF_ERROR(TakeOutside(file, family, text));
  const ConfigReader keys(text, fmt::format("{}{}.", file.prefix(), object));
  FM_ASSIGN_OR_RETURN(const auto type, keys.OptionalString("model_type"));
  const std::string_view other = family.other_text_model_type;
  if (type && *type != family.text_model_type && (other.empty() || *type != other)) {
    return keys.Wrong("model_type", fmt::format("that of {} is '{}'", family.architecture,
                                                family.text_model_type));
  }
  FM_ASSIGN_OR_RETURN(const bool tied, keys.Bool("tie_word_embeddings", family.tied_embeddings));
  FM_ASSIGN_OR_RETURN(const bool outer, file.Bool("tie_word_embeddings", tied));
  if (outer != tied) {
    return file.Wrong("tie_word_embeddings", fmt::format("it contradicts that of {}", object));
  }
  const bool typed = keys.HasValue("dtype") || keys.HasValue("torch_dtype");
  for (const char* const key : kOfFile) {
    if (!file.HasValue(key)) continue;
    const bool counts = std::string_view(key) == "quantization_config" ||
                        (std::string_view(key) == "eos_token_id" && family.eos_counts);
    if (counts && keys.HasValue(key) && *keys.Find(key) != *file.Find(key)) {
      return keys.Wrong(key, fmt::format("it contradicts the one beside {}", object));
    }
    const bool type_of_text = std::string_view(key).ends_with("dtype") && typed;
    if (!type_of_text) text[key] = *file.Find(key);
  }
  return text;
}

// {"ffn_config": {"moe_top_k": 4}} becomes {"ffn_config.moe_top_k": 4}.
absl::Status Unfold(const ConfigReader& keys, std::string_view name, json& object) {
  if (!keys.Has(name)) return absl::OkStatus();
  const json inner = *keys.Find(name);
  if (!inner.is_object() && !inner.is_null()) return keys.Wrong(name, "it must be an object");
  object.erase(std::string(name));
  for (const auto& [key, value] : inner.items()) object[fmt::format("{}.{}", name, key)] = value;
  return absl::OkStatus();
}

// The file with what stands in ConfigFamily::around_text brought out of it; keys beside that object
// describe other models.
absl::StatusOr<json> WithoutAround(const ConfigReader& file, const ConfigFamily& family) {
  const std::string around(family.around_text);
  if (!file.HasValue(around) || !file.Find(around)->is_object()) {
    return file.Wrong(around, "it must be an object");
  }
  FM_RETURN_IF_ERROR(CheckBesideText(file, family, around));
  json object = *file.Find(around);
  for (const char* const key : {"architectures", "model_type"}) {
    object.erase(key);
    if (file.Has(key)) object[key] = *file.Find(key);
  }
  for (const char* const key : kOfFile) {
    if (!object.contains(key) && file.HasValue(key)) object[key] = *file.Find(key);
  }
  return object;
}

// The object with the keys of the model that is run.
absl::StatusOr<json> ModelKeys(const ConfigReader& file, const ConfigFamily& family) {
  if (!family.around_text.empty()) {
    FM_ASSIGN_OR_RETURN(const json inner, WithoutAround(file, family));
    return TextKeys(ConfigReader(inner, fmt::format("{}{}.", file.prefix(), family.around_text)),
                    family);
  }
  if (!family.text_model_type.empty()) return TextKeys(file, family);
  return file.object();
}

}  // namespace

absl::StatusOr<json> KeysInOneObject(const ConfigReader& file, const ConfigFamily& family) {
  FM_ASSIGN_OR_RETURN(json object, ModelKeys(file, family));
  const std::string prefix = file.prefix() + ObjectOfKeys(file, family);
  for (const std::string_view name : family.nested) {
    FM_RETURN_IF_ERROR(Unfold(ConfigReader(object, prefix), name, object));
  }
  return object;
}

std::string ObjectOfKeys(const ConfigReader& file, const ConfigFamily& family) {
  if (family.text_model_type.empty()) return "";
  if (family.around_text.empty()) return fmt::format("{}.", TextObject(file, family));
  return fmt::format("{}.{}.", family.around_text, kText);
}

}  // namespace folkmoot
