// SPDX-License-Identifier: Apache-2.0
// Ways to read a text, and a set of them that keeps their order. Private to runtime/grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace folkmoot {

// Nodes to come back to, innermost first. Null: none.
struct GrammarFrame {
  int32_t node = 0;
  int32_t depth = 0;  // frames from here on, itself included
  const GrammarFrame* parent = nullptr;
  uint64_t hash = 0;  // of the nodes alone: the same in every run
};

// One way to read the text so far: a node that has byte edges, and where its rule goes on.
struct GrammarPath {
  int32_t node = 0;
  const GrammarFrame* frame = nullptr;
  bool operator==(const GrammarPath&) const = default;
};

// Filled and emptied for every byte that a grammar follows, so emptying it costs nothing: slots of
// an earlier round count as free. One thread at a time.
class PathSet {
 public:
  PathSet();

  // False: `path` was there.
  bool Insert(const GrammarPath& path);
  void Clear();

  size_t size() const { return paths_.size(); }
  // In the order in which they came. A reference is valid until the next Insert.
  const GrammarPath& operator[](size_t i) const { return paths_[i]; }

 private:
  struct Slot {
    uint32_t round = 0;
    uint32_t path = 0;  // its place in paths_
  };
  Slot* Find(const GrammarPath& path);
  void Grow();

  std::vector<GrammarPath> paths_;
  std::vector<Slot> slots_;  // a power of two, at least twice as many as paths
  uint32_t round_ = 1;
};

}  // namespace folkmoot
