// SPDX-License-Identifier: Apache-2.0
// A template's text, cut into tokens. White space as Transformers configures Jinja: trim_blocks and
// lstrip_blocks on, one newline at the very end dropped, all line endings read as "\n".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot::jinja {

enum class TokenType : uint8_t {
  kData,  // what is outside of tags
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,  // with escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct TemplateToken {
  TokenType type = TokenType::kEnd;
  std::string text;
  int line = 1;
};

// Ends with kEnd. Errors are InvalidArgument "line N: ...".
absl::StatusOr<std::vector<TemplateToken>> LexTemplate(std::string_view source);

}  // namespace folkmoot::jinja
