// SPDX-License-Identifier: Apache-2.0
// A small good model, and a table of what can be wrong with one.
#pragma once

#include <absl/status/status.h>

#include <map>
#include <string>
#include <vector>

namespace folkmoot {

using ModelFiles = std::map<std::string, std::string>;  // contents by name

struct BrokenModel {
  std::string name;
  ModelFiles files = {};                // in place of the good ones
  std::vector<std::string> named = {};  // parts of the message
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  std::string known = {};                 // CVE, GHSA or issue
  std::vector<std::string> missing = {};  // files that are not there
};

ModelFiles GoodModel();
std::vector<BrokenModel> BrokenWeights();  // safetensors and their index
std::vector<BrokenModel> BrokenConfigs();
std::vector<BrokenModel> BrokenTokenizers();
std::vector<BrokenModel> BrokenTemplates();
std::vector<BrokenModel> AllBrokenModels();

}  // namespace folkmoot
