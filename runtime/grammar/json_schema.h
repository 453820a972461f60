// SPDX-License-Identifier: Apache-2.0
// JSON Schema as a form of an output.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/grammar/grammar.h"
#include "runtime/status.h"

namespace folkmoot {

inline constexpr int kMaxSchemaDepth = 64;
inline constexpr int64_t kMaxSchemaValues = 20'000;
inline constexpr int64_t kMaxSchemaBytes = 256 * 1024;

// Defines rule 0 of `grammar`: texts that are valid against `schema` (draft 2020-12, or 7 and 4
// where they differ), though not all of them:
//   - properties come in the order of the schema; those that are not required may be left out;
//   - only what the schema names: further properties and items come only if additionalProperties or
//     items says so in words;
//   - without "type", the type is that of the keywords that are there (properties: an object);
//   - "pattern" is matched by the whole string;
//   - white space is at most one space after ',' and ':'.
// oneOf needs branches that provably exclude each other. "nullable" and unknown keywords are
// annotations, as the standard has it. Refused by name: not, if, dependent*, patternProperties,
// propertyNames, unevaluated*, contains, uniqueItems, unknown formats, $refs out of the schema.
// Errors: InvalidArgument with the path in the schema ("#/properties/a/minimum: ..."),
// ResourceExhausted for the limits above. Never throws, whatever the values are.
absl::Status DefineJsonSchema(const nlohmann::ordered_json& schema, Grammar* grammar);

// Defines rule 0 as any JSON object.
void DefineJsonObject(Grammar* grammar);

}  // namespace folkmoot
