// SPDX-License-Identifier: Apache-2.0
// Typed access to one JSON object of a configuration file, with errors that name the file, the key,
// the value and what would be accepted. For what reads config.json: model_config*.cc, quant/ and
// layers/models/.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// Refuses keys that stand twice in one object.
absl::StatusOr<nlohmann::json> ParseConfigJson(std::string_view text, std::string_view file);

// A value as it stands in the file, shortened to fit a message.
std::string ShowJson(const nlohmann::json& value);

// The bound `above` of numbers that may be 0.
constexpr double kBelowZero = -1e-300;

struct IntRange {
  int64_t min = 1;
  int64_t max = INT32_MAX;
};

// A family's own spelling of a key that others know as `usual`.
struct KeyAlias {
  std::string_view usual;
  std::string_view own;
  bool both = false;  // the usual one is known too
};

// Does not own the object. A getter with a default returns it when the key is absent; a getter that
// returns an optional gives nullopt for an absent key and for null.
class ConfigReader {
 public:
  // `prefix` is what stands before a key in messages: "config.json: key '" or "...'rope_scaling.".
  // `aliases`: keys that this object spells differently; must outlive the reader.
  ConfigReader(const nlohmann::json& object, std::string prefix,
               std::span<const KeyAlias> aliases = {})
      : object_(object), prefix_(std::move(prefix)), aliases_(aliases) {}

  const nlohmann::json& object() const { return object_; }
  const std::string& prefix() const { return prefix_; }
  const nlohmann::json* Find(std::string_view key) const;  // nullptr: absent
  std::string_view Spelled(std::string_view key) const;
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  bool HasValue(std::string_view key) const;  // neither absent nor null

  absl::StatusOr<int64_t> Int(std::string_view key, int64_t absent, IntRange range = {}) const;
  absl::StatusOr<std::optional<int64_t>> OptionalInt(std::string_view key,
                                                     IntRange range = {}) const;
  // null: 0.
  absl::StatusOr<int64_t> IntOrNull(std::string_view key, int64_t absent, IntRange range) const;
  absl::StatusOr<bool> Bool(std::string_view key, bool absent) const;
  absl::StatusOr<std::optional<std::string>> OptionalString(std::string_view key) const;
  // Finite, and greater than `above`.
  absl::StatusOr<double> Number(std::string_view key, double absent, double above) const;
  // A number that is so as a float, too.
  absl::StatusOr<float> Float(std::string_view key, float absent, double above) const;
  // null: 0.
  absl::StatusOr<float> FloatOrNull(std::string_view key, float absent, double above) const;
  absl::StatusOr<std::optional<double>> OptionalNumber(std::string_view key, double above) const;
  absl::StatusOr<std::vector<double>> Numbers(std::string_view key, double above) const;
  absl::StatusOr<std::vector<int64_t>> Ints(std::string_view key, IntRange range) const;
  absl::StatusOr<std::vector<std::string>> Strings(std::string_view key) const;

  // "<file>: key '<key>' is <value>; <wanted>".
  absl::Status Wrong(std::string_view key, std::string_view wanted) const;
  // Of a list that does not have one entry for each layer.
  absl::Status WrongLength(std::string_view key, size_t layers) const;

 private:
  const nlohmann::json& object_;
  std::string prefix_;
  std::span<const KeyAlias> aliases_;
};

}  // namespace folkmoot
