// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/grammar_compiler.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/grammar/grammar.h"
#include "runtime/grammar/grammar_constraint.h"
#include "runtime/grammar/json_schema.h"
#include "runtime/grammar/regex_parser.h"
#include "runtime/grammar/vocabulary.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

int64_t EntryBytes(const std::string& key, const CompiledGrammar& grammar) {
  return static_cast<int64_t>(key.size()) + grammar.size_bytes();
}

// Json::dump calls itself for each level.
bool IsDeeperThan(const Json& value, int levels) {
  if (!value.is_structured()) return false;
  if (levels == 0) return true;
  return std::any_of(value.begin(), value.end(),
                     [&](const Json& member) { return IsDeeperThan(member, levels - 1); });
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> MakeVocabulary(const Tokenizer& tokenizer,
                                                                 int64_t vocab,
                                                                 std::vector<int32_t> end_ids) {
  FM_ASSIGN_OR_RETURN(Vocabulary vocabulary,
                      Vocabulary::Create(tokenizer, vocab, std::move(end_ids)));
  return std::make_shared<const Vocabulary>(std::move(vocabulary));
}

}  // namespace

GrammarCompiler::GrammarCompiler(const Tokenizer& tokenizer, int64_t vocab,
                                 std::vector<int32_t> end_ids)
    : vocabulary_(MakeVocabulary(tokenizer, vocab, std::move(end_ids))) {}
GrammarCompiler::~GrammarCompiler() = default;

absl::StatusOr<std::shared_ptr<const TokenConstraint>> GrammarCompiler::FindOrCompile(
    std::string key, const std::function<absl::Status(Grammar*)>& define) {
  FM_RETURN_IF_ERROR(vocabulary_.status());
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
  } else {
    Grammar grammar;
    FM_RETURN_IF_ERROR(define(&grammar));
    FM_ASSIGN_OR_RETURN(std::shared_ptr<CompiledGrammar> compiled,
                        CompiledGrammar::Create(grammar, *vocabulary_));
    entries_.push_front({.key = std::move(key), .grammar = std::move(compiled)});
  }
  EvictLocked();
  return std::make_shared<const GrammarConstraint>(entries_.front().grammar);
}

void GrammarCompiler::EvictLocked() {
  int64_t bytes = 0;
  int forms = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    bytes += EntryBytes(entry->key, *entry->grammar);
    ++forms;
    if ((bytes > kMaxCacheBytes && forms > 1) || forms > kMaxCachedForms) {
      entries_.erase(entry, entries_.end());
      return;
    }
  }
}

int64_t GrammarCompiler::cache_bytes() {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += EntryBytes(entry.key, *entry.grammar);
  return bytes;
}

absl::StatusOr<std::shared_ptr<const TokenConstraint>> GrammarCompiler::Regex(
    std::string_view regex) {
  if (regex.size() > kMaxRegexBytes) {
    return ResourceExhausted("the regular expression has {} bytes; the limit is {}", regex.size(),
                             kMaxRegexBytes);
  }
  return FindOrCompile(fmt::format("regex {}", regex), [&](Grammar* grammar) -> absl::Status {
    FM_ASSIGN_OR_RETURN(const RegexForm form, ParseRegex(regex, RegexText::kPlain, grammar));
    grammar->Define(0, form.expr);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::shared_ptr<const TokenConstraint>> GrammarCompiler::JsonSchema(
    const Json& schema) {
  if (IsDeeperThan(schema, kMaxSchemaDepth)) {
    return ResourceExhausted("the JSON schema is nested more than {} deep", kMaxSchemaDepth);
  }
  return FindOrCompile("schema " + schema.dump(-1, ' ', false, Json::error_handler_t::replace),
                       [&](Grammar* grammar) { return DefineJsonSchema(schema, grammar); });
}

absl::StatusOr<std::shared_ptr<const TokenConstraint>> GrammarCompiler::JsonObject() {
  return FindOrCompile("object", [](Grammar* grammar) {
    DefineJsonObject(grammar);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::shared_ptr<const TokenConstraint>> GrammarCompiler::Choice(
    const std::vector<std::string>& choices) {
  if (choices.empty()) return InvalidArgument("choice: the list is empty");
  std::string key = "choice";
  for (const std::string& choice : choices) {
    key += fmt::format(" {}:{}", choice.size(), choice);
    if (RepairUtf8(choice) != choice) return InvalidArgument("choice: not valid UTF-8");
    if (static_cast<int64_t>(key.size()) > kMaxChoiceBytes ||
        static_cast<int64_t>(choices.size()) > kMaxChoices) {
      return ResourceExhausted("choice: the limits are {} strings and {} bytes", kMaxChoices,
                               kMaxChoiceBytes);
    }
  }
  return FindOrCompile(std::move(key), [&](Grammar* grammar) {
    grammar->Define(0, grammar->OneOf(choices));
    return absl::OkStatus();
  });
}

}  // namespace folkmoot
