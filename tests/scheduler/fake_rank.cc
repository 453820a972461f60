// SPDX-License-Identifier: Apache-2.0
#include "tests/scheduler/fake_rank.h"

#include <fmt/format.h>

#include <algorithm>

namespace folkmoot {

void FakeRank::Demand(bool condition, const char* what, int64_t sequence) {
  if (condition || !complaint_.empty()) return;
  complaint_ = fmt::format("step {}, sequence {}: {}", step_, sequence, what);
}

void FakeRank::Restart() {
  states_.clear();
  for (Page& page : pages_) page = {.rows = std::vector<uint64_t>(page.rows.size())};
  std::fill(snapshots_.begin(), snapshots_.end(), 0u);
}

void FakeRank::KeepPages() {
  states_.clear();
  for (Page& page : pages_) {
    page.users = 0;
    page.touched = -1;
  }
}

uint64_t& FakeRank::row(const State& state, int64_t position) {
  const int32_t index = state.pages[static_cast<size_t>(position / block_size_)];
  return page(index).rows[static_cast<size_t>(position % block_size_)];
}

uint64_t FakeRank::RootOf(const State& state) {
  const SequenceStart& start = state.start;
  const std::span<const int32_t> tokens(state.tokens);
  return RootState(start.gate, start.id, tokens.first(static_cast<size_t>(start.source)));
}

uint64_t FakeRank::StateBehind(const State& state, uint64_t before, int64_t position) const {
  return RowState(before, state.tokens[static_cast<size_t>(position)], position,
                  state.start.prompt_length - state.start.written, output_window_);
}

void FakeRank::Forget(int64_t id) {
  const auto found = states_.find(id);
  Demand(found != states_.end(), "is to be forgotten, but is not here", id);
  if (found == states_.end()) return;
  for (const int32_t index : found->second.pages) --page(index).users;
  states_.erase(found);
}

void FakeRank::Begin(const SequenceStart& start) {
  Demand(states_.count(start.id) == 0, "starts twice", start.id);
  State& state = states_[start.id];
  Demand(slots_ == 0 || std::ssize(states_) <= slots_, "starts where no slot is free", start.id);
  state.start = start;
  state.tokens = start.tokens;
  state.pages = start.cached_blocks;
  const auto length = static_cast<int64_t>(start.tokens.size());
  const auto cached_pages = static_cast<int64_t>(start.cached_blocks.size());
  Demand(start.prompt_length > 0 && start.prompt_length <= length, "has no prompt", start.id);
  Demand(start.cached == cached_pages * block_size_, "has half pages cached", start.id);
  Demand(start.cached < length, "has its last token cached", start.id);
  Demand(start.answered <= length, "was answered more than it has", start.id);
  const bool all_rows = start.trace_routing || start.prompt_logprobs;
  const bool sums_rows = start.layer_digests || start.pooling == Pooling::kMean;
  Demand(!sums_rows || start.cached == 0, "needs all rows, but reads a page", start.id);
  Demand(!all_rows || start.cached <= start.answered, "reads rows that it owes", start.id);
  for (const int32_t index : start.cached_blocks) {
    ++page(index).users;
    Demand(page(index).label == labels_.at(start.id), "reads another tenant's page", start.id);
  }
  Demand(start.source >= 0 && start.source < start.prompt_length, "has no target", start.id);
  Demand(start.cached == 0 || start.cached >= start.source, "has a part of a source", start.id);
  uint64_t content = RootOf(state);
  for (int64_t p = 0; p < start.cached; ++p) {
    content = StateBehind(state, content, p);
    state.states.push_back(content);
  }
  CheckSnapshot(start, content);
}

// A sequence goes on with the state of its own tokens.
void FakeRank::CheckSnapshot(const SequenceStart& start, uint64_t content) {
  if (snapshots_.empty() || start.cached == 0) {
    return Demand(start.snapshot < 0, "has a snapshot and nothing before it", start.id);
  }
  const bool there = start.snapshot >= 0 && start.snapshot < std::ssize(snapshots_);
  Demand(there, "goes on from no snapshot", start.id);
  if (!there) return;
  Demand(snapshots_[static_cast<size_t>(start.snapshot)] == content,
         "goes on with the state of other tokens", start.id);
}

void FakeRank::WriteSnapshot(const SequenceSlice& slice, const State& state) {
  if (slice.snapshot < 0) return;
  Demand(slice.snapshot < std::ssize(snapshots_), "writes to a snapshot that is not there",
         slice.id);
  Demand((slice.start + slice.count) % block_size_ == 0 && slice.drafts == 0,
         "writes a snapshot that is not behind a page", slice.id);
  if (complaint_.empty()) snapshots_[static_cast<size_t>(slice.snapshot)] = state.states.back();
}

void FakeRank::CheckSlice(const SequenceSlice& slice, State* state) {
  const auto known = static_cast<int64_t>(state->states.size());
  const auto length = static_cast<int64_t>(state->tokens.size());
  Demand(slice.count > 0 && slice.start == known, "does not continue where it stands", slice.id);
  Demand(slice.start >= state->start.source || slice.start + slice.count >= state->start.source,
         "cuts its source", slice.id);
  Demand(slice.start + slice.count <= length, "computes tokens that it has not", slice.id);
  Demand(!slice.sample || slice.start + slice.count == length, "samples before its last token",
         slice.id);
  Demand(slice.drafts == 0 || (slice.sample && slice.drafts > 0), "guesses without a sample",
         slice.id);
  Demand(slice.draft.empty() || std::ssize(slice.draft) == slice.drafts, "has other guesses",
         slice.id);
  Demand(slice.allowed.empty() ||
             std::ssize(slice.allowed) == (1 + slice.drafts) * ((kFakeVocab + 31) / 32),
         "has too few masks", slice.id);
  for (const int32_t index : slice.new_blocks) {
    Page& fresh = page(index);
    Demand(fresh.users == 0, "is given a page that somebody uses", slice.id);
    Demand(fresh.touched <= answered_, "is given a page of a step under way", slice.id);
    std::fill(fresh.rows.begin(), fresh.rows.end(), 0u);
    fresh.users = 1;
    fresh.writer = slice.id;
    fresh.label = labels_.at(slice.id);
    state->pages.push_back(index);
  }
  state->furthest = std::max(state->furthest, slice.end());
  const auto pages = static_cast<int64_t>(state->pages.size());
  Demand(pages * block_size_ >= slice.end(), "has too few pages", slice.id);
  Demand((pages - 1) * block_size_ < state->furthest, "has more pages than it needs", slice.id);
  if (!complaint_.empty()) return;
  for (int64_t p = 0; p < slice.start; ++p) {
    Demand(row(*state, p) == state->states[static_cast<size_t>(p)],
           "reads a page that does not hold its tokens", slice.id);
  }
  for (const int32_t index : state->pages) page(index).touched = step_;
}

void FakeRank::ComputeRow(int64_t id, State* state) {
  const std::string& gate = state->start.gate;
  const auto position = std::ssize(state->states);
  const uint64_t before = position > 0 ? state->states.back() : RootOf(*state);
  const uint64_t content = StateBehind(*state, before, position);
  state->states.push_back(content);
  state->failed = state->failed || IsError(gate, content);
  const Page& written = page(state->pages[static_cast<size_t>(position / block_size_)]);
  Demand(written.writer == id && written.users == 1, "writes to a shared page", id);
  row(*state, position) = state->failed ? 0 : content;
}

int32_t FakeRank::Guess(uint64_t content, const State& state) {
  const int32_t right = SampleToken(content, state.start.sampling.seed, {});
  return content % 4 == 0 ? static_cast<int32_t>((right + 1) % kFakeVocab) : right;
}

void FakeRank::Compute(const SequenceSlice& slice, State* state,
                       std::vector<SequenceResult>* results) {
  const auto answer = [&]() -> SequenceResult& {
    SequenceResult& result = results->emplace_back();
    result.id = slice.id;
    if (state->failed) result.error = "a fragile token";
    return result;
  };
  if (state->failed) {  // planned before the scheduler heard of it
    answer();
    return;
  }
  CheckSlice(slice, state);
  if (!complaint_.empty()) return;
  const int64_t end = slice.start + slice.count;
  for (int64_t p = slice.start; p < end; ++p) ComputeRow(slice.id, state);
  WriteSnapshot(slice, *state);
  const size_t words = slice.allowed.size() / static_cast<size_t>(1 + slice.drafts);
  for (int64_t i = 0;; ++i) {
    SequenceResult& result = answer();
    if (state->failed) return;
    Answer(i == 0 ? slice.start : end + i - 1, end + i, *state, &result);
    if (!slice.sample) return;
    const uint64_t content = state->states.back();
    const auto mask = std::span(slice.allowed).subspan(static_cast<size_t>(i) * words, words);
    result.token = SampleToken(content, state->start.sampling.seed, mask);
    state->tokens.push_back(result.token);
    if (i == slice.drafts) return;
    const int32_t guess =
        slice.draft.empty() ? Guess(content, *state) : slice.draft[static_cast<size_t>(i)];
    if (guess != result.token) {
      // The rows of wrong guesses are written, and not to be read.
      for (int64_t p = end + i; p < slice.end(); ++p) row(*state, p) = ~uint64_t{0};
      return;
    }
    ComputeRow(slice.id, state);
  }
}

// One target per scored row, and the position of each traced row in place of its experts.
void FakeRank::Answer(int64_t begin, int64_t end, const State& state, SequenceResult* result) {
  for (int64_t p = std::max(begin, state.start.answered); p < end; ++p) {
    if (state.start.prompt_logprobs && p + 1 < state.start.prompt_length) {
      result->target_logprobs.push_back(static_cast<float>(p + 1));
    }
    if (!state.start.trace_routing) continue;
    if (result->routing.empty()) result->routing.emplace_back();
    result->routing[0].expert.push_back(static_cast<int32_t>(p));
  }
  if (state.start.layer_digests) result->layer_digests.push_back(state.states.back());
}

StepResult FakeRank::Run(const RankPlan& plan, const std::vector<std::string>& gates, int64_t step,
                         int64_t answered) {
  step_ = step;
  answered_ = answered;
  for (const int64_t id : plan.finished) Forget(id);
  for (const SequenceStart& start : plan.starts) Begin(start);
  StepResult results;
  for (const SequenceSlice& slice : plan.slices) {
    const auto found = states_.find(slice.id);
    Demand(found != states_.end(), "has a slice but no start", slice.id);
    if (!complaint_.empty()) return results;
    const std::string& gate = found->second.start.gate;
    Demand(std::binary_search(gates.begin(), gates.end(), gate), "has a gate that the plan lacks",
           slice.id);
    Compute(slice, &found->second, &results.sequences);
  }
  for (const SequenceStart& start : plan.starts) {
    const auto computed = static_cast<int64_t>(states_[start.id].states.size());
    Demand(computed > start.cached, "starts without a slice", start.id);
  }
  return results;
}

int64_t FakeRank::PagesHeld() const {
  return std::count_if(pages_.begin(), pages_.end(),
                       [](const Page& page) { return page.users > 0; });
}

}  // namespace folkmoot
