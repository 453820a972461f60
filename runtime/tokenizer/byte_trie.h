// SPDX-License-Identifier: Apache-2.0
// A trie over bytes: which words of a set begin at a place of a text.
// Private to runtime/tokenizer.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace folkmoot {

class ByteTrie {
 public:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNone = -1;

  // `value` must not be negative; a word that is there gets the new one.
  void Insert(std::string_view word, int32_t value) {
    int32_t node = kRoot;
    for (const char byte : word) {
      const auto [edge, is_new] =
          edges_.emplace(EdgeKey(node, byte), static_cast<int32_t>(values_.size()));
      if (is_new) values_.push_back(kNone);
      node = edge->second;
    }
    values_[static_cast<size_t>(node)] = value;
  }

  bool empty() const { return edges_.empty(); }
  // The node behind `byte`, or kNone.
  int32_t Step(int32_t node, char byte) const {
    const auto edge = edges_.find(EdgeKey(node, byte));
    return edge == edges_.end() ? kNone : edge->second;
  }
  // The value of the word that ends at `node`, or kNone.
  int32_t Value(int32_t node) const { return values_[static_cast<size_t>(node)]; }

 private:
  static uint64_t EdgeKey(int32_t node, char byte) {
    return (static_cast<uint64_t>(node) << 8) | static_cast<uint8_t>(byte);
  }

  absl::flat_hash_map<uint64_t, int32_t> edges_;
  std::vector<int32_t> values_{kNone};
};

}  // namespace folkmoot
