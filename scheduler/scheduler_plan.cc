// SPDX-License-Identifier: Apache-2.0
// Schedule: first the running sequences get tokens and pages (Divide, Grow), then waiting ones are
// admitted to what is left (Admit), guesses fill the rest (Draft, scheduler_draft.cc), then the
// plan is written down (Commit).
#include <algorithm>
#include <set>
#include <utility>

#include "runtime/check.h"
#include "scheduler/placement.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

// Rows of the sequence that could be computed now. With a step under way its next token may not be
// known here; its rank will know it.
int64_t Scheduler::Pending(const Sequence& sequence) {
  const Request& request = sequence.request->request;
  if (sequence.drafts_in_flight > 0) return 0;  // nobody knows how many tokens they will give
  if (sequence.samples_in_flight > 0) {
    if (request.constraint != nullptr) return 0;  // the mask needs the token
    if (sequence.request->speculates) return 0;   // and so do guesses
    const int64_t generated = sequence.length() - sequence.request->prompt_length();
    if (generated >= request.max_tokens) return 0;  // the step under way is its last one
  }
  return sequence.length() - sequence.planned();
}

bool Scheduler::Decodes(const Sequence& sequence, int64_t rows) {
  return rows == 1 && sequence.planned() >= sequence.request->prompt_length();
}

int64_t Scheduler::ChunkLimit(const Sequence& sequence) const {
  // A scored prompt needs the logits of every row: with a large vocabulary its pieces must be
  // small.
  constexpr int64_t kScoredLogits = int64_t{1} << 24;
  const RequestState& request = *sequence.request;
  const int64_t source = request.request.source;
  const int64_t whole = sequence.planned() < source ? source : 1;  // an encoder needs all of it
  if (!request.ScoresPrompt(sequence) || sequence.planned() >= request.prompt_length()) {
    return std::max(whole, options_.prefill_chunk);
  }
  const int64_t scored =
      std::clamp<int64_t>(kScoredLogits / options_.vocab, 1, options_.prefill_chunk);
  return std::max(whole, scored);
}

// Rows of a step that the sequence gets out of `budget`.
int64_t Scheduler::StepRows(const Sequence& sequence, int64_t budget) const {
  return UpToSnapshot(sequence, std::min({Pending(sequence), budget, ChunkLimit(sequence)}));
}

StepPlan Scheduler::Schedule() {
  FM_CHECK(steps_under_way() <= (options_.plan_ahead ? 1 : 0));
  for (const auto& rank : ranks_) {
    Divide(*rank);
    Grow(*rank);
    Measure(*rank);
  }
  Admit();
  if (options_.speculation.tokens > 0) {
    for (const auto& rank : ranks_) Draft(*rank);
  }
  return Commit();
}

// Decodes first: they are one token each and somebody waits for every one of them.
void Scheduler::Divide(RankState& rank) const {
  rank.budget = options_.max_batched_tokens;
  for (const bool decoding : {true, false}) {
    for (Sequence* sequence : rank.running) {
      const int64_t pending = Pending(*sequence);
      if (Decodes(*sequence, pending) != decoding) continue;
      sequence->want = StepRows(*sequence, rank.budget);
      rank.budget -= sequence->want;
    }
  }
}

bool Scheduler::TakePages(RankState& rank, Sequence* sequence) const {
  const int64_t rows = sequence->planned() + sequence->want + sequence->drafts;
  const int64_t more = rank.pool.PagesFor(rows) - static_cast<int64_t>(sequence->pages.size());
  if (more <= 0) return true;
  if (rank.blocked || !rank.pool.Allocate(more, &sequence->pages)) return false;
  sequence->new_pages += more;
  return true;
}

// Pages for what the sequences want, the most important first.
void Scheduler::Grow(RankState& rank) {
  rank.blocked = rank.closed = false;
  for (size_t i = 0; i < rank.running.size(); ++i) GrowOne(rank, i);
  if (!StandsStill(rank)) return;
  // Those who have tokens wait for pages, and the most important one, which could get pages, was
  // left without a token. It goes first, or nobody would ever go on.
  Sequence* first = rank.running.front();
  rank.blocked = false;
  first->want = StepRows(*first, rank.budget);
  rank.budget -= first->want;
  GrowOne(rank, 0);
}

// When pages run out, the least important sequence gives way; the least important one itself waits.
void Scheduler::GrowOne(RankState& rank, size_t i) {
  Sequence* sequence = rank.running[i];
  while (sequence->want > 0 && !TakePages(rank, sequence)) {
    rank.closed = true;
    const int64_t pages = static_cast<int64_t>(sequence->pages.size());
    const int64_t need = rank.pool.PagesFor(sequence->planned() + sequence->want) - pages;
    const bool soon = rank.pool.available() + rank.ParkedPages() >= need;
    const bool last = i + 1 == rank.running.size();
    if (!rank.blocked && !soon && !last) {
      Preempt(rank.running.back());
      continue;
    }
    // As far as its pages and the free ones go. What was parked comes with the next answer.
    const int64_t reach = rank.blocked || soon ? pages : pages + rank.pool.available();
    const int64_t rows = reach * options_.block_size - sequence->planned();
    const int64_t fewer = std::clamp<int64_t>(rows, 0, sequence->want);
    rank.budget += sequence->want - fewer;
    sequence->want = fewer;
    FM_CHECK(fewer > 0 || i > 0 || !flights_.empty());  // alone, it has all pages
    if (!TakePages(rank, sequence)) FM_CHECK(false);
    rank.blocked = true;
  }
}

// Nobody gets on in this step, and no answer will change that.
bool Scheduler::StandsStill(const RankState& rank) {
  return !rank.running.empty() && rank.parked.empty() &&
         std::all_of(rank.running.begin(), rank.running.end(), [](const Sequence* sequence) {
           return sequence->want == 0 && sequence->rows_in_flight == 0;
         });
}

void Scheduler::Measure(RankState& rank) {
  rank.prefill_tokens = rank.reserved_pages = 0;
  for (const Sequence* sequence : rank.running) {
    const int64_t pending = Pending(*sequence);
    if (!Decodes(*sequence, pending)) rank.prefill_tokens += pending;
    const auto pages = static_cast<int64_t>(sequence->pages.size());
    rank.reserved_pages += std::max<int64_t>(0, rank.pool.PagesFor(sequence->length()) - pages);
  }
}

// The sequence goes back to the queue and will compute everything again. A step of it that is under
// way still counts: its token is kept.
void Scheduler::Preempt(Sequence* sequence) {
  RankState& rank = *ranks_[static_cast<size_t>(sequence->rank)];
  rank.Erase(sequence);
  rank.budget += sequence->want;
  if (sequence->started) rank.finished.push_back(sequence->id);
  rank.LeavePages(sequence);
  ++sequence->preemptions;
  ++preemptions_;
  Requeue(sequence);
}

// Its rank and pages are given up.
void Scheduler::Requeue(Sequence* sequence) {
  sequence->want = 0;
  sequence->answered = std::max(sequence->answered, sequence->computed);
  ++sequence->life;
  sequence->rank = -1;
  sequence->started = false;
  sequence->cached_pages = sequence->new_pages = sequence->chained_pages = 0;
  sequence->chain_end = {};
  sequence->computed = 0;
  --running_;
  queue_.AddFront(sequence, next_step_);
}

void Scheduler::Admit() {
  bool displaced = false;
  while (Sequence* head = NextToAdmit()) {
    if (head->rows_in_flight > 0) return;  // it was just preempted: its last token is on the way
    if (!PrepareMask(head)) {
      pending_events_.push_back(EventOf(*head, FinishReason::kStop));  // the form is empty
      End(head, false);
      continue;
    }
    const int r = running_ < options_.max_sequences ? Place(*head) : -1;
    if (r >= 0) {
      if (head == queue_.Head()) {
        queue_.PopHead(next_step_);
      } else {
        queue_.Remove(head);
      }
      Start(head, r);
    } else if (displaced || !by_priority() || !Displace(*head)) {
      return;  // nobody overtakes
    } else {
      displaced = true;
    }
  }
}

// Pages that the sequence may take from the prefix cache: not the one with its last token, whose
// row chooses the next one, and none that it owes an answer for.
int64_t Scheduler::CacheLimit(const Sequence& sequence) const {
  const RequestState& request = *sequence.request;
  if (!request.reads_cache) return 0;
  int64_t rows = std::min(static_cast<int64_t>(sequence.tokens.size()) - 1,
                          request.shared_rows(options_.output_window));
  if (request.request.trace_routing || request.ScoresPrompt(sequence)) {
    rows = std::min(rows, sequence.answered);
  }
  return rows / options_.block_size;
}

void Scheduler::FindPrefixes(const Sequence& head) {
  const std::pair key(head.id, head.life);
  if (matched_ != key) matches_.assign(ranks_.size(), {});
  matched_ = key;
  known_pages_.assign(ranks_.size(), 0);
  const int64_t limit = CacheLimit(head);
  for (size_t r = 0; r < ranks_.size() && limit > 0; ++r) {
    const KvPool& pool = ranks_[r]->pool;
    pool.Find(head.request->scope, head.tokens, limit, &matches_[r]);
    known_pages_[r] = std::ssize(matches_[r].pages);
    if (options_.snapshots_per_rank > 0) pool.EndAtSnapshot(&matches_[r]);
    const auto found = static_cast<int64_t>(matches_[r].pages.size()) * options_.block_size;
    if (found < head.request->request.source) matches_[r] = {};  // not a part of a source
  }
}

// All pages of its tokens, beside what the running ones need for theirs and a page for each of them
// to grow. A sequence that has the rank for itself needs no such headroom.
bool Scheduler::Fits(const RankState& rank, const Sequence& head, const KvPool::Match& match,
                     int64_t extra_pages) const {
  const int64_t hits = static_cast<int64_t>(match.pages.size());
  const int64_t need =
      rank.pool.PagesFor(head.length()) - hits + rank.pool.CountUnused(match.pages);
  const auto headroom = static_cast<int64_t>(rank.running.size());
  return rank.pool.available() + extra_pages - rank.reserved_pages >= need + headroom;
}

// Who leaves is forgotten by the rank before anybody begins.
bool Scheduler::HasSlot(const RankState& rank) const {
  return options_.slots_per_rank == 0 || std::ssize(rank.running) < options_.slots_per_rank;
}

// Tokens that the sequence needs in its first step: its whole source, unless that is cached.
int64_t Scheduler::FirstTokens(const Sequence& head, const KvPool::Match& match) {
  return match.pages.empty() ? std::max<int64_t>(1, head.request->request.source) : 1;
}

int Scheduler::Place(const Sequence& head) {
  FindPrefixes(head);
  std::vector<RankLoad> loads(ranks_.size());
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const RankState& rank = *ranks_[r];
    loads[r] = {
        .fits = rank.budget >= FirstTokens(head, matches_[r]) && !rank.closed && HasSlot(rank) &&
                Fits(rank, head, matches_[r], 0),
        .prefill_tokens = rank.prefill_tokens,
        .running = static_cast<int64_t>(rank.running.size()),
        .cached_tokens = static_cast<int64_t>(matches_[r].pages.size()) * options_.block_size};
  }
  const bool sibling = head.choice != head.request->first && head.request->shares_prompt;
  return ChooseRank(loads, head.length(), sibling ? kSiblingDecodeWeight : kDecodeWeight);
}

// One sequence of a lower priority gives way to the head of the queue, if that is enough for it.
// Veterans do not, so everybody gets through.
bool Scheduler::Displace(const Sequence& head) {
  FindPrefixes(head);
  Sequence* victim = nullptr;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const RankState& rank = *ranks_[r];
    if (rank.running.empty() || rank.closed) continue;
    Sequence* last = rank.running.back();
    const bool veteran = last->preemptions >= kVeteranPreemptions;
    if (veteran || !last->started) continue;
    if (last->request->request.priority <= head.request->request.priority) continue;
    if (rank.budget + last->want < FirstTokens(head, matches_[r])) continue;
    if (!Fits(rank, head, matches_[r], rank.pool.CountUnshared(last->pages))) continue;
    if (victim == nullptr || ImportanceKey(*victim, true) < ImportanceKey(*last, true)) {
      victim = last;
    }
  }
  if (victim == nullptr) return false;
  RankState& rank = *ranks_[static_cast<size_t>(victim->rank)];
  Preempt(victim);
  Measure(rank);
  return true;
}

void Scheduler::Start(Sequence* head, int r) {
  RankState& rank = *ranks_[static_cast<size_t>(r)];
  RequestState* request = head->request;
  const KvPool::Match& match = matches_[static_cast<size_t>(r)];
  rank.pool.Acquire(match.pages);
  head->pages = match.pages;
  head->chain_end.node = match.node;
  if (!match.pages.empty()) head->chain_end.page = match.pages.back();
  head->cached_pages = head->chained_pages = static_cast<int64_t>(match.pages.size());
  head->computed = head->cached_pages * options_.block_size;
  head->rank = r;
  head->phase = SequencePhase::kRunning;
  BeginAtSnapshot(head, known_pages_[static_cast<size_t>(r)]);
  if (request->reads_cache && request->scope.keep()) {
    prefix_query_tokens_ += head->length();
    prefix_hit_tokens_ += head->computed;
  }
  if (head->cached_tokens < 0) {
    head->cached_tokens = std::min(head->computed, request->prompt_length());
    head->first_own_page = head->cached_pages;
  }
  head->first_own_page = std::min(head->first_own_page, head->cached_pages);
  if (request->ticket < 0) {
    request->ticket = next_ticket_++;
    if (!request->shares_prompt) ReleaseSiblings(request);
  }
  head->want = StepRows(*head, rank.budget);
  if (!TakePages(rank, head)) FM_CHECK(false);  // it fits
  rank.budget -= head->want;
  rank.Insert(head, by_priority());
  Measure(rank);
  ++running_;
}

StepPlan Scheduler::Commit() {
  StepPlan plan;
  plan.step = next_step_++;
  plan.ranks.resize(ranks_.size());
  Flight& flight = flights_.emplace_back();
  flight.step = plan.step;
  flight.ranks.resize(ranks_.size());
  std::set<std::string> gates = {""};
  for (size_t r = 0; r < ranks_.size(); ++r) {
    RankState& rank = *ranks_[r];
    RankPlan& mine = plan.ranks[r];
    mine.finished.swap(rank.finished);
    for (const bool decoding : {true, false}) {
      for (Sequence* sequence : rank.running) {
        if (sequence->want == 0 || Decodes(*sequence, Pending(*sequence)) != decoding) continue;
        PlanSlice(sequence, &mine, &flight.ranks[r]);
        const std::string& gate = sequence->request->request.gate;
        if (!gate.empty()) gates.insert(gate);
      }
    }
  }
  plan.gates.assign(gates.begin(), gates.end());
  return plan;
}

// What the sequence's next token may be. False: there may be none.
bool Scheduler::PrepareMask(Sequence* sequence) const {
  const Request& request = sequence->request->request;
  if (request.constraint == nullptr || request.max_tokens == 0) return true;
  if (sequence->constraint == nullptr) sequence->constraint = request.constraint->Clone();
  if (sequence->mask_ready) return true;
  sequence->allowed.assign(static_cast<size_t>((options_.vocab + 31) / 32), 0);
  sequence->mask_ready = sequence->constraint->FillMask(sequence->allowed);
  return sequence->mask_ready;
}

namespace {

SequenceStart StartOf(const Sequence& sequence, int64_t cached) {
  const RequestState& state = *sequence.request;
  const Request& request = state.request;
  SequenceStart start;
  start.id = sequence.id;
  start.tokens = sequence.tokens;
  start.prompt_length = state.prompt_length();
  start.source = request.source;
  start.written = request.written;
  start.cached = cached;
  start.cached_blocks.assign(sequence.pages.begin(),
                             sequence.pages.begin() + sequence.cached_pages);
  start.snapshot = sequence.snapshot;
  start.answered = sequence.answered;
  start.gate = request.gate;
  start.sampling = request.sampling;
  start.sampling.seed += static_cast<uint64_t>(sequence.choice);
  start.logprobs = request.logprobs;
  start.prompt_logprobs = state.ScoresPrompt(sequence);
  start.top_logprobs = request.top_logprobs;
  start.trace_routing = request.trace_routing;
  start.layer_digests = request.layer_digests;
  start.pooling = request.pooling;
  return start;
}

}  // namespace

void Scheduler::PlanSlice(Sequence* sequence, RankPlan* plan, std::vector<FlightSlice>* flight) {
  const Request& request = sequence->request->request;
  SequenceSlice slice;
  slice.id = sequence->id;
  slice.start = sequence->planned();
  slice.count = sequence->want;
  slice.drafts = std::exchange(sequence->drafts, 0);
  slice.draft = std::move(sequence->draft);
  sequence->draft.clear();
  const int64_t end = slice.start + slice.count;
  slice.sample = request.max_tokens > 0 && end == sequence->length();
  if (slice.sample && request.constraint != nullptr) {
    FM_CHECK(sequence->mask_ready);
    slice.allowed = std::move(sequence->allowed);
    sequence->mask_ready = false;
  }
  slice.new_blocks.assign(sequence->pages.end() - sequence->new_pages, sequence->pages.end());
  slice.snapshot = TakeSnapshot(*sequence, end);
  flight->push_back({.id = slice.id,
                     .life = sequence->life,
                     .count = slice.count,
                     .drafts = slice.drafts,
                     .end = end,
                     .sample = slice.sample,
                     .rank = sequence->rank,
                     .snapshot = slice.snapshot});
  if (!sequence->started) plan->starts.push_back(StartOf(*sequence, slice.start));
  plan->slices.push_back(std::move(slice));
  sequence->started = true;
  sequence->new_pages = 0;
  sequence->want = 0;
  sequence->rows_in_flight += flight->back().count + flight->back().drafts;
  sequence->drafts_in_flight += flight->back().drafts;
  sequence->samples_in_flight += flight->back().sample ? 1 : 0;
  sequence->last_step = next_step_ - 1;
}

void Scheduler::TakeBack(const StepPlan& plan) {
  FM_CHECK(plan.tokens() == 0 && plan.step == next_step_ - 1 && !flights_.empty());
  flights_.pop_back();
  --next_step_;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    std::vector<int64_t>& finished = ranks_[r]->finished;
    finished.insert(finished.begin(), plan.ranks[r].finished.begin(), plan.ranks[r].finished.end());
  }
}

}  // namespace folkmoot
