// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/json_extent.h"

#include <string_view>

namespace folkmoot {

JsonExtent::State JsonExtent::Close(char open) {
  if (open_.empty() || open_.back() != open) return State::kBad;
  open_.pop_back();
  return open_.empty() ? State::kEnd : State::kInside;
}

JsonExtent::State JsonExtent::Advance(char byte) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (byte == '\\') {
      escaped_ = true;
    } else if (byte == '"') {
      in_string_ = false;
    }
    return State::kInside;
  }
  if (byte == '{' || byte == '[') {
    open_ += byte;
    return State::kInside;
  }
  if (open_.empty()) return State::kBad;
  if (byte == '}') return Close('{');
  if (byte == ']') return Close('[');
  if (byte == '"') {
    in_string_ = true;
    return State::kInside;
  }
  constexpr std::string_view kOthers = " \n\t\r,:+-.";
  const bool word =
      (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
  return word || kOthers.find(byte) != std::string_view::npos ? State::kInside : State::kBad;
}

}  // namespace folkmoot
