// SPDX-License-Identifier: Apache-2.0
#include "tests/scheduler/fake_rank.h"

#include <fmt/format.h>

#include <algorithm>

namespace folkmoot {

void FakeRank::Demand(bool condition, const char* what, int64_t sequence) {
  if (condition || !complaint_.empty()) return;
  complaint_ = fmt::format("step {}, sequence {}: {}", step_, sequence, what);
}

uint64_t& FakeRank::row(const State& state, int64_t position) {
  const int32_t index = state.pages[static_cast<size_t>(position / block_size_)];
  return page(index).rows[static_cast<size_t>(position % block_size_)];
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
  Demand(!start.layer_digests || start.cached == 0, "needs all rows, but reads a page", start.id);
  Demand(!all_rows || start.cached <= start.answered, "reads rows that it owes", start.id);
  for (const int32_t index : start.cached_blocks) {
    ++page(index).users;
    Demand(page(index).label == labels_.at(start.id), "reads another tenant's page", start.id);
  }
  uint64_t content = RootState(start.gate, start.id);
  for (int64_t p = 0; p < start.cached; ++p) {
    content = NextState(content, start.tokens[static_cast<size_t>(p)]);
    state.states.push_back(content);
  }
}

void FakeRank::Compute(const SequenceSlice& slice, State* state, SequenceResult* result) {
  const auto known = static_cast<int64_t>(state->states.size());
  const auto length = static_cast<int64_t>(state->tokens.size());
  const int64_t end = slice.start + slice.count;
  if (state->failed) {  // planned before the scheduler heard of it
    result->error = "a fragile token";
    return;
  }
  Demand(slice.count > 0 && slice.start == known, "does not continue where it stands", slice.id);
  Demand(end <= length, "computes tokens that it has not", slice.id);
  Demand(!slice.sample || end == length, "samples before its last token", slice.id);
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
  const auto pages = static_cast<int64_t>(state->pages.size());
  Demand(pages * block_size_ >= end, "has too few pages", slice.id);
  Demand((pages - 1) * block_size_ < end, "has more pages than it needs", slice.id);
  if (!complaint_.empty()) return;
  for (int64_t p = 0; p < slice.start; ++p) {
    Demand(row(*state, p) == state->states[static_cast<size_t>(p)],
           "reads a page that does not hold its tokens", slice.id);
  }
  const std::string& gate = state->start.gate;
  uint64_t content = known > 0 ? state->states.back() : RootState(gate, slice.id);
  for (int64_t p = slice.start; p < end; ++p) {
    content = NextState(content, state->tokens[static_cast<size_t>(p)]);
    state->states.push_back(content);
    state->failed = state->failed || IsError(gate, content);
    const Page& written = page(state->pages[static_cast<size_t>(p / block_size_)]);
    Demand(written.writer == slice.id && written.users == 1, "writes to a shared page", slice.id);
    row(*state, p) = state->failed ? 0 : content;
  }
  for (const int32_t index : state->pages) page(index).touched = step_;
  if (state->failed) {
    result->error = "a fragile token";
    return;
  }
  Answer(slice, *state, result);
  if (!slice.sample) return;
  result->token = SampleToken(content, state->start.sampling.seed, slice.allowed);
  state->tokens.push_back(result->token);
}

// One target per scored row, and the position of each traced row in place of its experts.
void FakeRank::Answer(const SequenceSlice& slice, const State& state,
                      SequenceResult* result) const {
  const int64_t end = slice.start + slice.count;
  for (int64_t p = std::max(slice.start, state.start.answered); p < end; ++p) {
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
    SequenceResult& result = results.sequences.emplace_back();
    result.id = slice.id;
    const auto found = states_.find(slice.id);
    Demand(found != states_.end(), "has a slice but no start", slice.id);
    if (!complaint_.empty()) return results;
    const std::string& gate = found->second.start.gate;
    Demand(std::binary_search(gates.begin(), gates.end(), gate), "has a gate that the plan lacks",
           slice.id);
    Compute(slice, &found->second, &result);
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
