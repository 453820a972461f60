// SPDX-License-Identifier: Apache-2.0
// The form of an output as expressions and rules: what the regex parser, the JSON schema compiler
// and lists of choices are translated into, before it becomes a byte automaton.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/grammar/code_points.h"
#include "runtime/status.h"

namespace folkmoot {

// Expressions live in an arena and are named by Expr; rules may call each other, also recursively.
// Rule 0 is the whole form. One thread at a time.
class Grammar {
 public:
  using Expr = int32_t;
  enum class Kind : uint8_t {
    kEmpty,
    kNever,
    kLiteral,
    kOneOf,
    kClass,
    kSeq,
    kAlt,
    kRepeat,
    kCall
  };
  static constexpr int64_t kNoLimit = -1;
  // Expressions, bytes of literals and ranges of classes together; about 10 ms of work.
  static constexpr int64_t kMaxSize = 400'000;

  struct Node {
    Kind kind = Kind::kEmpty;
    int64_t size = 1;                     // states that one copy takes, about
    std::vector<Expr> children;           // kSeq, kAlt; kRepeat: one
    std::string text;                     // kLiteral: the bytes
    std::vector<std::string> choices;     // kOneOf
    std::vector<Utf8Sequence> sequences;  // kClass
    int64_t min = 0;                      // kRepeat
    int64_t max = 0;                      // kRepeat: kNoLimit or >= min
    int32_t rule = -1;                    // kCall
  };

  Grammar();

  Expr Empty() const { return 0; }
  Expr Never() const { return 1; }
  Expr Literal(std::string_view bytes);
  // One of some strings, without the cost of alternatives.
  Expr OneOf(std::vector<std::string> choices);
  Expr Class(const CodePointSet& set);  // one character
  Expr Seq(std::vector<Expr> parts);
  Expr Alt(std::vector<Expr> branches);
  Expr Repeat(Expr child, int64_t min, int64_t max);
  Expr Optional(Expr child) { return Repeat(child, 0, 1); }
  Expr Call(int32_t rule);

  int32_t NewRule();
  void Define(int32_t rule, Expr body);
  // Call of a new rule with this body: worth it for what is used twice or often.
  Expr Shared(Expr body);

  const Node& node(Expr expr) const { return nodes_[static_cast<size_t>(expr)]; }
  const std::vector<Expr>& rules() const { return rules_; }
  size_t node_count() const { return nodes_.size(); }
  // ResourceExhausted when the form has become too large; callers that loop over input ask often.
  absl::Status CheckSize() const;

 private:
  Expr Add(Node node, int64_t cost);

  std::vector<Node> nodes_;
  std::vector<Expr> rules_;  // the bodies
  int64_t total_ = 0;
};

}  // namespace folkmoot
