// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/grammar.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"

namespace folkmoot {
namespace {

constexpr int64_t kSizeCap = int64_t{1} << 40;  // sums and products of sizes stop here

}  // namespace

Grammar::Grammar() {
  Add({.kind = Kind::kEmpty}, 0);
  Add({.kind = Kind::kNever}, 0);
  NewRule();
}

Grammar::Expr Grammar::Add(Node node, int64_t cost) {
  total_ += 1 + cost;
  node.size = std::min(node.size, kSizeCap);
  nodes_.push_back(std::move(node));
  return static_cast<Expr>(nodes_.size() - 1);
}

Grammar::Expr Grammar::Literal(std::string_view bytes) {
  if (bytes.empty()) return Empty();
  const auto size = static_cast<int64_t>(bytes.size());
  return Add({.kind = Kind::kLiteral, .size = size, .text = std::string(bytes)}, size);
}

Grammar::Expr Grammar::OneOf(std::vector<std::string> choices) {
  int64_t size = 1;
  for (const std::string& choice : choices) size += static_cast<int64_t>(choice.size()) + 1;
  return Add({.kind = Kind::kOneOf, .size = size, .choices = std::move(choices)}, size);
}

Grammar::Expr Grammar::Class(const CodePointSet& set) {
  if (set.empty()) return Never();
  std::vector<Utf8Sequence> sequences = Utf8Sequences(set);
  int64_t states = 1;
  for (const Utf8Sequence& sequence : sequences) states += sequence.length - 1;
  const auto cost = static_cast<int64_t>(sequences.size());
  return Add({.kind = Kind::kClass, .size = states, .sequences = std::move(sequences)}, cost);
}

Grammar::Expr Grammar::Seq(std::vector<Expr> parts) {
  std::erase(parts, Empty());
  if (parts.empty()) return Empty();
  if (parts.size() == 1) return parts[0];
  int64_t size = 0;
  for (const Expr part : parts) size += node(part).size;
  const auto cost = static_cast<int64_t>(parts.size());
  return Add({.kind = Kind::kSeq, .size = size, .children = std::move(parts)}, cost);
}

Grammar::Expr Grammar::Alt(std::vector<Expr> branches) {
  std::erase(branches, Never());
  if (branches.empty()) return Never();
  if (branches.size() == 1) return branches[0];
  int64_t size = 1;
  for (const Expr branch : branches) size += node(branch).size;
  const auto cost = static_cast<int64_t>(branches.size());
  return Add({.kind = Kind::kAlt, .size = size, .children = std::move(branches)}, cost);
}

Grammar::Expr Grammar::Repeat(Expr child, int64_t min, int64_t max) {
  FM_CHECK(min >= 0 && (max == kNoLimit || max >= min));
  if (max == 0 || child == Empty()) return Empty();
  if (min == 1 && max == 1) return child;
  const int64_t copies = max == kNoLimit ? min + 1 : max;
  const int64_t each = node(child).size;
  const int64_t size = each > kSizeCap / copies ? kSizeCap : each * copies;
  return Add({.kind = Kind::kRepeat, .size = size + 1, .children = {child}, .min = min, .max = max},
             0);
}

Grammar::Expr Grammar::Call(int32_t rule) { return Add({.kind = Kind::kCall, .rule = rule}, 0); }

int32_t Grammar::NewRule() {
  total_ += 2;
  rules_.push_back(Never());
  return static_cast<int32_t>(rules_.size() - 1);
}

void Grammar::Define(int32_t rule, Expr body) { rules_[static_cast<size_t>(rule)] = body; }

Grammar::Expr Grammar::Shared(Expr body) {
  const int32_t rule = NewRule();
  Define(rule, body);
  return Call(rule);
}

absl::Status Grammar::CheckSize() const {
  if (total_ <= kMaxSize) return absl::OkStatus();
  return ResourceExhausted("the form is too large to compile (more than {} parts)", kMaxSize);
}

}  // namespace folkmoot
