// SPDX-License-Identifier: Apache-2.0
// The names that tokenizer.ggml.pre may have, and what they stand for. Private to
// runtime/tokenizer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace folkmoot {

struct GgufPreType {
  std::vector<std::string_view> names;
  // Each cuts what the one before has left; matches and what is between them are words.
  std::vector<std::string_view> patterns;
  bool nfc = false;            // texts are normalized first
  bool ignore_merges = false;  // a word that is a token is that token
  bool add_bos = false;        // where tokenizer.ggml.add_bos_token is not there
};

// Null: not known.
const GgufPreType* FindGgufPreType(std::string_view name);
// "default, gpt-2, ...".
std::string GgufPreTypeNames();

}  // namespace folkmoot
