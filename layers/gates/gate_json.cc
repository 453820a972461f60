// SPDX-License-Identifier: Apache-2.0
// GateConfig from and to text. SetField is the heart: one JSON value into one named field.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "layers/gates/gate_config.h"
#include "layers/gates/gate_fields.h"
#include "layers/gates/presets.h"
#include "nlohmann/json.hpp"
#include "runtime/nearest.h"

namespace folkmoot {
namespace {

using Json = nlohmann::json;

// What the user wrote, short enough for a message.
std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, 37) + "...";
  return text;
}

absl::Status WrongType(std::string_view field, const Json& value, std::string_view wanted) {
  return InvalidArgument("gate: {}={} must be {}", field, Shown(value), wanted);
}

template <typename T>
absl::Status SetInteger(std::string_view field, const Json& value, T* out) {
  if (!value.is_number_integer()) return WrongType(field, value, "an integer");
  if (value.is_number_unsigned()) {
    const auto wide = value.get<uint64_t>();
    if (wide <= static_cast<uint64_t>(std::numeric_limits<T>::max())) {
      *out = static_cast<T>(wide);
      return absl::OkStatus();
    }
  } else if (std::is_signed_v<T>) {
    const auto wide = value.get<int64_t>();
    if (wide >= static_cast<int64_t>(std::numeric_limits<T>::min())) {
      *out = static_cast<T>(wide);
      return absl::OkStatus();
    }
  }
  return InvalidArgument("gate: {}={} must be between {} and {}", field, Shown(value),
                         std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
}

absl::Status Set(std::string_view field, const Json& value, int* out) {
  return SetInteger(field, value, out);
}
absl::Status Set(std::string_view field, const Json& value, int64_t* out) {
  return SetInteger(field, value, out);
}
absl::Status Set(std::string_view field, const Json& value, uint64_t* out) {
  return SetInteger(field, value, out);
}
absl::Status Set(std::string_view field, const Json& value, bool* out) {
  if (!value.is_boolean()) return WrongType(field, value, "true or false");
  *out = value.get<bool>();
  return absl::OkStatus();
}
absl::Status Set(std::string_view field, const Json& value, double* out) {
  if (value == "-inf") {  // group_fill; Validate refuses it elsewhere
    *out = -std::numeric_limits<double>::infinity();
    return absl::OkStatus();
  }
  if (!value.is_number()) return WrongType(field, value, "a number");
  *out = value.get<double>();
  return absl::OkStatus();
}
absl::Status Set(std::string_view field, const Json& value, std::vector<float>* out) {
  out->clear();
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return WrongType(field, value, "a list of numbers, or null");
  for (const Json& item : value) {
    if (!item.is_number()) return WrongType(field, value, "a list of numbers, or null");
    out->push_back(static_cast<float>(item.get<double>()));
  }
  return absl::OkStatus();
}
// [[e, ...], ...] by token id; the rows must have one length, which Validate compares with top_k.
absl::Status Set(std::string_view field, const Json& value, std::vector<int32_t>* out) {
  constexpr std::string_view kWanted = "a list of lists of expert ids, all of one length, or null";
  out->clear();
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return WrongType(field, value, kWanted);
  for (const Json& row : value) {
    if (!row.is_array() || row.size() != value.front().size()) {
      return WrongType(field, value, kWanted);
    }
    for (const Json& item : row) {
      int32_t expert = 0;
      FM_RETURN_IF_ERROR(SetInteger(field, item, &expert));
      out->push_back(expert);
    }
  }
  return absl::OkStatus();
}
template <typename E>
requires std::is_enum_v<E> absl::Status Set(std::string_view field, const Json& value, E* out) {
  const auto* name = value.get_ptr<const std::string*>();  // null: not a string
  std::string choices;
  for (const auto& choice : NamesOf(E{})) {
    if (name != nullptr && *name == choice.name) {
      *out = choice.value;
      return absl::OkStatus();
    }
    choices += (choices.empty() ? "" : ", ") + std::string(choice.name);
  }
  return WrongType(field, value, "one of " + choices);
}

// "sequence_chunk(64)" sets group and group_size at once.
bool SplitChunk(const Json& value, Json* size) {
  constexpr std::string_view kOpen = "sequence_chunk(";
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  if (text.rfind(kOpen, 0) != 0 || text.back() != ')') return false;
  *size = Json::parse(text.substr(kOpen.size(), text.size() - kOpen.size() - 1), nullptr, false);
  return size->is_number_integer();
}

absl::Status SetField(std::string_view name, const Json& value, GateConfig* config) {
  if (Json size; name == "group" && SplitChunk(value, &size)) {
    config->group = CapacityGroup::kSequenceChunk;
    return Set("group_size", size, &config->group_size);
  }
  std::vector<std::string> names;
  absl::Status status;
  bool found = false;
  VisitGateFields(*config, [&](std::string_view field, auto& target) {
    names.emplace_back(field);
    if (field != name) return;
    found = true;
    status = Set(field, value, &target);
  });
  if (found) return status;
  const std::string* nearest = Nearest(name, names);
  return InvalidArgument("gate: unknown field '{}'; {}", name,
                         nearest != nullptr ? fmt::format("did you mean '{}'?", *nearest)
                                            : fmt::format("known: {}", fmt::join(names, ", ")));
}

absl::Status CheckTableWidth(const Json& object, const GateConfig& config) {
  const auto table = object.find("token_table");
  if (table == object.end() || table->is_null() || table->empty()) return absl::OkStatus();
  const size_t width = table->front().size();
  if (width == static_cast<size_t>(config.top_k)) return absl::OkStatus();
  return InvalidArgument("gate: the rows of token_table have {} ids; give top_k={} of them", width,
                         config.top_k);
}

struct Item {
  std::string key;  // empty for a bare word
  Json value;
};

// Splits at commas outside brackets. A value that is no JSON is a string.
absl::StatusOr<std::vector<Item>> SplitItems(std::string_view text) {
  std::vector<Item> items;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && (text[i] == '[' || text[i] == ']')) depth += text[i] == '[' ? 1 : -1;
    if (i < text.size() && (text[i] != ',' || depth > 0)) continue;
    std::string_view word = text.substr(begin, i - begin);
    begin = i + 1;
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    const size_t equals = word.find('=');
    if (word.empty() || equals == 0 || equals + 1 == word.size()) {
      return InvalidArgument("gate: '{}' is not KEY=VALUE[,KEY=VALUE...]", text);
    }
    Item& item = items.emplace_back();
    if (equals != std::string_view::npos) item.key = word.substr(0, equals);
    const std::string_view value = word.substr(equals == std::string_view::npos ? 0 : equals + 1);
    item.value = Json::parse(value, nullptr, false);
    if (item.value.is_discarded()) item.value = std::string(value);
  }
  return items;
}

}  // namespace

absl::StatusOr<GateConfig> ParseGateConfig(std::string_view json, int num_experts) {
  const Json object = Json::parse(json, nullptr, false);
  if (object.is_discarded()) return InvalidArgument("gate: not valid JSON: {}", json.substr(0, 60));
  if (!object.is_object()) {
    return InvalidArgument("gate: {} must be a JSON object of fields", Shown(object));
  }
  GateConfig config;
  config.num_experts = num_experts;
  if (const auto own = object.find("num_experts"); own != object.end()) {
    FM_RETURN_IF_ERROR(Set("num_experts", *own, &config.num_experts));
  }
  if (const auto preset = object.find("preset"); preset != object.end()) {
    if (!preset->is_string()) return WrongType("preset", *preset, "the name of a preset");
    FM_ASSIGN_OR_RETURN(config, MakePreset(preset->get<std::string>(), config.num_experts));
  }
  for (const auto& [name, value] : object.items()) {
    if (name != "preset") FM_RETURN_IF_ERROR(SetField(name, value, &config));
  }
  FM_RETURN_IF_ERROR(CheckTableWidth(object, config));
  return config;
}

absl::Status ApplyOverrides(std::string_view overrides, GateConfig* config) {
  FM_ASSIGN_OR_RETURN(const std::vector<Item> items, SplitItems(overrides));
  GateConfig result = *config;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto& [key, value] = items[i];
    if (!key.empty() && key != "preset") {
      FM_RETURN_IF_ERROR(SetField(key, value, &result));
      continue;
    }
    if (i > 0 && key == "preset") {
      return InvalidArgument("gate: preset={} must come first; it replaces all fields",
                             Shown(value));
    }
    if (i > 0 || !value.is_string()) {
      return InvalidArgument("gate: '{}' is not KEY=VALUE", Shown(value));
    }
    FM_ASSIGN_OR_RETURN(result, MakePreset(value.get<std::string>(), result.num_experts));
  }
  *config = std::move(result);
  return absl::OkStatus();
}

std::string ToJson(const GateConfig& config) {
  nlohmann::ordered_json object;
  VisitGateFields(config, [&](std::string_view field, const auto& value) {
    using T = std::decay_t<decltype(value)>;
    auto& out = object[std::string(field)];
    if constexpr (std::is_enum_v<T>) {
      for (const auto& choice : NamesOf(T{})) {
        if (choice.value == value && out.is_null()) out = choice.name;
      }
    } else if constexpr (std::is_same_v<T, std::vector<float>>) {
      if (!value.empty()) out = value;
    } else if constexpr (std::is_same_v<T, std::vector<int32_t>>) {
      const auto width = static_cast<size_t>(std::max(config.top_k, 1));
      for (size_t i = 0; i < value.size(); ++i) out[i / width].push_back(value[i]);
    } else if constexpr (std::is_same_v<T, double>) {
      if (std::isfinite(value)) {
        out = value;
      } else {
        out = "-inf";
      }
    } else {
      out = value;
    }
  });
  return object.dump();
}

}  // namespace folkmoot
