// SPDX-License-Identifier: Apache-2.0
// Draft: guesses for decoding sequences, in the tokens and pages that nobody else wants in this
// step.
#include <algorithm>

#include "runtime/check.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

void Scheduler::Draft(RankState& rank) {
  Measure(rank);
  for (Sequence* sequence : rank.running) {
    const int64_t most = MostDrafts(rank, sequence);
    if (most == 0) continue;
    Guess(most, sequence);
    if (!TakePages(rank, sequence)) FM_CHECK(false);  // MostDrafts has counted them
    rank.budget -= sequence->drafts;
  }
}

// How many guesses the sequence may have. They cost nobody a token, a page or an admission.
int64_t Scheduler::MostDrafts(const RankState& rank, Sequence* sequence) const {
  const RequestState& request = *sequence->request;
  if (!request.speculates || sequence->want != 1 || sequence->samples_in_flight > 0) return 0;
  if (!Decodes(*sequence, Pending(*sequence))) return 0;
  const int64_t generated = sequence->length() - request.prompt_length();
  // One token comes without a guess.
  const int64_t useful = request.request.max_tokens - generated - 1;
  const bool wanted = rank.blocked || rank.closed || !queue_.empty();  // pages
  const auto spare = wanted ? 0
                            : std::max<int64_t>(0, rank.pool.available() - rank.reserved_pages -
                                                       std::ssize(rank.running));
  const int64_t reach =
      (static_cast<int64_t>(sequence->pages.size()) + spare) * options_.block_size;
  const int64_t most = std::min({useful, rank.budget, options_.prefill_chunk - 1,
                                 reach - sequence->planned() - sequence->want});
  return most < 1 ? 0 : std::min(most, sequence->pace.Next(options_.speculation.tokens));
}

void Scheduler::Guess(int64_t most, Sequence* sequence) const {
  sequence->drafts = most;
  if (options_.speculation.method == SpeculationMethod::kDraftModel) return;
  std::vector<int32_t>& draft = sequence->draft;
  if (options_.speculation.guesser) {
    options_.speculation.guesser(sequence->tokens, most, &draft);
  } else {
    LookUp(sequence->tokens, options_.speculation, most, &draft);
  }
  // Nothing follows a token that ends the output.
  const Request& request = sequence->request->request;
  draft.erase(std::find_if(draft.begin(), draft.end(),
                           [&](int32_t token) {
                             return std::binary_search(request.stop_ids.begin(),
                                                       request.stop_ids.end(), token);
                           }),
              draft.end());
  if (request.constraint != nullptr) MaskGuesses(sequence);
  sequence->drafts = static_cast<int64_t>(draft.size());
}

// A mask behind each guess, as long as the form allows the guess and goes on after it.
void Scheduler::MaskGuesses(Sequence* sequence) const {
  FM_CHECK(sequence->mask_ready);
  std::vector<int32_t>& draft = sequence->draft;
  const size_t words = sequence->allowed.size();
  std::unique_ptr<TokenConstraint> form;
  size_t right = 0;
  for (; right < draft.size(); ++right) {
    const auto token = static_cast<size_t>(draft[right]);
    const uint32_t mask = sequence->allowed[right * words + token / 32];
    if ((mask >> (token % 32) & 1) == 0) break;
    if (form == nullptr) form = sequence->constraint->Clone();
    form->Accept(draft[right]);
    sequence->allowed.resize((right + 2) * words);
    if (!form->FillMask(std::span(sequence->allowed).last(words))) break;
  }
  sequence->allowed.resize((right + 1) * words);
  draft.resize(right);
}

}  // namespace folkmoot
