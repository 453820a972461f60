// SPDX-License-Identifier: Apache-2.0
// What the declared parameters of the tools say about values that a model writes without quotes.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "nlohmann/json_fwd.hpp"

namespace folkmoot {

class ToolSchemas {
 public:
  ToolSchemas() = default;
  // `tools` as in a request, already found good.
  explicit ToolSchemas(const nlohmann::ordered_json& tools);

  // The JSON of an argument that was written as plain text: a string where only a string is
  // declared; else the value if the text is JSON (or Python's True, False, None); else a string.
  std::string ValueJson(std::string_view tool, std::string_view name, std::string_view text) const;

 private:
  // Types by tool and parameter; none: anything.
  std::map<std::pair<std::string, std::string>, std::set<std::string>> types_;
};

}  // namespace folkmoot
