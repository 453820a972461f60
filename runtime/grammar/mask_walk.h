// SPDX-License-Identifier: Apache-2.0
// Which tokens may come next in a state. Private to runtime/grammar.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "runtime/grammar/lazy_automaton.h"
#include "runtime/grammar/vocabulary.h"

namespace folkmoot {

// Follows every token's bytes through the automaton, a common beginning once.
//
// Work is bounded: after kMaxWork steps (paths of states times bytes, whatever is remembered, so
// that the result does not depend on other requests) only tokens of a few bytes are looked at.
class MaskWalk {
 public:
  static constexpr int64_t kMaxWork = 6'000'000;

  MaskWalk(const Vocabulary& vocabulary, StateArena& arena)
      : vocabulary_(vocabulary), arena_(arena) {}

  // The mask of `state`, end tokens included. `first`: no token has come yet.
  std::vector<uint32_t> Run(GrammarState* state, bool first);

 private:
  bool TakesPlain(GrammarState* state);
  // False: out of work.
  bool Walk(const TokenTrie& trie, GrammarState* state, int max_depth);

  const Vocabulary& vocabulary_;
  StateArena& arena_;
  std::vector<uint32_t> mask_;
  int64_t work_ = 0;
  std::vector<GrammarState*> path_;   // [depth + 1] the states along the current token
  std::deque<GrammarState> scratch_;  // [depth + 1]
};

}  // namespace folkmoot
