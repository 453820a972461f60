// SPDX-License-Identifier: Apache-2.0
// Calls written as {"name": "...", "arguments": {...}}, alone or in a list.
#pragma once

#include <string>
#include <string_view>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {

// Reads up to the arguments of such an object ("parameters" counts as "arguments"). Where "name" is
// not first, or the arguments are not an object as it stands, the object is read as a whole, and
// the head has the arguments too.
class JsonCallHead {
 public:
  // As CallSyntax::ReadHead; `text` grows from call to call until the answer is not kMore.
  Reading Read(std::string_view text, bool last, std::string* name, std::string* arguments);

 private:
  Reading ReadWhole(std::string_view text, bool last, std::string* name, std::string* arguments);

  JsonExtent extent_;
  size_t scanned_ = 0;  // bytes of the text that extent_ has seen
  bool whole_ = false;
};

// What stands behind the arguments inside of a list of calls: "}", then "," or "]".
Reading ReadListTail(std::string_view text, bool last);

}  // namespace folkmoot
