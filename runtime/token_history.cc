// SPDX-License-Identifier: Apache-2.0
#include "runtime/token_history.h"

namespace folkmoot {

TokenHistory::Entry& TokenHistory::Find(int32_t token) {
  const auto [found, is_new] = index_.try_emplace(token, entries_.size());
  if (is_new) entries_.push_back({.token = token});
  return entries_[found->second];
}

void TokenHistory::AddPrompt(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) Find(token);
}

void TokenHistory::AddOutput(int32_t token) {
  ++Find(token).written;
  output_.push_back(token);
}

}  // namespace folkmoot
