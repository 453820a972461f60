// SPDX-License-Identifier: Apache-2.0
// From what a client asks for (regex, JSON schema, choice) to a constraint on tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"
#include "runtime/token_constraint.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {

class CompiledGrammar;
class Grammar;
class Vocabulary;

// Any thread may call any method at the same time; one compiles, the others wait.
//
// A result is in its first state: requests take a Clone of it. Equal forms share states and masks.
// Whatever the masks allow decodes to valid UTF-8 that fits the form (the text that an
// IncrementalDecoder gives, special tokens skipped), and from every state that they lead to, the
// form can be completed; end tokens are allowed exactly where it is complete. A string or a
// repetition without an upper limit may go on for ever: max_tokens ends it.
//
// Work is bounded and counted in steps, not in time, so that the same request gets the same answer
// on every machine: about 50 ms for the largest forms that are taken.
// Errors: InvalidArgument names the construct and its place; ResourceExhausted the limit;
// FailedPrecondition says that this tokenizer cannot do it (see TokenBytes).
class GrammarCompiler {
 public:
  // Forms are remembered, the last ones used, within both limits.
  static constexpr int64_t kMaxCacheBytes = 128 << 20;
  static constexpr int kMaxCachedForms = 512;  // a request looks at each of them
  static constexpr int64_t kMaxChoices = 10'000;
  static constexpr int64_t kMaxChoiceBytes = 256 * 1024;

  // `vocab`: the tokens that the model scores, perhaps more than the tokenizer has (those are never
  // allowed). `end_ids` end a text; nothing else of them counts. `tokenizer` is not kept.
  GrammarCompiler(const Tokenizer& tokenizer, int64_t vocab, std::vector<int32_t> end_ids);
  ~GrammarCompiler();
  GrammarCompiler(const GrammarCompiler&) = delete;
  GrammarCompiler& operator=(const GrammarCompiler&) = delete;

  // The whole output matches; see ParseRegex.
  absl::StatusOr<std::shared_ptr<const TokenConstraint>> Regex(std::string_view regex);
  // The output is a value that is valid against the schema; see DefineJsonSchema.
  absl::StatusOr<std::shared_ptr<const TokenConstraint>> JsonSchema(
      const nlohmann::ordered_json& schema);
  // Any JSON object.
  absl::StatusOr<std::shared_ptr<const TokenConstraint>> JsonObject();
  // One of the strings (valid UTF-8).
  absl::StatusOr<std::shared_ptr<const TokenConstraint>> Choice(
      const std::vector<std::string>& choices);

  int64_t cache_bytes();  // of the forms remembered, and the states and masks found for them

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<CompiledGrammar> grammar;
  };

  absl::StatusOr<std::shared_ptr<const TokenConstraint>> FindOrCompile(
      std::string key, const std::function<absl::Status(Grammar*)>& define);
  void EvictLocked();

  absl::StatusOr<std::shared_ptr<const Vocabulary>> vocabulary_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the last one used is in front
};

}  // namespace folkmoot
