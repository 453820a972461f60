// SPDX-License-Identifier: Apache-2.0
// A config.json that must be refused, and what the message must name.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace folkmoot {

struct Refusal {
  std::string name;
  nlohmann::json keys;              // on top of {"model_type": "qwen3_moe"} unless it names another
  std::vector<std::string> wanted;  // parts of the message
};

class RefusalTest : public ::testing::TestWithParam<Refusal> {};

inline std::string NameOf(const ::testing::TestParamInfo<Refusal>& test) { return test.param.name; }

}  // namespace folkmoot
