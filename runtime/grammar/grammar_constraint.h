// SPDX-License-Identifier: Apache-2.0
// A TokenConstraint that follows a ByteGrammar.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/grammar/byte_grammar.h"
#include "runtime/grammar/lazy_automaton.h"
#include "runtime/grammar/vocabulary.h"
#include "runtime/token_constraint.h"

namespace folkmoot {

// A form and the states and masks found for it so far, shared by all requests that ask for it.
class CompiledGrammar {
 public:
  // Errors: InvalidArgument, ResourceExhausted as of ByteGrammar::Build; ResourceExhausted when the
  // form is so ambiguous that StateArena would have to leave out ways to read a text.
  static absl::StatusOr<std::shared_ptr<CompiledGrammar>> Create(
      const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary);

  int64_t size_bytes() const { return grammar_.size_bytes() + arena_bytes_.load(); }

 private:
  friend class GrammarConstraint;

  CompiledGrammar(ByteGrammar grammar, std::shared_ptr<const Vocabulary> vocabulary);
  absl::Status ProbeAmbiguity();

  const ByteGrammar grammar_;
  const std::shared_ptr<const Vocabulary> vocabulary_;
  std::mutex mutex_;  // guards the arena and every state in it, also in arenas given up
  std::shared_ptr<StateArena> arena_;
  GrammarState* start_ = nullptr;     // in arena_
  std::vector<uint32_t> first_mask_;  // if Vocabulary::first_differs
  std::atomic<int64_t> arena_bytes_{0};
};

// One thread at a time; constraints of the same grammar may be used by several threads.
class GrammarConstraint final : public TokenConstraint {
 public:
  explicit GrammarConstraint(std::shared_ptr<CompiledGrammar> grammar);

  bool FillMask(std::span<uint32_t> mask) override;
  // A token that the form does not take ends it: nothing is allowed from then on.
  void Accept(int32_t token) override;
  std::unique_ptr<TokenConstraint> Clone() const override;

 private:
  void MoveToCurrentArena();

  std::shared_ptr<CompiledGrammar> grammar_;
  std::shared_ptr<StateArena> arena_;  // where state_ lives; null until first used
  GrammarState* state_ = nullptr;      // null: not begun, or ended
  bool first_ = true;
  bool ended_ = false;
};

}  // namespace folkmoot
