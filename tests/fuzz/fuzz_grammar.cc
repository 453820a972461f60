// SPDX-License-Identifier: Apache-2.0
// Input: a JSON schema, or a regular expression. What is accepted leads to an end: as long as
// tokens are allowed, one of them can be taken.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "launch/api/common/json_body.h"
#include "runtime/check.h"
#include "runtime/grammar/grammar_compiler.h"

namespace {

using Constraint = absl::StatusOr<std::shared_ptr<const folkmoot::TokenConstraint>>;

constexpr int64_t kVocab = 512;  // of the tokens: the special ones, all bytes, short pieces
constexpr int kTokens = 12;

// Takes an allowed token some times, another one for every input.
void Walk(const Constraint& form, uint32_t draw) {
  if (!form.ok()) return;
  const std::unique_ptr<folkmoot::TokenConstraint> state = (*form)->Clone();
  std::vector<uint32_t> mask(kVocab / 32);
  for (int i = 0; i < kTokens; ++i) {
    if (!state->FillMask(mask)) return;
    std::vector<int32_t> allowed;
    for (int32_t t = 0; t < kVocab; ++t) {
      if ((mask[static_cast<size_t>(t) / 32] >> (t % 32) & 1) != 0) allowed.push_back(t);
    }
    FM_CHECK(!allowed.empty());
    draw = draw * 1664525 + 1013904223;
    const int32_t token = allowed[(draw >> 8) % allowed.size()];
    if (token == 0) return;  // the end
    state->Accept(token);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer =
      folkmoot::Tokenizer::Load(FOLKMOOT_SOURCE_DIR "/models/demo-kjv/tokenizer.json");
  FM_CHECK(tokenizer.ok());
  static folkmoot::GrammarCompiler compiler(**tokenizer, kVocab, {0});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!text.starts_with('{')) {
    Walk(compiler.Regex(text), static_cast<uint32_t>(size));
    return 0;
  }
  const auto schema = folkmoot::ParseBody(text);
  if (schema.ok()) Walk(compiler.JsonSchema(*schema), static_cast<uint32_t>(size));
  FM_CHECK(compiler.cache_bytes() <= 2 * folkmoot::GrammarCompiler::kMaxCacheBytes);
  return 0;
}
