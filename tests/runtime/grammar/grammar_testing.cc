// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/grammar/grammar_testing.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/token_bytes.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

std::vector<int32_t> TokensOf(const std::vector<uint32_t>& mask) {
  std::vector<int32_t> tokens;
  for (size_t word = 0; word < mask.size(); ++word) {
    for (uint32_t bit = 0; bit < 32; ++bit) {
      if ((mask[word] >> bit & 1) != 0) tokens.push_back(static_cast<int32_t>(word * 32 + bit));
    }
  }
  return tokens;
}

}  // namespace

TestVocabulary TestVocabulary::Load(const std::string& path) {
  auto tokenizer = Tokenizer::Load(path);
  FM_CHECK(tokenizer.ok());
  TestVocabulary result;
  result.tokenizer = *std::move(tokenizer);
  const int64_t count = result.tokenizer->vocab_size();
  for (int32_t id = 0; id < count; ++id) {
    if (result.tokenizer->IsSpecial(id)) result.end = id;
  }
  result.vocab = count + 45;
  result.compiler = std::make_unique<GrammarCompiler>(*result.tokenizer, result.vocab,
                                                      std::vector<int32_t>{result.end});
  const auto bytes = TokenBytes::Of(*result.tokenizer);
  FM_CHECK(bytes.ok());
  result.dropped_spaces = static_cast<size_t>(bytes->dropped_spaces);
  result.byte_tokens.assign(256, -1);
  for (size_t id = bytes->bytes.size(); id-- > 0;) {
    const std::string& token = bytes->bytes[id];
    if (token.size() == 1) {
      result.byte_tokens[static_cast<uint8_t>(token[0])] = static_cast<int32_t>(id);
    }
  }
  return result;
}

bool MaskHas(const std::vector<uint32_t>& mask, int32_t token) {
  const auto id = static_cast<uint32_t>(token);
  return (mask[id / 32] >> (id % 32) & 1) != 0;
}

std::vector<uint32_t> NextMask(const TestVocabulary& vocabulary, TokenConstraint* constraint) {
  std::vector<uint32_t> mask((static_cast<size_t>(vocabulary.vocab) + 31) / 32, 0xFFFFFFFF);
  const bool some = constraint->FillMask(mask);
  FM_CHECK(some == std::any_of(mask.begin(), mask.end(), [](uint32_t word) { return word != 0; }));
  return mask;
}

RandomText Sample(const TestVocabulary& vocabulary, const TokenConstraint& form,
                  std::mt19937* random, int patience, int max_tokens) {
  RandomText result;
  const std::unique_ptr<TokenConstraint> constraint = form.Clone();
  IncrementalDecoder decoder(*vocabulary.tokenizer, /*skip_special_tokens=*/true);
  for (int step = 0; step < max_tokens && !result.ended; ++step) {
    const std::vector<int32_t> tokens = TokensOf(NextMask(vocabulary, constraint.get()));
    if (tokens.empty()) {
      result.problem = "no token is allowed";
      break;
    }
    int32_t token = tokens[(*random)() % tokens.size()];
    const bool may_end = std::binary_search(tokens.begin(), tokens.end(), vocabulary.end);
    if (may_end && (step > patience || (*random)() % 4 == 0)) token = vocabulary.end;
    if (!may_end && step > patience) {
      for (const char* closing : {"}", "]", "\""}) {
        const int32_t id = vocabulary.byte_tokens[static_cast<uint8_t>(*closing)];
        if (std::binary_search(tokens.begin(), tokens.end(), id)) token = id;
      }
    }
    if (token >= vocabulary.tokenizer->vocab_size() ||
        (vocabulary.tokenizer->IsSpecial(token) && token != vocabulary.end)) {
      result.problem = "a token that has no text is allowed";
    }
    constraint->Accept(token);
    result.text += decoder.Push(token);
    result.ended = token == vocabulary.end;
  }
  result.text += decoder.Finish();
  const std::vector<uint32_t> after = NextMask(vocabulary, constraint.get());
  if (result.ended && !TokensOf(after).empty()) result.problem = "more is allowed after the end";
  if (result.ended && RepairUtf8(result.text) != result.text) result.problem = "not UTF-8";
  return result;
}

bool Accepts(const TestVocabulary& vocabulary, const TokenConstraint& form, std::string_view text) {
  const std::unique_ptr<TokenConstraint> constraint = form.Clone();
  std::string all(vocabulary.dropped_spaces, ' ');
  all += text;
  for (const char c : all) {
    const int32_t token = vocabulary.byte_tokens[static_cast<uint8_t>(c)];
    FM_CHECK(token >= 0);
    if (!MaskHas(NextMask(vocabulary, constraint.get()), token)) return false;
    constraint->Accept(token);
  }
  return MaskHas(NextMask(vocabulary, constraint.get()), vocabulary.end);
}

}  // namespace folkmoot
