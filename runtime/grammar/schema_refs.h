// SPDX-License-Identifier: Apache-2.0
// $ref within one schema, and whether two schemas exclude each other. Private to runtime/grammar.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/status.h"

namespace folkmoot {

// The value that "#", "#/$defs/name" or any other JSON pointer into `root` names. Error:
// InvalidArgument when there is none, or the reference leaves the schema.
absl::StatusOr<const nlohmann::ordered_json*> FindSchemaRef(const nlohmann::ordered_json& root,
                                                            const std::string& ref);

// Nothing that we generate for `generated` (only properties that it names) is valid against
// `other`. False when that is not certain.
bool SchemasExclude(const nlohmann::ordered_json& root, const nlohmann::ordered_json& generated,
                    const nlohmann::ordered_json& other);

}  // namespace folkmoot
