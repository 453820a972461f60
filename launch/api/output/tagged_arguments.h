// SPDX-License-Identifier: Apache-2.0
// Arguments written as pairs of name and plain text between tags.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "launch/api/output/call_syntax.h"
#include "launch/api/output/tool_schemas.h"

namespace folkmoot {

struct ArgumentTags {
  std::string_view name_begin, name_end;    // around a name
  std::string_view value_begin, value_end;  // around a value; value_begin may be empty
  std::string_view end;                     // behind the last pair
  bool lines = false;                       // a value has lines of its own
  // The next pair and `end` end a value, too: models forget value_end.
  bool value_end_optional = false;
};

// Pairs become members of an object as soon as each is complete.
class TaggedArguments {
 public:
  TaggedArguments(const ArgumentTags& tags, std::shared_ptr<const ToolSchemas> schemas)
      : tags_(tags), schemas_(std::move(schemas)) {}

  void Begin(std::string tool) {
    tool_ = std::move(tool);
    pairs_ = 0;
    searched_ = 0;
  }
  // As CallSyntax::ReadArguments. kDone leaves `end` where it is.
  Reading Read(std::string_view text, std::string* json);

 private:
  struct Extent {
    size_t end;   // of the value
    size_t used;  // up to and with value_end, if it is there
  };

  Reading ReadPair(std::string_view text, std::string* json);
  std::optional<Extent> FindValueEnd(std::string_view text, size_t from);

  const ArgumentTags tags_;
  const std::shared_ptr<const ToolSchemas> schemas_;
  std::string tool_;
  int pairs_ = 0;
  size_t searched_ = 0;  // of the pair that is read: no end of its value begins before this
};

}  // namespace folkmoot
