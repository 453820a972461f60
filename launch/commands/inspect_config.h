// SPDX-License-Identifier: Apache-2.0
// What `folkmoot inspect` says of a config.json.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/table.h"
#include "runtime/model_config.h"

namespace folkmoot {

void AddConfigRows(const ModelConfig& config, KeyValues& table);
nlohmann::ordered_json ConfigJson(const ModelConfig& config);

}  // namespace folkmoot
