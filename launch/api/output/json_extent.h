// SPDX-License-Identifier: Apache-2.0
// Where a JSON object or list ends, found byte by byte.
#pragma once

#include <cstdint>
#include <string>

namespace folkmoot {

// Follows brackets and strings; what stands between them is not checked beyond the characters that
// JSON can have outside of strings.
class JsonExtent {
 public:
  enum class State : uint8_t { kInside, kEnd, kBad };

  // Takes the next byte; the first must open an object or a list. kEnd: it closes what the first
  // has opened, and the next byte begins anew.
  State Advance(char byte);
  void Reset() { *this = JsonExtent(); }

 private:
  State Close(char open);

  std::string open_;  // brackets that are open
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace folkmoot
