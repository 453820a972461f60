// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/mask_walk.h"

#include <utility>

namespace folkmoot {

bool MaskWalk::TakesPlain(GrammarState* state) {
  for (int i = 0; i < vocabulary_.longest_plain(); ++i) {
    GrammarState* next = arena_.AfterPlain(state);
    if (next == nullptr) return false;
    if (next == state) return true;
    state = next;
  }
  return true;
}

bool MaskWalk::Walk(const TokenTrie& trie, GrammarState* state, int max_depth) {
  const int32_t count = trie.node_count();
  if (path_.empty()) path_.resize(Vocabulary::kMaxTokenBytes + 1);
  path_[0] = state;
  for (int32_t i = 0; i < count;) {
    const TokenTrie::Node& node = trie.nodes[static_cast<size_t>(i)];
    GrammarState* at = path_[node.depth - size_t{1}];
    work_ += 1 + static_cast<int64_t>(at->paths.size());
    if (work_ > kMaxWork) return false;
    while (scratch_.size() <= node.depth) scratch_.emplace_back();
    GrammarState* next =
        node.depth > max_depth ? nullptr : arena_.Next(at, node.byte, &scratch_[node.depth]);
    if (next == nullptr) {
      i = node.end;
      continue;
    }
    path_[node.depth] = next;
    const int32_t end = trie.nodes[static_cast<size_t>(i) + 1].first_token;
    for (int32_t t = node.first_token; t < end; ++t) {
      const auto token = static_cast<uint32_t>(trie.tokens[static_cast<size_t>(t)]);
      mask_[token / 32] |= uint32_t{1} << (token % 32);
    }
    ++i;
  }
  return true;
}

std::vector<uint32_t> MaskWalk::Run(GrammarState* state, bool first) {
  for (const int max_depth : {static_cast<int>(Vocabulary::kMaxTokenBytes), 4, 1}) {
    work_ = 0;
    mask_.assign(vocabulary_.mask_words(), 0);
    bool done = false;
    if (first && vocabulary_.first_differs()) {
      done = Walk(vocabulary_.first_trie(), state, max_depth);
    } else if (TakesPlain(state)) {
      mask_ = vocabulary_.plain_mask();
      done = Walk(vocabulary_.other_trie(), state, max_depth);
    } else {
      done = Walk(vocabulary_.plain_trie(), state, max_depth) &&
             Walk(vocabulary_.other_trie(), state, max_depth);
    }
    if (done) break;
  }
  if (state->accepts) {
    for (const int32_t id : vocabulary_.end_ids()) {
      mask_[static_cast<size_t>(id) / 32] |= uint32_t{1} << (static_cast<uint32_t>(id) % 32);
    }
  }
  return std::move(mask_);
}

}  // namespace folkmoot
