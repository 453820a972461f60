// SPDX-License-Identifier: Apache-2.0
// A call in Python's words, f(city="Paris", days=[1, 2]), as JSON.
#pragma once

#include <string>
#include <string_view>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {

// Reads one call at a time, as a whole; the text of a call may come in pieces.
class PythonCall {
 public:
  // `text` begins with the call, and white space perhaps; it is longer each time. Names are those
  // of tools, arguments are all by keyword, and values literals: strings, numbers, True, False,
  // None, lists, tuples and dictionaries with strings for keys. kNo: something else.
  Reading Read(std::string_view text, bool last, std::string* name, std::string* arguments);

 private:
  Reading FindEnd(std::string_view text, size_t begin, bool last);

  size_t scanned_ = 0;  // bytes of the text that have been looked at
  int depth_ = 0;       // of brackets there
  char quote_ = 0;      // that is open there
  bool escaped_ = false;
};

// Python's [..], (..) or {..} as JSON, appended; false: it is no such literal, and `json` as it
// was.
bool AppendPythonContainer(std::string_view text, std::string* json);

}  // namespace folkmoot
