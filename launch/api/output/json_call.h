// SPDX-License-Identifier: Apache-2.0
// Calls written as {"name": "...", "arguments": {...}}, alone or in a list.
#pragma once

#include <string>
#include <string_view>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {

// Members that a format calls by names of its own.
struct JsonCallKeys {
  std::string_view name = "name";
  std::string_view arguments = "arguments";
  std::string_view id = {};  // what may stand in front of the name; nobody needs it
};

// One such object ("parameters" counts as "arguments"). Where "name" is not first, or the arguments
// are not an object as it stands, it is read as a whole, and the head has the arguments too.
class JsonCall {
 public:
  explicit JsonCall(const JsonCallKeys& keys = {}) : keys_(keys) {}

  // As CallSyntax::ReadHead.
  Reading ReadHead(std::string_view text, bool last, std::string* name, std::string* arguments);
  // What is left of the object behind its arguments: the brace, perhaps with more members in front
  // of it, which nobody wants. A brace that is missing does no harm.
  Reading ReadEnd(std::string_view text, bool last) const;
  // The same inside of a list of calls, and the comma or bracket behind it.
  Reading ReadListEnd(std::string_view text, bool last) const;

 private:
  Reading ReadWhole(std::string_view text, bool last, std::string* name, std::string* arguments);

  JsonCallKeys keys_;
  JsonExtent extent_;
  size_t scanned_ = 0;   // bytes of the text that extent_ has seen
  bool whole_ = false;   // the head is read so
  bool closed_ = false;  // the object ended with its head
};

}  // namespace folkmoot
