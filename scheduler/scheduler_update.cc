// SPDX-License-Identifier: Apache-2.0
// Update: what the ranks answered becomes tokens, events and published pages.
#include <algorithm>
#include <utility>

#include "runtime/check.h"
#include "scheduler/scheduler.h"

namespace folkmoot {
namespace {

// The results of sequence `id`, expected at `*next`: side by side.
std::span<const SequenceResult> FindResults(const std::vector<SequenceResult>& results, int64_t id,
                                            size_t* next) {
  const auto own = [id](const SequenceResult& result) { return result.id == id; };
  auto first = results.begin() + static_cast<std::ptrdiff_t>(*next);
  if (first == results.end() || !own(*first)) {
    first = std::find_if(results.begin(), results.end(), own);
  }
  const auto end = std::find_if_not(first, results.end(), own);
  *next = static_cast<size_t>(end - results.begin());
  return {first, end};
}

}  // namespace

const std::vector<RequestEvent>& Scheduler::Update(std::vector<StepResult> results) {
  FM_CHECK(!flights_.empty() && results.size() == ranks_.size());
  results_ = std::move(results);
  events_ = TakeEvents();
  const Flight flight = std::move(flights_.front());
  flights_.pop_front();
  for (size_t r = 0; r < ranks_.size(); ++r) {
    size_t next = 0;
    for (const FlightSlice& slice : flight.ranks[r]) {
      const std::span<const SequenceResult> results_of_slice =
          FindResults(results_[r].sequences, slice.id, &next);
      const auto found = sequences_.find(slice.id);
      if (found == sequences_.end()) {  // it has ended
        SettleSnapshot(slice, nullptr);
        continue;
      }
      Apply(found->second, slice, results_of_slice);
    }
  }
  for (const auto& rank : ranks_) rank->ReleaseParked(flight.step);
  return events_;
}

void Scheduler::Apply(Sequence* sequence, const FlightSlice& slice,
                      std::span<const SequenceResult> results) {
  const auto given = static_cast<int64_t>(results.size());
  FM_CHECK(given <= 1 + slice.drafts);
  sequence->rows_in_flight -= slice.count + slice.drafts;
  sequence->drafts_in_flight -= slice.drafts;
  sequence->samples_in_flight -= slice.sample ? 1 : 0;
  const size_t first_event = events_.size();
  if (slice.drafts > 0) {
    ++speculation_.drafts;
    speculation_.drafted += slice.drafts;
    sequence->pace.Heard(slice.drafts, given - 1);
  }
  // Every result but the last one belongs to a guess that was right.
  FlightSlice one = slice;
  bool goes_on = given > 0 || ApplyOne(sequence, one, nullptr, /*accepted=*/false);
  for (int64_t i = 0; i < given && goes_on; ++i) {
    one.end = slice.end + i;
    const bool accepted = i + 1 < given;
    goes_on = ApplyOne(sequence, one, &results[static_cast<size_t>(i)], accepted);
    speculation_.accepted += accepted ? 1 : 0;
  }
  events_[first_event].drafted = slice.drafts;
}

bool Scheduler::ApplyOne(Sequence* sequence, const FlightSlice& slice, const SequenceResult* result,
                         bool accepted) {
  RequestState* request = sequence->request;
  const bool failed = result != nullptr && !result->error.empty();
  FinishReason finish = failed ? FinishReason::kError : FinishReason::kNone;
  if (failed) {
    SettleSnapshot(slice, nullptr);
  } else {
    if (slice.end > sequence->answered) Trust(request);
    if (slice.life == sequence->life) {
      sequence->computed = slice.end;
      if (request->publishes) PublishPages(sequence);
      SettleSnapshot(slice, sequence);
    } else {  // preempted meanwhile: the pages are gone, the answer stands
      SettleSnapshot(slice, nullptr);
      sequence->answered = std::max(sequence->answered, slice.end);
    }
    if (slice.sample) {
      FM_CHECK(result != nullptr && result->token >= 0 && result->token < options_.vocab);
      finish = Append(sequence, result->token, accepted);
    } else if (request->request.max_tokens == 0 && slice.end == request->prompt_length()) {
      finish = FinishReason::kLength;
    }
  }
  RequestEvent& event = events_.emplace_back(EventOf(*sequence, finish));
  event.result = result;
  event.first = !std::exchange(sequence->heard, true);
  event.accepted = accepted;
  if (finish != FinishReason::kNone) {
    End(sequence, failed);
  } else if (sequence->choice == request->first && slice.end >= request->prompt_length()) {
    ReleaseSiblings(request);
  }
  return finish == FinishReason::kNone;
}

// A sampled token; says whether it was the last.
FinishReason Scheduler::Append(Sequence* sequence, int32_t token, bool accepted) const {
  const RequestState& state = *sequence->request;
  const Request& request = state.request;
  sequence->tokens.push_back(token);
  if (std::binary_search(request.stop_ids.begin(), request.stop_ids.end(), token)) {
    return FinishReason::kStop;
  }
  const int64_t generated = static_cast<int64_t>(sequence->tokens.size()) - state.prompt_length();
  if (generated >= request.max_tokens) return FinishReason::kLength;
  if (request.constraint == nullptr) return FinishReason::kNone;
  sequence->constraint->Accept(token);
  sequence->mask_ready = false;
  if (accepted) return FinishReason::kNone;  // MaskGuesses found a token that may follow
  // No token may follow: the form is complete.
  return PrepareMask(sequence) ? FinishReason::kNone : FinishReason::kStop;
}

void Scheduler::PublishPages(Sequence* sequence) {
  KvPool& pool = ranks_[static_cast<size_t>(sequence->rank)]->pool;
  const auto size = static_cast<size_t>(options_.block_size);
  const std::span<const int32_t> tokens(sequence->tokens);
  const int64_t rows =
      std::min(sequence->computed, sequence->request->shared_rows(options_.output_window));
  while ((sequence->chained_pages + 1) * options_.block_size <= rows) {
    const auto i = static_cast<size_t>(sequence->chained_pages++);
    sequence->chain_end = pool.Publish(sequence->pages[i], sequence->chain_end.node,
                                       sequence->request->scope, tokens.subspan(i * size, size));
  }
}

}  // namespace folkmoot
