// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/byte_grammar_builder.h"

#include <algorithm>

namespace folkmoot {
namespace {

// What is repeated more than twice and larger than this becomes a rule, so that a repetition costs
// one node for each turn.
constexpr int64_t kInlineSize = 6;

}  // namespace

int32_t ByteGrammarBuilder::NewNode() {
  is_end_.push_back(0);
  return static_cast<int32_t>(is_end_.size() - 1);
}

ByteGrammarBuilder::RuleNodes ByteGrammarBuilder::NewRuleNodes() {
  const RuleNodes nodes{.start = NewNode(), .end = NewNode()};
  is_end_.back() = 1;
  return nodes;
}

void ByteGrammarBuilder::AddByte(int32_t from, int low, int high, int32_t to) {
  edges_.push_back({.from = from,
                    .to = to,
                    .over_byte = true,
                    .low = static_cast<uint8_t>(low),
                    .high = static_cast<uint8_t>(high)});
}

absl::Status ByteGrammarBuilder::CheckSize() const {
  if (static_cast<int64_t>(is_end_.size()) > ByteGrammar::kMaxNodes ||
      static_cast<int64_t>(edges_.size()) > ByteGrammar::kMaxEdges) {
    return ResourceExhausted(
        "the form takes more than {} states or {} transitions; use smaller repetition counts",
        ByteGrammar::kMaxNodes, ByteGrammar::kMaxEdges);
  }
  return absl::OkStatus();
}

absl::Status ByteGrammarBuilder::AddRules() {
  for (const Grammar::Expr body : grammar_.rules()) {
    rules_.push_back(NewRuleNodes());
    rule_bodies_.push_back(body);
  }
  for (size_t i = 0; i < rules_.size(); ++i) {  // grows while it runs
    const RuleNodes nodes = rules_[i];
    FM_RETURN_IF_ERROR(BuildExpr(rule_bodies_[i], nodes.start, nodes.end));
  }
  return CheckSize();
}

int32_t ByteGrammarBuilder::RuleOf(Grammar::Expr expr) {
  const auto [entry, is_new] = shared_.try_emplace(expr, static_cast<int32_t>(rules_.size()));
  if (is_new) {
    rules_.push_back(NewRuleNodes());
    rule_bodies_.push_back(expr);
  }
  return entry->second;
}

absl::Status ByteGrammarBuilder::BuildExpr(Grammar::Expr expr, int32_t from, int32_t to) {
  FM_RETURN_IF_ERROR(CheckSize());
  const Grammar::Node& node = grammar_.node(expr);
  switch (node.kind) {
    case Grammar::Kind::kEmpty:
      AddSkip(from, to);
      break;
    case Grammar::Kind::kNever:
      break;
    case Grammar::Kind::kLiteral:
      BuildOneOf({node.text}, from, to);
      break;
    case Grammar::Kind::kOneOf:
      BuildOneOf(node.choices, from, to);
      break;
    case Grammar::Kind::kClass:
      BuildClass(node.sequences, from, to);
      break;
    case Grammar::Kind::kRepeat:
      return BuildRepeat(node, from, to);
    case Grammar::Kind::kCall:
      edges_.push_back({.from = from, .to = to, .rule = node.rule});
      break;
    case Grammar::Kind::kAlt:
      for (const Grammar::Expr branch : node.children) {
        FM_RETURN_IF_ERROR(BuildExpr(branch, from, to));
      }
      break;
    case Grammar::Kind::kSeq:
      for (size_t i = 0; i < node.children.size(); ++i) {
        const int32_t next = i + 1 == node.children.size() ? to : NewNode();
        FM_RETURN_IF_ERROR(BuildExpr(node.children[i], from, next));
        from = next;
      }
      break;
  }
  return absl::OkStatus();
}

absl::Status ByteGrammarBuilder::BuildRepeat(const Grammar::Node& node, int32_t from, int32_t to) {
  const Grammar::Expr child = node.children[0];
  const bool unbounded = node.max == Grammar::kNoLimit;
  const int64_t copies = unbounded ? node.min + 1 : node.max;
  const bool shared = copies > 2 && grammar_.node(child).size > kInlineSize;
  const int32_t rule = shared ? RuleOf(child) : -1;
  const auto once = [&](int32_t begin, int32_t end) -> absl::Status {
    if (!shared) return BuildExpr(child, begin, end);
    edges_.push_back({.from = begin, .to = end, .rule = rule});
    return CheckSize();
  };
  int32_t at = NewNode();  // nothing may be added to the edges of `from` but a way in
  AddSkip(from, at);
  for (int64_t i = 0; i < node.min; ++i) {
    const int32_t next = NewNode();
    FM_RETURN_IF_ERROR(once(at, next));
    at = next;
  }
  if (unbounded) {
    const int32_t loop = NewNode();
    AddSkip(at, loop);
    FM_RETURN_IF_ERROR(once(loop, loop));
    at = loop;
  }
  for (int64_t i = node.min; i < node.max; ++i) {
    AddSkip(at, to);
    const int32_t next = NewNode();
    FM_RETURN_IF_ERROR(once(at, next));
    at = next;
  }
  AddSkip(at, to);
  return absl::OkStatus();
}

void ByteGrammarBuilder::BuildOneOf(std::vector<std::string> choices, int32_t from, int32_t to) {
  std::sort(choices.begin(), choices.end());
  choices.erase(std::unique(choices.begin(), choices.end()), choices.end());
  struct Group {  // choices[begin, end) share their first `depth` bytes, which lead to `node`
    size_t begin, end, depth;
    int32_t node;
  };
  std::vector<Group> groups{{0, choices.size(), 0, from}};
  while (!groups.empty()) {
    Group group = groups.back();
    groups.pop_back();
    if (group.begin < group.end && choices[group.begin].size() == group.depth) {
      AddSkip(group.node, to);
      ++group.begin;
    }
    while (group.begin < group.end) {
      const char byte = choices[group.begin][group.depth];
      size_t last = group.begin;
      while (last < group.end && choices[last][group.depth] == byte) ++last;
      const bool leaf = last == group.begin + 1 && choices[group.begin].size() == group.depth + 1;
      const int32_t next = leaf ? to : NewNode();
      const int value = static_cast<uint8_t>(byte);
      AddByte(group.node, value, value, next);
      if (!leaf) groups.push_back({group.begin, last, group.depth + 1, next});
      group.begin = last;
    }
  }
}

void ByteGrammarBuilder::BuildClass(const std::vector<Utf8Sequence>& sequences, int32_t from,
                                    int32_t to) {
  // Nodes after which only arbitrary continuation bytes follow, shared by the sequences.
  int32_t any_rest[4] = {to, -1, -1, -1};
  const auto rest = [&](int count) {
    for (int i = 1; i <= count; ++i) {
      if (any_rest[i] >= 0) continue;
      any_rest[i] = NewNode();
      AddByte(any_rest[i], 0x80, 0xBF, any_rest[i - 1]);
    }
    return any_rest[count];
  };
  for (const Utf8Sequence& sequence : sequences) {
    int narrow = sequence.length;  // from here on every continuation byte is allowed
    while (narrow > 1 && sequence.low[narrow - 1] == 0x80 && sequence.high[narrow - 1] == 0xBF) {
      --narrow;
    }
    int32_t at = from;
    for (int i = 0; i < narrow; ++i) {
      const int32_t next = i + 1 == narrow ? rest(sequence.length - narrow) : NewNode();
      AddByte(at, sequence.low[i], sequence.high[i], next);
      at = next;
    }
  }
}

}  // namespace folkmoot
