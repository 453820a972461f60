// SPDX-License-Identifier: Apache-2.0
// LongCat-Flash: what Hermes writes, and in later models what GLM writes, with markers of its own:
//   <longcat_tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</longcat_tool_call>
//   <longcat_tool_call>get_weather
//   <longcat_arg_key>city</longcat_arg_key>
//   <longcat_arg_value>Paris</longcat_arg_value>
//   </longcat_tool_call>
#include "launch/api/output/either_syntax.h"

namespace folkmoot {

std::unique_ptr<CallSyntax> MakeLongCatSyntax(const OutputRules& rules) {
  return std::make_unique<EitherSyntax>("", MakeLongCatJsonSyntax(), MakeLongCatPairsSyntax(rules));
}

}  // namespace folkmoot
