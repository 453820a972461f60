// SPDX-License-Identifier: Apache-2.0
// ModelRunner::Run: plan -> ForwardBatch -> Model::Forward -> StepResult, which is read from the
// logits in model_runner_read.cc.
#include "launch/model_runner.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "runtime/memory.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

WidestStep WidestOf(const StepPlan& plan) {
  WidestStep widest;
  for (const RankPlan& rank : plan.ranks) {
    int64_t rows = 0;
    // A source is computed in the step in which its sequence begins.
    for (const SequenceStart& start : rank.starts) {
      widest.sources = widest.sources || start.cached < start.source;
    }
    for (const SequenceSlice& slice : rank.slices) {
      rows += slice.rows();
      widest.length = std::max(widest.length, slice.end());
      widest.single = widest.single && slice.rows() == 1;
    }
    widest.rows = std::max(widest.rows, rows);
  }
  return widest;
}

// How the model may choose the sequence's token at `position` by itself; not where the choice needs
// what only the host has, or somebody wants to see more of the logits.
TokenChoice ChoiceOf(const SequenceState& state, const SequenceSlice& slice, int64_t position) {
  const SamplingParams& params = state.start.sampling;
  const bool may_end = position - state.start.prompt_length >= params.min_tokens;
  return {.wanted = !params.NeedsHistory() && params.logit_bias.empty() &&
                    params.allowed_ids.empty() && slice.allowed.empty() && may_end &&
                    state.start.logprobs == 0,
          .how = {.temperature = params.temperature,
                  .top_p = params.top_p,
                  .min_p = params.min_p,
                  .top_k = std::max(params.top_k, 0),
                  .seed = params.seed,
                  .position = position}};
}

}  // namespace

ModelRunner::ModelRunner(Model& model, ThreadPool& pool, Communicator& experts, DraftModel* draft)
    : model_(model),
      draft_(draft),
      pool_(pool),
      experts_(experts),
      pages_(model.cache_pages().blocks, model.cache_pages().block_size, model.moe_layers(),
             model.config().moe.outputs()),
      samplers_(static_cast<size_t>(pool.threads())) {
  FreeSlots();
}

void ModelRunner::FreeSlots() {
  free_slots_.resize(static_cast<size_t>(model_.cache_pages().slots));
  std::iota(free_slots_.rbegin(), free_slots_.rend(), 0);  // the first are taken first
}

absl::StatusOr<StepResult> ModelRunner::Run(const StepPlan& plan) {
  return OrOutOfMemory([&] { return Compute(plan); });
}

absl::StatusOr<StepResult> ModelRunner::Compute(const StepPlan& plan) {
  model_seconds_ = sample_seconds_ = 0;
  const RankPlan& mine = plan.ranks[static_cast<size_t>(experts_.rank())];
  for (const int64_t id : mine.finished) Forget(id);
  for (const SequenceStart& start : mine.starts) FM_RETURN_IF_ERROR(Begin(start));
  StepResult result;
  if (plan.tokens() == 0) return result;  // on no rank
  const Clock::time_point begin = Clock::now();
  FM_RETURN_IF_ERROR(Activate(plan, mine, &result));
  if (draft_ != nullptr) FM_RETURN_IF_ERROR(Draft());
  FM_RETURN_IF_ERROR(Prepare(plan));

  StepRecorder recorder(active_, model_.moe_layers(), model_.config(), pages_, guessed_memory_,
                        result);
  LayerContext ctx = {.pool = pool_,
                      .workspace = workspace_,
                      .experts = experts_,
                      .step = plan.step,
                      .observer = &recorder};
  FM_ASSIGN_OR_RETURN(const Matrix logits, model_.Forward(ctx, batch_));
  WriteSnapshots();
  model_seconds_ = SecondsSince(begin);
  ReadAll(logits, recorder, &result);
  sample_seconds_ = SecondsSince(begin) - model_seconds_;
  return result;
}

void ModelRunner::Forget() {
  states_.clear();
  FreeSlots();
  active_.clear();
  batch_.Clear();
  workspace_.Reset();
  guessed_memory_.Reset();
}

void ModelRunner::WriteSnapshots() {
  for (const ActiveSlice& active : active_) {
    if (active.slice->snapshot < 0) continue;
    const int64_t to = model_.cache_pages().slots + active.slice->snapshot;
    model_.CopyState(pool_, active.state->slot, to);
  }
}

absl::Status ModelRunner::TakeSlot(SequenceState* state) {
  const CachePages pages = model_.cache_pages();
  const SequenceStart& start = state->start;
  if (pages.slots == 0 && start.snapshot < 0) return absl::OkStatus();
  if ((start.snapshot >= 0) != (start.cached > 0) || start.snapshot >= pages.snapshots) {
    return DataLoss(
        "sequence {} starts behind {} cached tokens with copy {} of the state behind them, of {}",
        start.id, start.cached, start.snapshot, pages.snapshots);
  }
  if (free_slots_.empty()) {
    return DataLoss("sequence {} starts, but all {} slots of this rank are taken", state->start.id,
                    model_.cache_pages().slots);
  }
  state->slot = free_slots_.back();
  free_slots_.pop_back();
  if (start.snapshot >= 0) model_.CopyState(pool_, pages.slots + start.snapshot, state->slot);
  return absl::OkStatus();
}

void ModelRunner::Forget(int64_t id) {
  const auto found = states_.find(id);
  if (found == states_.end()) return;
  if (found->second->slot >= 0) free_slots_.push_back(found->second->slot);
  states_.erase(found);
}

absl::Status ModelRunner::Begin(const SequenceStart& start) {
  FM_RETURN_IF_ERROR(CheckStart(start));
  auto state = std::make_unique<SequenceState>();
  state->start = start;
  state->tokens.swap(state->start.tokens);
  state->blocks.swap(state->start.cached_blocks);
  state->computed = state->drafted = start.cached;
  FM_RETURN_IF_ERROR(BindGate(state.get()));
  FM_RETURN_IF_ERROR(TakeSlot(state.get()));
  if (start.layer_digests) state->digests.assign(model_.config().layers.size(), 0);
  if (start.pooling == Pooling::kMean) {
    state->hidden_sum.assign(static_cast<size_t>(model_.config().hidden), 0);
  }
  if (start.sampling.NeedsHistory()) {
    const auto prompt = static_cast<size_t>(start.prompt_length);
    const auto source = static_cast<size_t>(start.source);
    state->history.AddPrompt(std::span(state->tokens).subspan(source, prompt - source));
    for (size_t i = prompt; i < state->tokens.size(); ++i) {
      state->history.AddOutput(state->tokens[i]);
    }
  }
  FM_RETURN_IF_ERROR(pages_.Restore(state.get()));
  states_.emplace(start.id, std::move(state));
  return absl::OkStatus();
}

absl::Status ModelRunner::BindGate(SequenceState* state) {
  const std::string& overrides = state->start.gate;
  absl::StatusOr<std::shared_ptr<const Gate>> gate = model_.GateFor(overrides);
  if (!gate.ok()) {
    return Annotate(gate.status(), fmt::format("sequence {}", state->start.id));
  }
  state->gate = *std::move(gate);
  if (state->gate == nullptr) return absl::OkStatus();
  const GateConfig& config = state->gate->config();
  const auto layers = static_cast<size_t>(model_.moe_layers());
  state->can_lose = config.CanDrop() || config.extra_policy != ExtraPolicy::kAll;
  state->keeps_pages = PrefixCacheable(model_.config(), config);
  if (state->can_lose) state->drops.resize(layers);
  if (config.NeedsChunkCounters()) {
    state->expert_places.assign(layers * static_cast<size_t>(config.num_experts), 0);
  }
  return absl::OkStatus();
}

absl::Status ModelRunner::SelectGates(const std::vector<std::string>& gates) {
  gates_.clear();
  for (const std::string& overrides : gates) {
    FM_ASSIGN_OR_RETURN(gates_.emplace_back(), model_.GateFor(overrides));
    if (gates_.back() != nullptr) batch_.gates.push_back(gates_.back().get());
  }
  return absl::OkStatus();
}

// Who takes part in the step, and what each of them is to compute.
absl::Status ModelRunner::Activate(const StepPlan& plan, const RankPlan& mine, StepResult* result) {
  active_.clear();
  result->sequences.reserve(mine.slices.size());  // all, where nothing is guessed
  for (const SequenceSlice& slice : mine.slices) {
    const size_t at = result->sequences.size();
    result->sequences.emplace_back().id = slice.id;
    const auto found = states_.find(slice.id);
    if (found == states_.end()) {
      return DataLoss("sequence {} goes on, but this rank does not hold it", slice.id);
    }
    SequenceState& state = *found->second;
    if (!state.error.empty()) {  // planned before its error was known
      result->sequences[at].error = state.error;
      continue;
    }
    state.blocks.insert(state.blocks.end(), slice.new_blocks.begin(), slice.new_blocks.end());
    FM_RETURN_IF_ERROR(CheckSlice(slice, plan.step, state));
    state.last_step = plan.step;
    state.draft = slice.draft;
    active_.push_back({.slice = &slice, .state = &state, .result = at});
    const SequenceResult unused = {.id = -1};
    result->sequences.resize(at + static_cast<size_t>(1 + slice.drafts), unused);
  }
  return absl::OkStatus();
}

absl::Status ModelRunner::Draft() {
  draft_tasks_.clear();
  for (const ActiveSlice& active : active_) {
    const SequenceSlice& slice = *active.slice;
    draft_tasks_.push_back({.state = active.state,
                            .end = slice.start + slice.count,
                            .drafts = slice.draft.empty() ? slice.drafts : 0});
  }
  return Annotate(draft_->Draft(draft_tasks_), "the draft model");
}

// Guesses stand behind the tokens while the layers run; Verify takes back what they changed.
void ModelRunner::BeginGuesses(SequenceState* state) {
  state->tokens.insert(state->tokens.end(), state->draft.begin(), state->draft.end());
  state->stream_before = state->stream;
  state->places_before = state->expert_places;
}

absl::Status ModelRunner::Prepare(const StepPlan& plan) {
  batch_.Clear();
  page_ends_.clear();
  page_ends_begin_.clear();
  batch_.widest = WidestOf(plan);
  FM_RETURN_IF_ERROR(SelectGates(plan.gates));
  int64_t guessed = 0;
  for (ActiveSlice& active : active_) {
    active.first_row = batch_.tokens();
    active.first_logit = std::ssize(batch_.logit_rows);
    active.first_guessed = guessed;
    if (active.slice->drafts > 0) {
      guessed += active.slice->rows();
      BeginGuesses(active.state);
    }
    FM_RETURN_IF_ERROR(AddSequence(plan, active));
  }
  SetPageEnds();
  if (std::none_of(batch_.choices.begin(), batch_.choices.end(),
                   [](const TokenChoice& choice) { return choice.wanted; })) {
    batch_.choices.clear();
  }
  return absl::OkStatus();
}

absl::Status ModelRunner::AddSequence(const StepPlan& plan, const ActiveSlice& active) {
  SequenceState& state = *active.state;
  const auto gate = std::lower_bound(plan.gates.begin(), plan.gates.end(), state.start.gate);
  if (gate == plan.gates.end() || *gate != state.start.gate) {
    return DataLoss("sequence {} routes with gate '{}', which the plan does not list",
                    state.start.id, state.start.gate);
  }
  batch_.sequences.push_back({.first_row = active.first_row,
                              .rows = active.slice->rows(),
                              .start = active.slice->start,
                              .order = state.start.id,
                              .blocks = state.blocks,
                              .expert_places = state.expert_places,
                              .page_size = pages_.block_size(),
                              .gate = static_cast<int32_t>(gate - plan.gates.begin()),
                              .slot = state.slot,
                              .source = state.start.source,
                              .prompt = state.start.prompt_length - state.start.written});
  page_ends_begin_.push_back(page_ends_.size());
  pages_.Write(state, state.computed, state.computed + active.slice->rows(), state.stream,
               &page_ends_);
  AddRows(active);
  return absl::OkStatus();
}

bool ModelRunner::WantsTarget(const SequenceState& state, int64_t position) const {
  return state.start.prompt_logprobs && position >= state.start.answered &&
         position >= state.start.source && position + 1 < state.start.prompt_length;
}

void ModelRunner::AddRows(const ActiveSlice& active) {
  SequenceState& state = *active.state;
  const bool by_prefix =
      state.gate == nullptr || state.gate->config().rng_scope == RngScope::kPrefix;
  for (int64_t i = 0; i < active.slice->rows(); ++i) {
    const int64_t position = state.computed++;
    const int32_t token = state.tokens[static_cast<size_t>(position)];
    const bool sample = active.slice->sample && i + 1 >= active.slice->count;
    const bool target = WantsTarget(state, position);
    if (sample || target) {
      batch_.logit_rows.push_back(static_cast<int32_t>(batch_.tokens()));
      if (model_.ChoosesTokens()) {
        batch_.choices.push_back(target ? TokenChoice{}
                                        : ChoiceOf(state, *active.slice, position + 1));
      }
    }
    state.stream = ExtendStream(state.stream, token);
    batch_.streams.push_back(by_prefix ? state.stream : static_cast<uint64_t>(state.start.id));
    batch_.positions.push_back(static_cast<int32_t>(position));
    batch_.rope_lengths.push_back(
        static_cast<int32_t>(std::max(state.start.prompt_length, position + 1)));
    batch_.token_ids.push_back(token);
  }
}

// The list of page ends is complete and will not move any more.
void ModelRunner::SetPageEnds() {
  page_ends_begin_.push_back(page_ends_.size());
  for (size_t i = 0; i < batch_.sequences.size(); ++i) {
    batch_.sequences[i].page_ends =
        std::span(page_ends_)
            .subspan(page_ends_begin_[i], page_ends_begin_[i + 1] - page_ends_begin_[i]);
  }
}

}  // namespace folkmoot
