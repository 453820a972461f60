// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/grammar_constraint.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "runtime/grammar/mask_walk.h"

namespace folkmoot {
namespace {

constexpr int64_t kProbeWork = 20'000;  // paths of states looked at before a form is taken

}  // namespace

CompiledGrammar::CompiledGrammar(ByteGrammar grammar, std::shared_ptr<const Vocabulary> vocabulary)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      arena_(std::make_shared<StateArena>(grammar_)) {
  start_ = arena_->Start(vocabulary_->dropped_spaces());
}

absl::StatusOr<std::shared_ptr<CompiledGrammar>> CompiledGrammar::Create(
    const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary) {
  FM_ASSIGN_OR_RETURN(ByteGrammar bytes, ByteGrammar::Build(grammar));
  std::shared_ptr<CompiledGrammar> result(
      new CompiledGrammar(std::move(bytes), std::move(vocabulary)));
  FM_RETURN_IF_ERROR(result->ProbeAmbiguity());
  return result;
}

absl::Status CompiledGrammar::ProbeAmbiguity() {
  StateArena probe(grammar_);
  std::vector<GrammarState*> open{probe.Start(0)};
  absl::flat_hash_set<const GrammarState*> seen{open[0]};
  GrammarState scratch;
  int64_t work = 0;
  for (size_t i = 0; i < open.size() && work < kProbeWork && !probe.truncated(); ++i) {
    int last_class = -1;
    for (int byte = 0; byte < 256 && work < kProbeWork && !probe.full(); ++byte) {
      if (grammar_.byte_class(static_cast<uint8_t>(byte)) == last_class) continue;
      last_class = grammar_.byte_class(static_cast<uint8_t>(byte));
      GrammarState* next = probe.Next(open[i], static_cast<uint8_t>(byte), &scratch);
      work += 1 + static_cast<int64_t>(next == nullptr ? 0 : next->paths.size());
      if (next != nullptr && next != &scratch && seen.insert(next).second) open.push_back(next);
    }
  }
  if (!probe.truncated()) return absl::OkStatus();
  return ResourceExhausted(
      "the form is too ambiguous: a text can be read in more than {} ways at once",
      StateArena::kMaxPaths);
}

GrammarConstraint::GrammarConstraint(std::shared_ptr<CompiledGrammar> grammar)
    : grammar_(std::move(grammar)) {}

void GrammarConstraint::MoveToCurrentArena() {
  CompiledGrammar& shared = *grammar_;
  if (shared.arena_->full()) {
    shared.arena_ = std::make_shared<StateArena>(shared.grammar_);
    shared.start_ = shared.arena_->Start(shared.vocabulary_->dropped_spaces());
  }
  if (arena_ == nullptr) {
    state_ = shared.start_;
  } else if (arena_ != shared.arena_ && state_ != nullptr) {
    state_ = shared.arena_->Adopt(*state_);
  }
  arena_ = shared.arena_;
}

bool GrammarConstraint::FillMask(std::span<uint32_t> mask) {
  CompiledGrammar& shared = *grammar_;
  const Vocabulary& vocabulary = *shared.vocabulary_;
  FM_CHECK(mask.size() == vocabulary.mask_words());
  std::fill(mask.begin(), mask.end(), 0);
  if (ended_) return false;
  const std::lock_guard lock(shared.mutex_);
  MoveToCurrentArena();
  FM_CHECK(state_ != nullptr);  // or it had ended
  const bool first = first_ && vocabulary.first_differs();
  std::vector<uint32_t>& known = first ? shared.first_mask_ : state_->mask;
  if (known.empty()) {
    known = MaskWalk(vocabulary, *arena_).Run(state_, first);
    arena_->CountBytes(static_cast<int64_t>(known.size() * sizeof(uint32_t)));
    shared.arena_bytes_ = arena_->bytes();
  }
  std::copy(known.begin(), known.end(), mask.begin());
  return std::any_of(mask.begin(), mask.end(), [](uint32_t word) { return word != 0; });
}

void GrammarConstraint::Accept(int32_t token) {
  if (ended_) return;
  CompiledGrammar& shared = *grammar_;
  const std::string_view bytes = shared.vocabulary_->Bytes(token, std::exchange(first_, false));
  const std::lock_guard lock(shared.mutex_);
  MoveToCurrentArena();
  GrammarState scratch[2];
  bool odd = false;
  for (size_t i = 0; i < bytes.size() && state_ != nullptr; ++i) {
    GrammarState* next =
        arena_->Next(state_, static_cast<uint8_t>(bytes[i]), &scratch[odd ? 1 : 0]);
    odd = !odd;
    state_ = next;
  }
  if (bytes.empty() || state_ == nullptr) {
    ended_ = true;
    state_ = nullptr;
    arena_ = nullptr;
  } else if (state_ == &scratch[0] || state_ == &scratch[1]) {
    // The arena is full. Its frames stay alive until this constraint has moved to the next one.
    const std::shared_ptr<StateArena> old = arena_;
    shared.arena_ = std::make_shared<StateArena>(shared.grammar_);
    shared.start_ = shared.arena_->Start(shared.vocabulary_->dropped_spaces());
    arena_ = shared.arena_;
    state_ = arena_->Adopt(*state_);
  }
}

std::unique_ptr<TokenConstraint> GrammarConstraint::Clone() const {
  return std::make_unique<GrammarConstraint>(*this);
}

}  // namespace folkmoot
