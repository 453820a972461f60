// SPDX-License-Identifier: Apache-2.0
#include "scheduler/scheduler.h"

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kError:
      return "error";
  }
  FM_CHECK(false);
  return "";
}

Scheduler::Scheduler(const SchedulerOptions& options) : options_(options) {
  for (int r = 0; r < options.ranks; ++r) pools_.emplace_back(options.blocks_per_rank);
}

absl::Status Scheduler::Check(const Request& request) const {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) return InvalidArgument("the prompt is empty: give at least one token");
  if (request.max_tokens < 0) {
    return InvalidArgument("max_tokens is {}: it must be 0 or more", request.max_tokens);
  }
  if (prompt + request.max_tokens > options_.max_model_len) {
    return InvalidArgument(
        "this model's maximum context length is {} tokens, but {} were asked for ({} in the "
        "prompt, {} to generate): shorten the prompt, lower max_tokens or raise --max-model-len",
        options_.max_model_len, prompt + request.max_tokens, prompt, request.max_tokens);
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    if (request.prompt[i] < 0 || request.prompt[i] >= options_.vocab) {
      return InvalidArgument("prompt token {} is {}: ids of this model are 0 to {}", i,
                             request.prompt[i], options_.vocab - 1);
    }
  }
  const int64_t blocks =
      (prompt + request.max_tokens + options_.block_size - 1) / options_.block_size;
  if (blocks > options_.blocks_per_rank) {
    return ResourceExhausted(
        "the request needs {} KV pages of {} tokens, but a rank has only {}: raise "
        "--kv-cache-blocks or ask for less",
        blocks, options_.block_size, options_.blocks_per_rank);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Scheduler::Add(Request request) {
  FM_RETURN_IF_ERROR(Check(request));
  auto sequence = std::make_unique<Sequence>();
  sequence->id = next_id_++;
  sequence->tokens = request.prompt;
  sequence->request = std::move(request);
  waiting_.push_back(std::move(sequence));
  return next_id_ - 1;
}

void Scheduler::Abort(int64_t id) {
  const auto queued = std::find_if(waiting_.begin(), waiting_.end(),
                                   [&](const auto& sequence) { return sequence->id == id; });
  if (queued != waiting_.end()) {
    waiting_.erase(queued);
    return;
  }
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  Finish(*found->second);
  running_.erase(found);
}

int Scheduler::LeastLoadedRank(int64_t blocks) const {
  std::vector<int64_t> load(pools_.size(), 0);
  for (const auto& [id, sequence] : running_) {
    load[static_cast<size_t>(sequence->rank)] +=
        sequence->prompt_length() + sequence->request.max_tokens - sequence->computed;
  }
  int best = -1;
  for (int r = 0; r < options_.ranks; ++r) {
    const auto i = static_cast<size_t>(r);
    if (pools_[i].free() < blocks) continue;
    if (best < 0 || load[i] < load[static_cast<size_t>(best)]) best = r;
  }
  return best;
}

void Scheduler::Admit() {
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < options_.max_sequences) {
    Sequence& next = *waiting_.front();
    const int64_t positions = next.prompt_length() + next.request.max_tokens;
    const int64_t blocks = (positions + options_.block_size - 1) / options_.block_size;
    const int rank = LeastLoadedRank(blocks);
    if (rank < 0) return;  // first come, first served: nobody overtakes
    next.rank = rank;
    FM_CHECK(pools_[static_cast<size_t>(rank)].Allocate(blocks, &next.blocks));
    running_.emplace(next.id, std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

SequenceSlice Scheduler::Slice(Sequence& sequence, int64_t count) const {
  const Request& request = sequence.request;
  SequenceSlice slice;
  slice.id = sequence.id;
  slice.start = sequence.computed;
  slice.prompt_length = sequence.prompt_length();
  slice.blocks = sequence.blocks;
  slice.sampling = request.sampling;
  slice.trace_routing = request.trace_routing;
  slice.layer_digests = request.layer_digests;
  const auto begin = sequence.tokens.begin() + sequence.computed;
  slice.token_ids.assign(begin, begin + count);
  const int64_t end = sequence.computed + count;
  slice.sample = end == sequence.length() && request.max_tokens > 0;
  if (request.prompt_logprobs && sequence.computed < sequence.prompt_length()) {
    slice.top_logprobs = request.top_logprobs;
    for (int64_t position = slice.start + 1; position <= end; ++position) {
      const bool given = position < sequence.prompt_length();
      slice.targets.push_back(given ? sequence.tokens[static_cast<size_t>(position)] : -1);
    }
  }
  return slice;
}

int64_t Scheduler::ChunkLimit(const Sequence& sequence) const {
  // A scored prompt needs the logits of every row: with a large vocabulary its pieces must be
  // small.
  constexpr int64_t kScoredLogits = int64_t{1} << 24;
  if (!sequence.request.prompt_logprobs) return options_.prefill_chunk;
  return std::clamp<int64_t>(kScoredLogits / options_.vocab, 1, options_.prefill_chunk);
}

StepPlan Scheduler::Schedule() {
  Admit();
  StepPlan plan;
  plan.step = next_step_++;
  plan.ranks.resize(pools_.size());
  plan.finished = std::move(finished_);
  finished_.clear();
  std::vector<int64_t> budget(pools_.size(), options_.max_batched_tokens);
  // Decodes first: they are one token each and somebody waits for every one of them.
  for (const bool decoding : {true, false}) {
    for (const auto& [id, sequence] : running_) {
      const int64_t pending = sequence->length() - sequence->computed;
      const bool decodes = pending == 1 && sequence->computed >= sequence->prompt_length();
      if (decodes != decoding) continue;
      int64_t& left = budget[static_cast<size_t>(sequence->rank)];
      const int64_t count = std::min({pending, left, ChunkLimit(*sequence)});
      if (count <= 0) continue;
      left -= count;
      sequence->planned = count;
      plan.ranks[static_cast<size_t>(sequence->rank)].push_back(Slice(*sequence, count));
    }
  }
  return plan;
}

FinishReason Scheduler::Apply(Sequence& sequence, const SequenceResult& result) {
  sequence.computed += sequence.planned;
  sequence.planned = 0;
  if (!result.error.empty()) return FinishReason::kError;
  const Request& request = sequence.request;
  if (result.token < 0) {
    const bool scored = request.max_tokens == 0 && sequence.computed == sequence.length();
    return scored ? FinishReason::kLength : FinishReason::kNone;
  }
  sequence.tokens.push_back(result.token);
  const auto& stops = request.stop_ids;
  if (std::find(stops.begin(), stops.end(), result.token) != stops.end())
    return FinishReason::kStop;
  const int64_t generated = sequence.length() - sequence.prompt_length();
  return generated >= request.max_tokens ? FinishReason::kLength : FinishReason::kNone;
}

void Scheduler::Finish(Sequence& sequence) {
  pools_[static_cast<size_t>(sequence.rank)].Free(sequence.blocks);
  finished_.push_back(sequence.id);
}

const std::vector<RequestEvent>& Scheduler::Update(std::vector<StepResult> results) {
  results_ = std::move(results);
  events_.clear();
  for (const StepResult& rank : results_) {
    for (const SequenceResult& result : rank.sequences) {
      const auto found = running_.find(result.id);
      if (found == running_.end()) continue;  // aborted meanwhile
      const FinishReason finish = Apply(*found->second, result);
      events_.push_back({.id = result.id, .result = &result, .finish = finish});
      if (finish == FinishReason::kNone) continue;
      Finish(*found->second);
      running_.erase(found);
    }
  }
  return events_;
}

}  // namespace folkmoot
