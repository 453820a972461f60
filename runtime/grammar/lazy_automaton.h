// SPDX-License-Identifier: Apache-2.0
// A ByteGrammar made deterministic step by step, with what was found kept for the next time.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "runtime/grammar/byte_grammar.h"
#include "runtime/grammar/path_set.h"

namespace folkmoot {

// All ways to read the text so far. Belongs to a StateArena, which fills in the memory of it.
struct GrammarState {
  std::vector<GrammarPath> paths;  // ascending by node and frame hash
  int32_t droppable_spaces = 0;    // spaces that would not be seen, because decoding drops them
  bool accepts = false;            // the text so far is complete

  bool after_plain_known = false;
  std::vector<GrammarState*> next;  // by byte class; empty in states outside the arena
  GrammarState* after_plain = nullptr;
  std::vector<uint32_t> mask;  // of the tokens that may come, end tokens included
};

// The states found since the last time memory ran out. One thread at a time.
class StateArena {
 public:
  // More ways to read a text than this are not followed: what is allowed stays right, but some of
  // what would be right is not allowed. Only forms that are ambiguous on purpose get there.
  static constexpr size_t kMaxPaths = 512;
  static constexpr int64_t kMaxBytes = 8 << 20;

  // `grammar` must outlive the arena.
  explicit StateArena(const ByteGrammar& grammar);
  StateArena(const StateArena&) = delete;
  StateArena& operator=(const StateArena&) = delete;
  ~StateArena() = default;

  GrammarState* Start(int32_t droppable_spaces);
  // The state after one more byte; null: no text goes on like this. Once the arena is full, the
  // result may be `scratch`, overwritten and without memory.
  GrammarState* Next(GrammarState* state, uint8_t byte, GrammarState* scratch) {
    if (!state->next.empty()) {
      GrammarState* known = state->next[static_cast<size_t>(grammar_.byte_class(byte))];
      if (known != &unknown_) return known;
    }
    return FindNext(state, byte, scratch);
  }
  // The state after any plain character (see Vocabulary), if that is one and the same; else null.
  GrammarState* AfterPlain(GrammarState* state);
  // The same state, of another arena, in this one.
  GrammarState* Adopt(const GrammarState& state);

  bool full() const { return bytes_ >= kMaxBytes; }
  int64_t bytes() const { return bytes_; }
  void CountBytes(int64_t bytes) { bytes_ += bytes; }
  // Was there a state with more than kMaxPaths?
  bool truncated() const { return truncated_; }

 private:
  GrammarState* FindNext(GrammarState* state, uint8_t byte, GrammarState* scratch);
  GrammarState* FindAfterPlain(GrammarState* state);
  const GrammarFrame* Push(int32_t node, const GrammarFrame* parent);
  void Visit(GrammarPath path);
  // Everything that is reached from visited_ without a byte, as the state closed_.
  void Close();
  GrammarState* Intern(const GrammarState& state);  // a copy of it, or the one that there was

  const ByteGrammar& grammar_;
  GrammarState unknown_;  // its address means: not computed yet
  std::deque<GrammarFrame> frames_;
  absl::flat_hash_map<uint64_t, const GrammarFrame*> frame_of_;
  std::deque<GrammarState> states_;
  absl::flat_hash_map<uint64_t, GrammarState*> state_of_;
  std::vector<std::vector<std::vector<uint8_t>>> plain_;  // sequence, position, one byte per class
  int64_t bytes_ = 0;
  bool truncated_ = false;
  // of one call, kept for their memory
  PathSet visited_;
  GrammarState closed_;
};

// Characters that most tokens are made of and that JSON strings take without escape: printable,
// neither quote nor backslash.
const CodePointSet& PlainCharacters();

}  // namespace folkmoot
