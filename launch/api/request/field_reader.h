// SPDX-License-Identifier: Apache-2.0
// A request body that has been checked against the table of fields, and typed access to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/api/request/field_table.h"
#include "nlohmann/json_fwd.hpp"
#include "runtime/status.h"

namespace folkmoot {

// `json` must outlive it. A field that is absent or null gives nothing. Names must be in the table,
// with the type that is asked for.
class Fields {
 public:
  // Checks every field: unknown ones are noted (see UnknownFields), refused ones and values of a
  // wrong type or out of bounds are errors with the field's name as `param`. `prefix` stands before
  // names in errors ("sampling_params.").
  static absl::StatusOr<Fields> Check(const nlohmann::ordered_json& json, Endpoint endpoint,
                                      std::string_view prefix = "");

  const nlohmann::ordered_json* Get(std::string_view name) const;
  std::optional<int64_t> Integer(std::string_view name) const;
  std::optional<double> Number(std::string_view name) const;
  std::optional<std::string> String(std::string_view name) const;
  bool Boolean(std::string_view name, bool fallback) const;
  std::vector<std::string> Strings(std::string_view name) const;  // a single string: a list of one

  Endpoint endpoint() const { return endpoint_; }
  // "sampling_params." in front of a name, for errors.
  std::string Path(std::string_view name) const;
  // Fields that are in no row of the table, as sent.
  const std::vector<std::string>& unknown() const { return unknown_; }

 private:
  Fields(const nlohmann::ordered_json& json, Endpoint endpoint, std::string_view prefix)
      : json_(&json), endpoint_(endpoint), prefix_(prefix) {}

  const nlohmann::ordered_json* json_;
  Endpoint endpoint_;
  std::string prefix_;
  std::vector<std::string> unknown_;
};

// An integer within [min, max], as the table understands it; errors name `param`.
absl::StatusOr<int64_t> ReadInteger(const nlohmann::ordered_json& json, double min, double max,
                                    std::string_view param);
// Token ids in [0, vocab).
absl::StatusOr<std::vector<int32_t>> ReadIds(const nlohmann::ordered_json& json, int64_t vocab,
                                             std::string_view param);

}  // namespace folkmoot
