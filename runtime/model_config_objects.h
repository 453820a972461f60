// SPDX-License-Identifier: Apache-2.0
// Brings keys that a family keeps in objects of their own to where all others have them. Internal
// to model_config.cc.
#pragma once

#include <string>

#include "runtime/config_family.h"

namespace folkmoot {

// The keys of `family` in one object: those of text_config, with what the file says beside it, or
// of the file with ConfigFamily::nested objects unfolded. Refuses what stands beside text_config
// and is not known.
absl::StatusOr<nlohmann::json> KeysInOneObject(const ConfigReader& file,
                                               const ConfigFamily& family);

// What stands before a key of that object in messages, after the file's name.
std::string ObjectOfKeys(const ConfigReader& file, const ConfigFamily& family);

}  // namespace folkmoot
