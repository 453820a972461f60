// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_config_json.h"

#include <cmath>
#include <set>
#include <utility>

#include "runtime/json_text.h"

namespace folkmoot {
namespace {

using nlohmann::json;

std::optional<int64_t> AsInt(const json& value, IntRange range) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) return std::nullopt;
  const auto number = value.get<int64_t>();
  if (number < range.min || number > range.max) return std::nullopt;
  return number;
}

std::optional<double> AsNumber(const json& value, double above) {
  if (!value.is_number()) return std::nullopt;
  const auto number = value.get<double>();
  if (!std::isfinite(number) || !(number > above)) return std::nullopt;
  return number;
}

std::string WantedInt(IntRange range) {
  return fmt::format("it must be an integer from {} to {}", range.min, range.max);
}

std::string WantedNumber(double above) {
  return std::isinf(above) ? "it must be a number"
                           : fmt::format("it must be a number greater than {}", above);
}

// Transformers 5 writes {"__float__": "Infinity"} for numbers that JSON does not have. Called for
// each object as it ends, since a walk over all of them would follow any depth.
void UntagNonNumber(json& object) {
  const auto tagged = object.find("__float__");
  if (tagged == object.end() || object.size() != 1) return;
  json number = std::move(*tagged);
  object = std::move(number);
}

}  // namespace

absl::StatusOr<json> ParseConfigJson(std::string_view text, std::string_view file) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::string twice;
  const json::parser_callback_t check = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) {
      keys.pop_back();
      UntagNonNumber(value);
    }
    if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second && twice.empty()) twice = key;
    }
    return true;
  };
  json root;
  try {
    root = json::parse(QuoteNonNumbers(text), check);
  } catch (const json::exception& error) {  // the library's only way to say where
    return InvalidArgument("{}: not JSON: {}", file, error.what());
  }
  if (!twice.empty()) return InvalidArgument("{}: key '{}' stands twice", file, twice);
  if (!root.is_object()) return InvalidArgument("{}: must be a JSON object", file);
  return root;
}

std::string ShowJson(const json& value) {
  constexpr size_t kLongest = 60;
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

std::string_view ConfigReader::Spelled(std::string_view key) const {
  for (const KeyAlias& alias : aliases_) {
    if (alias.usual != key || (alias.both && !object_.contains(alias.own))) continue;
    return alias.own;
  }
  return key;
}

const json* ConfigReader::Find(std::string_view key) const {
  const auto found = object_.find(Spelled(key));
  return found == object_.end() ? nullptr : &*found;
}

bool ConfigReader::HasValue(std::string_view key) const {
  const json* value = Find(key);
  return value != nullptr && !value->is_null();
}

absl::Status ConfigReader::Wrong(std::string_view key, std::string_view wanted) const {
  const json* value = Find(key);
  return InvalidArgument("{}{}' is {}; {}", prefix_, Spelled(key),
                         value == nullptr ? "missing" : ShowJson(*value), wanted);
}

absl::Status ConfigReader::WrongLength(std::string_view key, size_t layers) const {
  return Wrong(key, fmt::format("it must have one entry for each of the {} layers", layers));
}

absl::StatusOr<int64_t> ConfigReader::Int(std::string_view key, int64_t absent,
                                          IntRange range) const {
  if (!Has(key)) return absent;
  const std::optional<int64_t> number = AsInt(*Find(key), range);
  if (!number) return Wrong(key, WantedInt(range));
  return *number;
}

absl::StatusOr<std::optional<int64_t>> ConfigReader::OptionalInt(std::string_view key,
                                                                 IntRange range) const {
  if (!HasValue(key)) return std::optional<int64_t>();
  const std::optional<int64_t> number = AsInt(*Find(key), range);
  if (!number) return Wrong(key, WantedInt(range) + " or null");
  return number;
}

absl::StatusOr<int64_t> ConfigReader::IntOrNull(std::string_view key, int64_t absent,
                                                IntRange range) const {
  if (Has(key) && !HasValue(key)) return 0;
  return Int(key, absent, range);
}

absl::StatusOr<bool> ConfigReader::Bool(std::string_view key, bool absent) const {
  const json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Wrong(key, "it must be true or false");
  return value->get<bool>();
}

absl::StatusOr<std::optional<std::string>> ConfigReader::OptionalString(
    std::string_view key) const {
  if (!HasValue(key)) return std::optional<std::string>();
  const json* value = Find(key);
  if (!value->is_string()) return Wrong(key, "it must be a string");
  return std::optional<std::string>(value->get<std::string>());
}

absl::StatusOr<double> ConfigReader::Number(std::string_view key, double absent,
                                            double above) const {
  if (!Has(key)) return absent;
  const std::optional<double> number = AsNumber(*Find(key), above);
  if (!number) return Wrong(key, WantedNumber(above));
  return *number;
}

absl::StatusOr<float> ConfigReader::Float(std::string_view key, float absent, double above) const {
  if (!Has(key)) return absent;
  FM_ASSIGN_OR_RETURN(const double number, Number(key, 0.0, above));
  const auto value = static_cast<float>(number);
  if (!std::isfinite(value) || !(static_cast<double>(value) > above)) {
    return Wrong(key, "it does not fit a float32");
  }
  return value;
}

absl::StatusOr<float> ConfigReader::FloatOrNull(std::string_view key, float absent,
                                                double above) const {
  if (Has(key) && !HasValue(key)) return 0.0f;
  return Float(key, absent, above);
}

absl::StatusOr<std::optional<double>> ConfigReader::OptionalNumber(std::string_view key,
                                                                   double above) const {
  if (!HasValue(key)) return std::optional<double>();
  const std::optional<double> number = AsNumber(*Find(key), above);
  if (!number) return Wrong(key, WantedNumber(above) + " or null");
  return number;
}

absl::StatusOr<std::vector<double>> ConfigReader::Numbers(std::string_view key,
                                                          double above) const {
  const json* value = Find(key);
  const std::string wanted = "it must be a list; of each entry: " + WantedNumber(above);
  if (value == nullptr || !value->is_array()) return Wrong(key, wanted);
  std::vector<double> numbers;
  for (const json& entry : *value) {
    const std::optional<double> number = AsNumber(entry, above);
    if (!number) return Wrong(key, fmt::format("{}, not {}", wanted, ShowJson(entry)));
    numbers.push_back(*number);
  }
  return numbers;
}

absl::StatusOr<std::vector<int64_t>> ConfigReader::Ints(std::string_view key,
                                                        IntRange range) const {
  std::vector<int64_t> numbers;
  if (!HasValue(key)) return numbers;
  const json* value = Find(key);
  const std::string wanted = "it must be a list; of each entry: " + WantedInt(range);
  if (!value->is_array()) return Wrong(key, wanted);
  for (const json& entry : *value) {
    const std::optional<int64_t> number = AsInt(entry, range);
    if (!number) return Wrong(key, fmt::format("{}, not {}", wanted, ShowJson(entry)));
    numbers.push_back(*number);
  }
  return numbers;
}

absl::StatusOr<std::vector<std::string>> ConfigReader::Strings(std::string_view key) const {
  std::vector<std::string> strings;
  if (!HasValue(key)) return strings;
  const json* value = Find(key);
  if (!value->is_array()) return Wrong(key, "it must be a list of strings");
  for (const json& entry : *value) {
    if (!entry.is_string()) return Wrong(key, "it must be a list of strings");
    strings.push_back(entry.get<std::string>());
  }
  return strings;
}

}  // namespace folkmoot
