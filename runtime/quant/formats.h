// SPDX-License-Identifier: Apache-2.0
// The formats of safetensors, each in the file of its name. Internal to runtime/quant/.
#pragma once

#include <initializer_list>
#include <memory>
#include <string_view>

#include "runtime/model_config_json.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {

using WeightFormatPtr = std::shared_ptr<const WeightFormat>;

// `keys` are those of quantization_config.
absl::StatusOr<WeightFormatPtr> MakeAwq(const ConfigReader& keys);
absl::StatusOr<WeightFormatPtr> MakeCompressedTensors(const ConfigReader& keys);
absl::StatusOr<WeightFormatPtr> MakeFp8Block(const ConfigReader& keys);
absl::StatusOr<WeightFormatPtr> MakeGptq(const ConfigReader& keys);
// Null: no weights are quantised.
absl::StatusOr<WeightFormatPtr> MakeModelOpt(const ConfigReader& keys);
absl::StatusOr<WeightFormatPtr> MakeMxfp4(const ConfigReader& keys);
absl::StatusOr<WeightFormatPtr> MakeMxfp8(const ConfigReader& keys);

// Refuses a key that is not on the list, unless its value says nothing (null, false, {}, []).
absl::Status CheckKnownKeys(const ConfigReader& keys,
                            std::initializer_list<std::string_view> known);

// Refuses a value that is not one of these strings; absent and null are welcome.
absl::Status CheckChoice(const ConfigReader& keys, std::string_view key,
                         std::initializer_list<std::string_view> known,
                         std::string_view remedy = "");

}  // namespace folkmoot
