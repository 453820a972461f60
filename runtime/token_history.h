// SPDX-License-Identifier: Apache-2.0
// Which tokens a sequence holds and how often it has written them, for penalties. Kept up to date
// as the sequence grows, so that a step touches only the distinct tokens of the history.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace folkmoot {

class TokenHistory {
 public:
  struct Entry {
    int32_t token = 0;
    int32_t written = 0;  // times in the output; 0: in the prompt only
  };

  void AddPrompt(std::span<const int32_t> tokens);
  void AddOutput(int32_t token);

  // Each token of prompt and output once, in the order of their first appearance.
  std::span<const Entry> entries() const { return entries_; }
  // The output so far.
  std::span<const int32_t> output() const { return output_; }

 private:
  Entry& Find(int32_t token);

  absl::flat_hash_map<int32_t, size_t> index_;  // of entries_
  std::vector<Entry> entries_;
  std::vector<int32_t> output_;
};

}  // namespace folkmoot
