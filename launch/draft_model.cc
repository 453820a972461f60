// SPDX-License-Identifier: Apache-2.0
// DraftModel::Draft: one round for what is new in every sequence, then one for each further guess.
#include "launch/draft_model.h"

#include <algorithm>

#include "layers/models/load_config.h"
#include "parallel/thread_communicator.h"
#include "runtime/ops/norm.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

constexpr char kFlag[] = "--speculative-model";

// The same id must be the same token for both models.
absl::Status CheckTokens(const std::string& draft, const std::string& target) {
  const auto a = Tokenizer::OfModel(draft);
  const auto b = Tokenizer::OfModel(target);
  // Models without a tokenizer (token ids in, token ids out) are compared by size alone.
  if (absl::IsNotFound(a.status()) || absl::IsNotFound(b.status())) return absl::OkStatus();
  FM_RETURN_IF_ERROR(a.status());
  FM_RETURN_IF_ERROR(b.status());
  const int64_t size = std::max((*a)->vocab_size(), (*b)->vocab_size());
  for (int32_t id = 0; id < size; ++id) {
    if ((*a)->IdToToken(id) == (*b)->IdToToken(id)) continue;
    return InvalidArgument(
        "{} {}: token {} is '{}' there but '{}' in {}: the two models need one vocabulary", kFlag,
        draft, id, (*a)->IdToToken(id), (*b)->IdToToken(id), target);
  }
  return absl::OkStatus();
}

absl::Status CheckFits(const DraftModelOptions& options, const ModelConfig& config,
                       const GateConfig& gate, const ModelConfig& target) {
  if (config.vocab != target.vocab) {
    return InvalidArgument("{} {}: its vocabulary has {} tokens, the model's has {}", kFlag,
                           options.directory, config.vocab, target.vocab);
  }
  if (config.max_positions < options.context && config.rope.type != RopeType::kDynamic) {
    return InvalidArgument(
        "{} {}: its context of {} tokens is shorter than {}: lower "
        "--max-model-len, or choose another model",
        kFlag, options.directory, config.max_positions, options.context);
  }
  if (const std::string_view why = WhyNotSpeculative(config); !why.empty()) {
    return InvalidArgument("{} {}: {}: {}", kFlag, options.directory, config.architecture, why);
  }
  if (gate.CanDrop()) {
    return InvalidArgument("{} {}: a gate with capacity cannot guess", kFlag, options.directory);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<DraftModel>> DraftModel::Load(const DraftModelOptions& options,
                                                             const ModelConfig& target,
                                                             const std::string& target_directory,
                                                             ThreadPool& pool) {
  FM_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.directory));
  ModelOptions model;
  FM_ASSIGN_OR_RETURN(model.gate, DefaultGate(config));
  FM_RETURN_IF_ERROR(CheckFits(options, config, model.gate, target));
  FM_RETURN_IF_ERROR(CheckTokens(options.directory, target_directory));
  std::unique_ptr<DraftModel> draft(new DraftModel());
  draft->pool_ = &pool;
  draft->alone_ = std::move(MakeThreadCommunicators(1).front());
  draft->placement_ = ExpertPlacement::Contiguous(static_cast<int>(config.moe.experts), 1);
  model.cache_dtype = options.cache_dtype;
  FM_ASSIGN_OR_RETURN(draft->weights_, WeightSource::Open(options.directory, options.dummy_seed));
  draft->loader_ = draft->weights_->MakeLoader(config, options.weights);
  FM_ASSIGN_OR_RETURN(draft->model_, LoadModel(config, model, *draft->loader_, draft->placement_,
                                               *draft->alone_, pool));
  return draft;
}

void DraftModel::AddRows(const DraftTask& task, int64_t end, bool guess) {
  SequenceState& state = *task.state;
  const int64_t rows = end - state.drafted;
  batch_.sequences.push_back({.first_row = batch_.tokens(),
                              .rows = rows,
                              .start = state.drafted,
                              .order = state.start.id,
                              .blocks = state.blocks,
                              .page_size = model_->cache_pages().block_size,
                              .prompt = state.start.prompt_length - state.start.written});
  const auto known = std::ssize(state.tokens);
  for (; state.drafted < end; ++state.drafted) {
    const int64_t position = state.drafted;
    const bool guessed = position >= known;
    batch_.token_ids.push_back(guessed ? state.draft[static_cast<size_t>(position - known)]
                                       : state.tokens[static_cast<size_t>(position)]);
    batch_.positions.push_back(static_cast<int32_t>(position));
    batch_.rope_lengths.push_back(
        static_cast<int32_t>(std::max(state.start.prompt_length, position + 1)));
    batch_.streams.push_back(static_cast<uint64_t>(state.start.id));
  }
  if (!guess) return;
  batch_.logit_rows.push_back(static_cast<int32_t>(batch_.tokens() - 1));
  guessing_.push_back(&state);
}

// As the large model will choose, apart from penalties and bad words, which look back at guesses.
int32_t DraftModel::Choose(const SequenceState& state, std::span<const float> logits) {
  if (!AllFinite(logits)) return 0;  // a guess like any other
  params_ = state.start.sampling;
  params_.presence_penalty = params_.frequency_penalty = 0;
  params_.repetition_penalty = 1;
  params_.bad_words.clear();
  const auto position = std::ssize(state.tokens) + std::ssize(state.draft);
  return sampler_
      .Sample({.logits = logits,
               .params = params_,
               .position = position,
               .prompt_length = state.start.prompt_length})
      .value_or(0);
}

absl::Status DraftModel::Forward() {
  if (batch_.tokens() == 0) return absl::OkStatus();
  LayerContext ctx = {.pool = *pool_, .workspace = workspace_, .experts = *alone_};
  FM_ASSIGN_OR_RETURN(const Matrix logits, model_->Forward(ctx, batch_));
  for (size_t i = 0; i < guessing_.size(); ++i) {
    SequenceState& state = *guessing_[i];
    state.draft.push_back(Choose(state, logits.RowSpan(static_cast<int64_t>(i))));
  }
  batch_.Clear();
  guessing_.clear();
  return absl::OkStatus();
}

absl::Status DraftModel::Draft(std::span<const DraftTask> tasks) {
  const int64_t page = model_->cache_pages().block_size;
  int64_t rounds = 0;
  batch_.Clear();
  guessing_.clear();
  for (const DraftTask& task : tasks) {
    task.state->draft.clear();
    rounds = std::max(rounds, task.drafts);
    // Without guesses its rows may wait, but for those of a page that will be full.
    const bool fills = task.end / page > task.state->drafted / page;
    if (task.drafts > 0 || fills) AddRows(task, task.end, task.drafts > 0);
  }
  FM_RETURN_IF_ERROR(Forward());
  for (int64_t round = 1; round <= rounds; ++round) {
    for (const DraftTask& task : tasks) {
      const int64_t end = task.end + round;  // behind the guess of the round before
      const bool fills = task.drafts == round && end % page == 0;
      if (task.drafts > round || fills) AddRows(task, end, task.drafts > round);
    }
    FM_RETURN_IF_ERROR(Forward());
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
