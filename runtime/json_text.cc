// SPDX-License-Identifier: Apache-2.0
#include "runtime/json_text.h"

#include <fmt/format.h>

namespace folkmoot {
namespace {

constexpr std::string_view kNonNumbers[] = {"Infinity", "-Infinity", "NaN"};

// The text of the string that begins at its first quote, both quotes included.
std::string_view StringAt(std::string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      return text.substr(0, i + 1);
  }
  return text;
}

}  // namespace

std::string QuoteNonNumbers(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    std::string_view taken = text.front() == '"' ? StringAt(text) : text.substr(0, 1);
    std::string_view quote;
    for (const std::string_view name : kNonNumbers) {
      if (!text.starts_with(name)) continue;
      taken = name;
      quote = "\"";
    }
    result += fmt::format("{}{}{}", quote, taken, quote);
    text.remove_prefix(taken.size());
  }
  return result;
}

std::string UnquoteNonNumbers(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::string_view taken = text.front() == '"' ? StringAt(text) : text.substr(0, 1);
    std::string_view kept = taken;
    for (const std::string_view name : kNonNumbers) {
      if (taken.size() == name.size() + 2 && taken.substr(1, name.size()) == name) kept = name;
    }
    result += kept;
    text.remove_prefix(taken.size());
  }
  return result;
}

}  // namespace folkmoot
