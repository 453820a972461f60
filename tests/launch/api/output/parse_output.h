// SPDX-License-Identifier: Apache-2.0
// Runs a text through a parser and writes down what came out, in one line that tests can compare.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/api/output/output_parser.h"

namespace folkmoot {

// How a test wants a text to be read.
struct ParseCase {
  std::string_view tools;                 // a name of ToolFormats(); empty: none
  std::string_view reasoning = {};        // of ReasoningFormats()
  ToolChoice choice = ToolChoice::kAuto;  // without tools: none
  bool opened = false;                    // the prompt has opened the reasoning
  bool parallel = true;
  std::string_view suffix = {};  // of the markers, for formats that take one
};

OutputRules RulesOf(const ParseCase& how);

// "reasoning{...} content{...} name(arguments) name(arguments)": what is there of it.
std::string Parse(const ParseCase& how, const std::vector<std::string_view>& pieces);
// The same for the text at once.
std::string Parse(const ParseCase& how, std::string_view text);
// Cuts the text at every place, into single bytes, and at random, and expects the same each time.
// Returns it.
std::string ParseEveryWay(const ParseCase& how, std::string_view text);

}  // namespace folkmoot
