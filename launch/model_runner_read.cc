// SPDX-License-Identifier: Apache-2.0
// What a step's logits become: sampled tokens, log-probabilities, and guesses found right or wrong.
#include <algorithm>

#include "launch/model_runner.h"
#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

std::string NotFinite(int64_t position) {
  return fmt::format("the logits of position {} are not finite numbers", position);
}

// What the state of a sequence says beside its token.
void Answer(const SequenceState& state, SequenceResult* result) {
  result->error = state.error;
  result->drops = state.drops;
  result->layer_digests = state.digests;
}

}  // namespace

void ModelRunner::ReadAll(ConstMatrix logits, StepRecorder& recorder, StepResult* result) {
  pool_.ParallelFor(static_cast<int64_t>(active_.size()), 1,
                    [&](int64_t begin, int64_t end, int thread) {
                      for (int64_t i = begin; i < end; ++i) {
                        ActiveSlice& active = active_[static_cast<size_t>(i)];
                        Sampler& sampler = samplers_[static_cast<size_t>(thread)];
                        if (active.slice->drafts > 0) {
                          Verify(logits, sampler, recorder, result->sequences, &active);
                        } else {
                          Read(active, logits, sampler, &result->sequences[active.result]);
                        }
                      }
                    });
  recorder.CountAccepted();
  std::erase_if(result->sequences, [](const SequenceResult& one) { return one.id < 0; });
}

// Row by row as in steps of their own: first a row counts, then the token after it is sampled. The
// next row is the right one only when that token was guessed.
void ModelRunner::Verify(ConstMatrix logits, Sampler& sampler, StepRecorder& recorder,
                         std::span<SequenceResult> results, ActiveSlice* active) {
  SequenceState& state = *active->state;
  const SequenceSlice& slice = *active->slice;
  state.tokens.resize(static_cast<size_t>(slice.start + slice.count));
  state.computed = slice.start;
  state.stream = state.stream_before;
  state.expert_places.swap(state.places_before);
  for (int64_t i = 0;; ++i) {
    SequenceResult& result = results[active->result + static_cast<size_t>(i)];
    result.id = slice.id;
    active->given = i + 1;
    state.stream = ExtendStream(state.stream, state.tokens[static_cast<size_t>(state.computed++)]);
    recorder.Accept(*active, i, &result);
    if (state.error.empty()) {
      ReadLogits(*active, i, active->first_logit + i, logits, sampler, &result);
    }
    Answer(state, &result);
    const bool more = state.error.empty() && i < slice.drafts;
    if (!more || result.token != state.draft[static_cast<size_t>(i)]) break;
  }
  state.drafted = std::min(state.drafted, state.computed);
}

// Row `row` of the slice, whose logits are row `at`.
void ModelRunner::ReadLogits(const ActiveSlice& active, int64_t row, int64_t at, ConstMatrix logits,
                             Sampler& sampler, SequenceResult* result) {
  SequenceState& state = *active.state;
  const auto choice = static_cast<size_t>(at);
  const bool finite = !batch_.choices.empty() && batch_.choices[choice].wanted
                          ? TakeChosen(model_.chosen()[choice], &state, result)
                          : ReadRow(active, row, logits.RowSpan(at), sampler, result);
  if (!finite) state.error = NotFinite(active.slice->start + row);
}

void ModelRunner::Read(const ActiveSlice& active, ConstMatrix logits, Sampler& sampler,
                       SequenceResult* result) {
  SequenceState& state = *active.state;
  int64_t at = active.first_logit;
  for (int64_t i = 0; i < active.slice->count && state.error.empty(); ++i) {
    const bool sample = active.slice->sample && i + 1 == active.slice->count;
    if (!sample && !WantsTarget(state, active.slice->start + i)) continue;
    ReadLogits(active, i, at++, logits, sampler, result);
  }
  if (state.start.pooling != Pooling::kNone && state.error.empty()) Pool(active, result);
  Answer(state, result);
}

// One row after the other in doubles, however the prompt is cut: the sum has one set of bits.
void ModelRunner::Pool(const ActiveSlice& active, SequenceResult* result) {
  SequenceState& state = *active.state;
  const ConstMatrix hidden = model_.hidden();
  const int64_t rows = active.slice->count;
  if (state.start.pooling == Pooling::kMean) {
    for (int64_t i = 0; i < rows; ++i) {
      const std::span<const float> row = hidden.RowSpan(active.first_row + i);
      for (size_t c = 0; c < row.size(); ++c) state.hidden_sum[c] += static_cast<double>(row[c]);
    }
  }
  if (active.slice->start + rows < state.start.prompt_length) return;
  const std::span<const float> last = hidden.RowSpan(active.first_row + rows - 1);
  result->embedding.assign(last.begin(), last.end());
  if (state.start.pooling == Pooling::kMean) {
    const auto length = static_cast<double>(state.start.prompt_length);
    for (size_t c = 0; c < last.size(); ++c) {
      result->embedding[c] = static_cast<float>(state.hidden_sum[c] / length);
    }
  }
  if (AllFinite(result->embedding)) return;
  result->embedding.clear();
  state.error = "the hidden states of the prompt are not finite numbers";
}

bool ModelRunner::TakeChosen(const ChosenToken& chosen, SequenceState* state,
                             SequenceResult* result) {
  if (chosen.token < 0) return false;
  result->token_logprob = chosen.logprob;
  Append(chosen.token, state, result);
  return true;
}

bool ModelRunner::ReadRow(const ActiveSlice& active, int64_t row, std::span<const float> logits,
                          Sampler& sampler, SequenceResult* result) {
  const SequenceState& state = *active.state;
  const int64_t position = active.slice->start + row;
  if (!AllFinite(logits)) return false;
  const double log_sum_exp = LogSumExp(logits);
  if (WantsTarget(state, position)) {
    const int32_t next = state.tokens[static_cast<size_t>(position + 1)];
    result->target_logprobs.push_back(Sampler::Logprob(logits, log_sum_exp, next));
    result->target_ranks.push_back(Sampler::Rank(logits, next));
    if (state.start.top_logprobs > 0) {
      sampler.TopLogprobs(logits, log_sum_exp, state.start.top_logprobs, &result->top_logprobs);
    }
  }
  if (active.slice->sample && row + 1 >= active.slice->count) {
    Sample(active, logits, log_sum_exp, sampler, result);
  }
  return true;
}

void ModelRunner::Sample(const ActiveSlice& active, std::span<const float> logits,
                         double log_sum_exp, Sampler& sampler, SequenceResult* result) {
  SequenceState& state = *active.state;
  const auto position = static_cast<int64_t>(state.tokens.size());
  std::span<const uint32_t> allowed = active.slice->allowed;
  if (!allowed.empty()) {  // a mask for each token
    const size_t words = allowed.size() / static_cast<size_t>(1 + active.slice->drafts);
    const auto row = static_cast<size_t>(position - active.slice->start - active.slice->count);
    allowed = allowed.subspan(row * words, words);
  }
  const std::optional<int32_t> token = sampler.Sample({.logits = logits,
                                                       .params = state.start.sampling,
                                                       .position = position,
                                                       .prompt_length = state.start.prompt_length,
                                                       .history = &state.history,
                                                       .allowed = allowed});
  if (!token) {
    state.error = fmt::format(
        "no token may come at position {}: masks, allowed and banned tokens and biases leave none",
        position);
    return;
  }
  result->token_logprob = Sampler::Logprob(logits, log_sum_exp, *token);
  if (state.start.logprobs > 0) {
    sampler.TopLogprobs(logits, log_sum_exp, state.start.logprobs, &result->token_top);
  }
  Append(*token, &state, result);
}

void ModelRunner::Append(int32_t token, SequenceState* state, SequenceResult* result) {
  result->token = token;
  state->tokens.push_back(token);
  if (state->start.sampling.NeedsHistory()) state->history.AddOutput(token);
}

}  // namespace folkmoot
