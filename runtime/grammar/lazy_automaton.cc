// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/lazy_automaton.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"

namespace folkmoot {
namespace {

constexpr size_t kMaxVisits = 16 * StateArena::kMaxPaths;  // nodes, those without bytes included

uint64_t MixHash(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

uint64_t FrameHash(const GrammarFrame* frame) { return frame == nullptr ? 0 : frame->hash; }
int32_t Depth(const GrammarFrame* frame) { return frame == nullptr ? 0 : frame->depth; }

uint64_t StateHash(const GrammarState& state) {
  uint64_t hash = MixHash(state.accepts ? 3 : 5, static_cast<uint64_t>(state.droppable_spaces));
  for (const GrammarPath& path : state.paths) {
    hash = MixHash(MixHash(hash, static_cast<uint64_t>(path.node)), FrameHash(path.frame));
  }
  return hash;
}

}  // namespace

const CodePointSet& PlainCharacters() {
  static const CodePointSet kSet(
      {{' ', '!'}, {'#', '['}, {']', '~'}, {0xA0, 0x2027}, {0x202A, CodePointSet::kLast}});
  return kSet;
}

StateArena::StateArena(const ByteGrammar& grammar) : grammar_(grammar) {
  for (const Utf8Sequence& sequence : Utf8Sequences(PlainCharacters())) {
    auto& positions = plain_.emplace_back();
    for (int i = 0; i < sequence.length; ++i) {
      auto& bytes = positions.emplace_back();
      for (int byte = sequence.low[i]; byte <= sequence.high[i]; ++byte) {
        const auto value = static_cast<uint8_t>(byte);
        if (bytes.empty() || grammar.byte_class(bytes.back()) != grammar.byte_class(value)) {
          bytes.push_back(value);
        }
      }
    }
  }
}

const GrammarFrame* StateArena::Push(int32_t node, const GrammarFrame* parent) {
  const uint64_t hash = MixHash(FrameHash(parent) + 1, static_cast<uint64_t>(node));
  for (uint64_t key = hash;; ++key) {
    const auto [entry, is_new] = frame_of_.try_emplace(key, nullptr);
    if (is_new) {
      frames_.push_back({.node = node, .depth = Depth(parent) + 1, .parent = parent, .hash = hash});
      entry->second = &frames_.back();
      bytes_ += static_cast<int64_t>(sizeof(GrammarFrame) + 24);
    }
    if (entry->second->node == node && entry->second->parent == parent) return entry->second;
  }
}

void StateArena::Visit(GrammarPath path) {
  if (Depth(path.frame) + grammar_.height(path.node) > ByteGrammar::kMaxDepth) return;
  if (visited_.size() >= kMaxVisits) {
    truncated_ = true;
    return;
  }
  visited_.Insert(path);
}

void StateArena::Close() {
  closed_.paths.clear();
  closed_.accepts = false;
  closed_.droppable_spaces = 0;
  for (size_t i = 0; i < visited_.size(); ++i) {  // grows while it runs
    const GrammarPath path = visited_[i];
    if (!grammar_.bytes(path.node).empty()) closed_.paths.push_back(path);
    if (grammar_.is_end(path.node)) {
      if (path.frame == nullptr) {
        closed_.accepts = true;
      } else {
        Visit({path.frame->node, path.frame->parent});
      }
    }
    for (const ByteGrammar::Step& step : grammar_.steps(path.node)) {
      if (step.call < 0) {
        Visit({step.to, path.frame});
      } else if (step.tail) {
        Visit({step.call, path.frame});
      } else if (Depth(path.frame) + grammar_.height(step.to) <= ByteGrammar::kMaxDepth &&
                 Depth(path.frame) + 1 + grammar_.height(step.call) <= ByteGrammar::kMaxDepth) {
        Visit({step.call, Push(step.to, path.frame)});
      }
    }
  }
  visited_.Clear();
  const auto before = [](const GrammarPath& a, const GrammarPath& b) {
    return a.node != b.node ? a.node < b.node : FrameHash(a.frame) < FrameHash(b.frame);
  };
  std::sort(closed_.paths.begin(), closed_.paths.end(), before);
  if (closed_.paths.size() > kMaxPaths) {
    truncated_ = true;
    closed_.paths.resize(kMaxPaths);
  }
}

GrammarState* StateArena::Intern(const GrammarState& state) {
  for (uint64_t key = StateHash(state);; ++key) {
    const auto [entry, is_new] = state_of_.try_emplace(key, nullptr);
    if (is_new) {
      entry->second = &states_.emplace_back(state);
      entry->second->next.assign(static_cast<size_t>(grammar_.class_count()), &unknown_);
      constexpr size_t kPointer = sizeof(void*);
      const size_t size = sizeof(GrammarState) + 24 + state.paths.size() * sizeof(GrammarPath) +
                          entry->second->next.size() * kPointer;
      bytes_ += static_cast<int64_t>(size);
      return entry->second;
    }
    const GrammarState& found = *entry->second;
    if (found.paths == state.paths && found.accepts == state.accepts &&
        found.droppable_spaces == state.droppable_spaces) {
      return entry->second;
    }
  }
}

GrammarState* StateArena::Start(int32_t droppable_spaces) {
  Visit({grammar_.start(), nullptr});
  Close();
  closed_.droppable_spaces = droppable_spaces;
  return Intern(closed_);
}

GrammarState* StateArena::FindNext(GrammarState* state, uint8_t byte, GrammarState* scratch) {
  if (state->droppable_spaces > 0 && byte == ' ') {
    closed_.paths = state->paths;
    closed_.accepts = state->accepts;
    closed_.droppable_spaces = state->droppable_spaces - 1;
  } else {
    for (const GrammarPath& path : state->paths) {
      for (const ByteGrammar::ByteEdge& edge : grammar_.bytes(path.node)) {
        if (edge.low > byte) break;
        if (byte <= edge.high) Visit({edge.to, path.frame});
      }
    }
    Close();
  }
  const bool dead = closed_.paths.empty() && !closed_.accepts;
  const bool outside = state->next.empty() || full();
  if (outside && !dead) {
    *scratch = closed_;
    return scratch;
  }
  GrammarState* result = dead ? nullptr : Intern(closed_);
  // A space can be a class of its own only in the grammar's eyes: the states that drop spaces do
  // not remember what follows.
  if (!state->next.empty() && state->droppable_spaces == 0) {
    state->next[static_cast<size_t>(grammar_.byte_class(byte))] = result;
  }
  return result;
}

GrammarState* StateArena::AfterPlain(GrammarState* state) {
  if (state->next.empty() || state->droppable_spaces > 0) return nullptr;
  if (!state->after_plain_known && !full()) {
    state->after_plain = FindAfterPlain(state);
    state->after_plain_known = true;
  }
  return state->after_plain;
}

GrammarState* StateArena::FindAfterPlain(GrammarState* state) {
  constexpr size_t kMaxStates = 4;  // inside a character, in states that take all characters
  GrammarState scratch;
  GrammarState* target = nullptr;
  std::vector<GrammarState*> at, after;
  for (const auto& positions : plain_) {
    at.assign(1, state);
    for (const std::vector<uint8_t>& bytes : positions) {
      after.clear();
      for (GrammarState* from : at) {
        for (const uint8_t byte : bytes) {
          GrammarState* next = Next(from, byte, &scratch);
          if (next == nullptr || next == &scratch) return nullptr;
          if (std::find(after.begin(), after.end(), next) == after.end()) after.push_back(next);
          if (after.size() > kMaxStates) return nullptr;
        }
      }
      std::swap(at, after);
    }
    if (target == nullptr) target = at[0];
    if (at.size() != 1 || at[0] != target) return nullptr;
  }
  return target;
}

GrammarState* StateArena::Adopt(const GrammarState& state) {
  GrammarState copy;
  copy.accepts = state.accepts;
  copy.droppable_spaces = state.droppable_spaces;
  std::vector<const GrammarFrame*> chain;
  for (const GrammarPath& path : state.paths) {
    chain.clear();
    for (const GrammarFrame* frame = path.frame; frame != nullptr; frame = frame->parent) {
      chain.push_back(frame);
    }
    const GrammarFrame* own = nullptr;
    for (size_t i = chain.size(); i-- > 0;) own = Push(chain[i]->node, own);
    copy.paths.push_back({path.node, own});
  }
  return Intern(copy);
}

}  // namespace folkmoot
