// SPDX-License-Identifier: Apache-2.0
// LFM2 and LFM2.5: a list of pythonic calls, or of JSON where the prompt asked for it:
//   <|tool_call_start|>[get_weather(city="Paris"), get_time()]<|tool_call_end|>
//   <|tool_call_start|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|tool_call_end|>
#include "launch/api/output/either_syntax.h"

namespace folkmoot {

std::unique_ptr<CallSyntax> MakeLfm2Syntax(const OutputRules& /*rules*/) {
  return std::make_unique<EitherSyntax>("[", MakeLfm2JsonSyntax(), MakeLfm2PythonicSyntax());
}

}  // namespace folkmoot
