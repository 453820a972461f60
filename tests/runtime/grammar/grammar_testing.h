// SPDX-License-Identifier: Apache-2.0
// Helpers for tests of runtime/grammar: a vocabulary, a random model, and a reader of single bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/grammar/grammar_compiler.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {

// A tokenizer, its end token and the compiler for both.
struct TestVocabulary {
  std::unique_ptr<Tokenizer> tokenizer;
  int32_t end = 0;
  int64_t vocab = 0;  // larger than the tokenizer's
  std::unique_ptr<GrammarCompiler> compiler;
  std::vector<int32_t> byte_tokens;  // [256] a token of this one byte, or -1
  size_t dropped_spaces = 0;         // at the start of a text, by decoding

  // `path` names a tokenizer.json. The end token is the last special one.
  static TestVocabulary Load(const std::string& path);
};

struct RandomText {
  std::string text;  // as an IncrementalDecoder gives it
  bool ended = false;
  std::string problem;  // empty: the constraint kept its contract
};

// Lets a random model speak under the constraint. After `patience` tokens it takes what looks like
// an end, so that only forms without any end run into `max_tokens`.
RandomText Sample(const TestVocabulary& vocabulary, const TokenConstraint& form,
                  std::mt19937* random, int patience, int max_tokens);

// Is `text`, spelled in tokens of one byte, allowed up to and including the end token? Needs a
// vocabulary that has every byte.
bool Accepts(const TestVocabulary& vocabulary, const TokenConstraint& form, std::string_view text);

bool MaskHas(const std::vector<uint32_t>& mask, int32_t token);
std::vector<uint32_t> NextMask(const TestVocabulary& vocabulary, TokenConstraint* constraint);

}  // namespace folkmoot
