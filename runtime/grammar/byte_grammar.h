// SPDX-License-Identifier: Apache-2.0
// A grammar as a nondeterministic pushdown automaton over bytes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/grammar/grammar.h"
#include "runtime/status.h"

namespace folkmoot {

// Immutable; any thread may read it at the same time.
//
// A node has edges of four kinds: over a byte of a range, over nothing, into a rule with a node to
// come back to (call), and into a rule at the end of another one (tail call: no need to come
// back). A stack of the nodes to come back to makes it a pushdown automaton; kMaxDepth bounds it.
// From every node that is left, with every stack within the bound, some text leads to the end.
class ByteGrammar {
 public:
  static constexpr int kMaxDepth = 160;
  static constexpr int64_t kMaxNodes = 250'000;
  static constexpr int64_t kMaxEdges = 1'000'000;

  struct Step {  // an edge without a byte
    int32_t to = 0;
    int32_t call = -1;  // the rule's first node; -1: none
    bool tail = false;  // `to` is the end of this rule
  };
  struct ByteEdge {
    int32_t to = 0;
    uint8_t low = 0, high = 0;
  };

  // Errors: InvalidArgument when no text fits the form or a rule leads to itself without text;
  // ResourceExhausted when it takes too many nodes or its shortest text is nested too deeply.
  static absl::StatusOr<ByteGrammar> Build(const Grammar& grammar);

  int32_t start() const { return start_; }
  bool is_end(int32_t node) const { return is_end_[Index(node)] != 0; }
  // How much deeper than at `node` the stack must become on the way to the end of its rule.
  int height(int32_t node) const { return height_[Index(node)]; }
  std::span<const Step> steps(int32_t node) const {
    return {steps_.data() + step_begin_[Index(node)], steps_.data() + step_begin_[Index(node) + 1]};
  }
  // Ascending by their lowest byte.
  std::span<const ByteEdge> bytes(int32_t node) const {
    return {bytes_.data() + byte_begin_[Index(node)], bytes_.data() + byte_begin_[Index(node) + 1]};
  }
  // Bytes that no edge tells apart share a class.
  int class_count() const { return class_count_; }
  int byte_class(uint8_t byte) const { return class_of_[byte]; }
  int64_t size_bytes() const;

 private:
  friend class ByteGrammarBuilder;
  static size_t Index(int32_t node) { return static_cast<size_t>(node); }

  int32_t start_ = 0;
  std::vector<uint8_t> is_end_;
  std::vector<int32_t> height_;
  std::vector<size_t> step_begin_, byte_begin_;  // [nodes + 1]
  std::vector<Step> steps_;
  std::vector<ByteEdge> bytes_;
  std::array<uint8_t, 256> class_of_{};
  int class_count_ = 0;
};

}  // namespace folkmoot
