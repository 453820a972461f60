// SPDX-License-Identifier: Apache-2.0
// Words of JSON Schema, and how two schemas become one. Private to runtime/grammar.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace folkmoot {

// Sets of JSON types as bits.
struct SchemaType {
  static constexpr uint32_t kString = 1, kInteger = 2, kFraction = 4, kBoolean = 8, kNull = 16,
                            kArray = 32, kObject = 64, kNumber = kInteger | kFraction, kAll = 127;
  // 0: not the name of a type.
  static uint32_t Named(std::string_view name);
  static uint32_t OfValue(const nlohmann::ordered_json& value);
  // What "type" allows; kAll without it. Error: not a type or list of types.
  static absl::StatusOr<uint32_t> Declared(const nlohmann::ordered_json& schema,
                                           std::string_view path);
  // The types whose keywords are there; kAll if there are none.
  static uint32_t Implied(const nlohmann::ordered_json& schema);
};

// Does the keyword restrict values and is not supported?
bool IsRefusedKeyword(std::string_view keyword);
// Does the keyword say something about the valid values that this compiler acts on?
bool IsSchemaAssertion(std::string_view keyword);

// "path/keyword: what"
absl::Status SchemaError(std::string_view path, std::string_view keyword, std::string_view what);

// A keyword that must be an integer >= 0; nullopt: absent.
absl::StatusOr<std::optional<int64_t>> SchemaCount(const nlohmann::ordered_json& schema,
                                                   const char* keyword, std::string_view path);

// A schema whose values are exactly those valid against both (objects without $ref). Error:
// InvalidArgument when that cannot be said in one schema.
absl::StatusOr<nlohmann::ordered_json> MergeSchemas(const nlohmann::ordered_json& a,
                                                    const nlohmann::ordered_json& b,
                                                    std::string_view path);

}  // namespace folkmoot
