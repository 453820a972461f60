// SPDX-License-Identifier: Apache-2.0
// What the declared parameters of the tools say about values that a model writes without quotes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "nlohmann/json_fwd.hpp"

namespace folkmoot {

// What is declared of one value; nothing is, and anything allowed, where a schema does not say.
// Valid as long as the ToolSchemas that it comes from.
class ValueSchema {
 public:
  ValueSchema() = default;

  // "string", "array", ...: whether this type is among those that are declared.
  bool Has(const std::string& type) const;
  // Of a member of an object, and of the elements of a list.
  ValueSchema Member(std::string_view name) const;
  ValueSchema Element() const;

  // The JSON of a value that was written as plain text: a string where only a string is declared;
  // else the value if the text is JSON (or Python's True, False, None); else a string.
  std::string TextJson(std::string_view text) const;

 private:
  friend class ToolSchemas;
  ValueSchema(const nlohmann::ordered_json* schema, const nlohmann::ordered_json* root)
      : schema_(schema), root_(root) {}

  const nlohmann::ordered_json* schema_ = nullptr;  // null: nothing is declared
  const nlohmann::ordered_json* root_ = nullptr;    // what references lead into
};

class ToolSchemas {
 public:
  ToolSchemas() = default;
  // `tools` as in a request, already found good.
  explicit ToolSchemas(const nlohmann::ordered_json& tools);

  bool Has(std::string_view tool) const;
  // Of the object that has all arguments.
  ValueSchema Arguments(std::string_view tool) const;
  // An argument that was written as plain text.
  std::string ValueJson(std::string_view tool, std::string_view name, std::string_view text) const {
    return Arguments(tool).Member(name).TextJson(text);
  }

 private:
  std::shared_ptr<const nlohmann::ordered_json> parameters_;  // by tool; null: there are none
};

}  // namespace folkmoot
