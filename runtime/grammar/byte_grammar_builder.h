// SPDX-License-Identifier: Apache-2.0
// Translates expressions into the nodes of a ByteGrammar and proves that it can be used. Private to
// runtime/grammar.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/functional/function_ref.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grammar/byte_grammar.h"

namespace folkmoot {

class ByteGrammarBuilder {
 public:
  explicit ByteGrammarBuilder(const Grammar& grammar) : grammar_(grammar) {}

  absl::StatusOr<ByteGrammar> Run();

 private:
  struct RuleNodes {
    int32_t start = 0, end = 0;
  };
  struct Edge {
    int32_t from = 0, to = 0;
    int32_t rule = -1;  // a call
    bool over_byte = false;
    uint8_t low = 0, high = 0;
  };
  static constexpr int32_t kNever = 1 << 20;  // height of a node that leads nowhere

  // byte_grammar_builder.cc: expressions to edges
  absl::Status AddRules();
  absl::Status BuildExpr(Grammar::Expr expr, int32_t from, int32_t to);
  absl::Status BuildRepeat(const Grammar::Node& node, int32_t from, int32_t to);
  void BuildOneOf(std::vector<std::string> choices, int32_t from, int32_t to);
  void BuildClass(const std::vector<Utf8Sequence>& sequences, int32_t from, int32_t to);
  int32_t RuleOf(Grammar::Expr expr);
  RuleNodes NewRuleNodes();
  int32_t NewNode();
  void AddByte(int32_t from, int low, int high, int32_t to);
  void AddSkip(int32_t from, int32_t to) { edges_.push_back({.from = from, .to = to}); }
  absl::Status CheckSize() const;

  // byte_grammar.cc: properties of the whole
  void SortEdges();
  void IndexUses();
  // Calls `update` for edges whose target or rule has changed, the ends of rules first; true from
  // it means that the edge's own node has changed. False: too much work.
  bool FromEndsBackwards(absl::FunctionRef<bool(const Edge&)> update) const;
  bool IsTail(const Edge& edge) const { return is_end_[static_cast<size_t>(edge.to)] != 0; }
  int32_t HeightOver(const Edge& edge) const;
  absl::Status ComputeHeights();
  absl::Status RefuseLeftRecursion();
  void ComputeNullable();
  std::vector<int32_t> RulesEnteredFirst(int32_t rule) const;
  ByteGrammar Freeze();

  const Grammar& grammar_;
  std::vector<Edge> edges_;
  std::vector<size_t> first_edge_;  // [nodes + 1], after SortEdges
  std::vector<size_t> first_use_;   // [nodes + 1] into uses_
  std::vector<uint32_t> uses_;      // edges to a node, or into the rule that begins with it
  std::vector<uint8_t> is_end_, nullable_;
  std::vector<int32_t> height_;
  std::vector<RuleNodes> rules_;            // the grammar's rules, then those made for repetitions
  std::vector<Grammar::Expr> rule_bodies_;  // [rules]
  absl::flat_hash_map<Grammar::Expr, int32_t> shared_;
};

}  // namespace folkmoot
