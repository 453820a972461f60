// SPDX-License-Identifier: Apache-2.0
// ByteGrammarBuilder::Run is the main function: edges first (byte_grammar_builder.cc), then heights
// (which also tell what leads nowhere), the proof that no rule enters itself without text, and the
// compact form without dead nodes.
#include "runtime/grammar/byte_grammar.h"

#include <algorithm>
#include <deque>

#include "runtime/grammar/byte_grammar_builder.h"

namespace folkmoot {
namespace {

constexpr int64_t kMaxVisits = 10'000'000;  // edges looked at until heights are final

size_t At(int32_t node) { return static_cast<size_t>(node); }

}  // namespace

absl::StatusOr<ByteGrammar> ByteGrammar::Build(const Grammar& grammar) {
  FM_RETURN_IF_ERROR(grammar.CheckSize());
  return ByteGrammarBuilder(grammar).Run();
}

int64_t ByteGrammar::size_bytes() const {
  return static_cast<int64_t>(is_end_.size() * (1 + 4 + 16) + steps_.size() * sizeof(Step) +
                              bytes_.size() * sizeof(ByteEdge));
}

absl::StatusOr<ByteGrammar> ByteGrammarBuilder::Run() {
  FM_RETURN_IF_ERROR(AddRules());
  SortEdges();
  IndexUses();
  FM_RETURN_IF_ERROR(ComputeHeights());
  FM_RETURN_IF_ERROR(RefuseLeftRecursion());
  return Freeze();
}

void ByteGrammarBuilder::SortEdges() {
  first_edge_.assign(is_end_.size() + 1, 0);
  for (const Edge& edge : edges_) ++first_edge_[At(edge.from) + 1];
  for (size_t i = 1; i < first_edge_.size(); ++i) first_edge_[i] += first_edge_[i - 1];
  std::vector<size_t> next(first_edge_.begin(), first_edge_.end() - 1);
  std::vector<Edge> sorted(edges_.size());
  for (const Edge& edge : edges_) sorted[next[At(edge.from)]++] = edge;
  edges_ = std::move(sorted);
}

int32_t ByteGrammarBuilder::HeightOver(const Edge& edge) const {
  const int32_t after = height_[At(edge.to)];
  if (edge.rule < 0) return after;
  const int32_t inside = height_[At(rules_[At(edge.rule)].start)];
  if (IsTail(edge)) return inside;
  return std::max(after, std::min(kNever, inside + 1));
}

void ByteGrammarBuilder::IndexUses() {
  first_use_.assign(is_end_.size() + 1, 0);
  const auto for_each_use = [&](const auto& visit) {
    for (size_t e = 0; e < edges_.size(); ++e) {
      visit(edges_[e].to, e);
      if (edges_[e].rule >= 0) visit(rules_[At(edges_[e].rule)].start, e);
    }
  };
  for_each_use([&](int32_t node, size_t /*edge*/) { ++first_use_[At(node) + 1]; });
  for (size_t i = 1; i < first_use_.size(); ++i) first_use_[i] += first_use_[i - 1];
  std::vector<size_t> next(first_use_.begin(), first_use_.end() - 1);
  uses_.resize(first_use_.back());
  for_each_use(
      [&](int32_t node, size_t edge) { uses_[next[At(node)]++] = static_cast<uint32_t>(edge); });
}

bool ByteGrammarBuilder::FromEndsBackwards(absl::FunctionRef<bool(const Edge&)> update) const {
  std::deque<int32_t> changed;
  std::vector<uint8_t> waits(is_end_.size(), 0);
  const auto add = [&](int32_t node) {
    if (waits[At(node)] == 0) changed.push_back(node);
    waits[At(node)] = 1;
  };
  for (size_t i = 0; i < is_end_.size(); ++i) {
    if (is_end_[i] != 0) add(static_cast<int32_t>(i));
  }
  for (int64_t visits = 0; !changed.empty();) {
    const size_t node = At(changed.front());
    changed.pop_front();
    waits[node] = 0;
    for (size_t u = first_use_[node]; u < first_use_[node + 1]; ++u) {
      if (++visits > kMaxVisits) return false;
      const Edge& edge = edges_[uses_[u]];
      if (update(edge)) add(edge.from);
    }
  }
  return true;
}

absl::Status ByteGrammarBuilder::ComputeHeights() {
  height_.assign(is_end_.size(), kNever);
  for (size_t i = 0; i < height_.size(); ++i) {
    if (is_end_[i] != 0) height_[i] = 0;
  }
  const bool done = FromEndsBackwards([&](const Edge& edge) {  // heights only fall
    const int32_t height = HeightOver(edge);
    if (height >= height_[At(edge.from)]) return false;
    height_[At(edge.from)] = height;
    return true;
  });
  if (!done) {
    return ResourceExhausted("the form's rules refer to each other in too many ways");
  }
  const int32_t whole = height_[At(rules_[0].start)];
  if (whole == kNever) return InvalidArgument("no text can satisfy this form");
  if (whole > ByteGrammar::kMaxDepth) {
    return ResourceExhausted("the form is nested too deeply (its shortest text needs {} levels)",
                             whole);
  }
  return absl::OkStatus();
}

void ByteGrammarBuilder::ComputeNullable() {
  nullable_ = is_end_;
  // Each node changes once at most, so this never runs out of visits before the heights did.
  FromEndsBackwards([&](const Edge& edge) {
    if (nullable_[At(edge.from)] != 0 || edge.over_byte || nullable_[At(edge.to)] == 0 ||
        (edge.rule >= 0 && nullable_[At(rules_[At(edge.rule)].start)] == 0)) {
      return false;
    }
    nullable_[At(edge.from)] = 1;
    return true;
  });
}

std::vector<int32_t> ByteGrammarBuilder::RulesEnteredFirst(int32_t rule) const {
  std::vector<int32_t> entered;
  std::vector<int32_t> open{rules_[At(rule)].start};
  absl::flat_hash_map<int32_t, bool> seen;
  seen[open[0]] = true;
  while (!open.empty()) {
    const size_t node = At(open.back());
    open.pop_back();
    for (size_t e = first_edge_[node]; e < first_edge_[node + 1]; ++e) {
      const Edge& edge = edges_[e];
      if (edge.over_byte || HeightOver(edge) >= kNever) continue;
      if (edge.rule >= 0) {
        entered.push_back(edge.rule);
        if (nullable_[At(rules_[At(edge.rule)].start)] == 0) continue;
      }
      if (seen.try_emplace(edge.to, true).second) open.push_back(edge.to);
    }
  }
  return entered;
}

absl::Status ByteGrammarBuilder::RefuseLeftRecursion() {
  ComputeNullable();
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> state(rules_.size(), kNew);
  struct Visit {
    int32_t rule;
    std::vector<int32_t> next;
  };
  for (size_t root = 0; root < rules_.size(); ++root) {
    if (state[root] != kNew) continue;
    std::vector<Visit> path;
    const auto enter = [&](int32_t rule) {
      state[At(rule)] = kOpen;
      path.push_back({rule, RulesEnteredFirst(rule)});
    };
    enter(static_cast<int32_t>(root));
    while (!path.empty()) {
      if (path.back().next.empty()) {
        state[At(path.back().rule)] = kDone;
        path.pop_back();
        continue;
      }
      const int32_t next = path.back().next.back();
      path.back().next.pop_back();
      if (state[At(next)] == kOpen) {
        return InvalidArgument("a rule ($ref) leads back to itself without any text between");
      }
      if (state[At(next)] == kNew) enter(next);
    }
  }
  return absl::OkStatus();
}

ByteGrammar ByteGrammarBuilder::Freeze() {
  ByteGrammar result;
  result.start_ = rules_[0].start;
  result.is_end_ = is_end_;
  result.height_ = height_;
  std::array<bool, 257> border{};
  const size_t nodes = is_end_.size();
  result.step_begin_.reserve(nodes + 1);
  result.byte_begin_.reserve(nodes + 1);
  for (size_t node = 0; node < nodes; ++node) {
    result.step_begin_.push_back(result.steps_.size());
    result.byte_begin_.push_back(result.bytes_.size());
    for (size_t e = first_edge_[node]; e < first_edge_[node + 1]; ++e) {
      const Edge& edge = edges_[e];
      if (HeightOver(edge) >= kNever) continue;
      if (edge.over_byte) {
        result.bytes_.push_back({.to = edge.to, .low = edge.low, .high = edge.high});
        border[edge.low] = true;
        border[size_t{edge.high} + 1] = true;
      } else {
        const int32_t call = edge.rule < 0 ? -1 : rules_[At(edge.rule)].start;
        result.steps_.push_back({.to = edge.to, .call = call, .tail = call >= 0 && IsTail(edge)});
      }
    }
    std::stable_sort(result.bytes_.begin() + static_cast<ptrdiff_t>(result.byte_begin_.back()),
                     result.bytes_.end(),
                     [](const ByteGrammar::ByteEdge& a, const ByteGrammar::ByteEdge& b) {
                       return a.low < b.low;
                     });
  }
  result.step_begin_.push_back(result.steps_.size());
  result.byte_begin_.push_back(result.bytes_.size());
  int last_class = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (byte > 0 && border[byte]) ++last_class;
    result.class_of_[byte] = static_cast<uint8_t>(last_class);
  }
  result.class_count_ = last_class + 1;
  return result;
}

}  // namespace folkmoot
