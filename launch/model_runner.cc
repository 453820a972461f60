// SPDX-License-Identifier: Apache-2.0
// ModelRunner::Run: plan -> ForwardBatch -> Model::Forward -> sampler -> StepResult.
#include "launch/model_runner.h"

#include <xxhash.h>

#include <algorithm>

#include "runtime/ops/norm.h"

namespace folkmoot {

// Writes receipts, traces and digests of the slices of one step into their results.
class ModelRunner::Recorder : public ForwardObserver {
 public:
  Recorder(const std::vector<SequenceSlice>& slices, const ForwardBatch& batch,
           std::map<int64_t, SequenceState>& states, const Model& model, StepResult& result)
      : slices_(slices), batch_(batch), states_(states), result_(result) {
    experts_ = static_cast<size_t>(model.config().moe.experts);
    const GateConfig& gate = model.gate_config();
    counts_places_ = gate.CanDrop();
    can_lose_ = gate.CanDrop() || gate.extra_policy != ExtraPolicy::kAll;
    result_.expert_tokens.assign(static_cast<size_t>(model.moe_layers()) * experts_, 0);
    result_.sequences.resize(slices.size());
    for (size_t i = 0; i < slices.size(); ++i) result_.sequences[i].id = slices[i].id;
    digests_wanted_ = std::any_of(slices.begin(), slices.end(),
                                  [](const SequenceSlice& s) { return s.layer_digests; });
  }

  void OnRouting(int layer, const Routing& routing) override {
    const std::span<int64_t> counts =
        std::span(result_.expert_tokens).subspan(moe_index_++ * experts_, experts_);
    for (size_t i = 0; i < slices_.size(); ++i) {
      const BatchSequence& rows = batch_.sequences[i];
      const auto first = static_cast<size_t>(rows.first_row * routing.top_k);
      const auto count = static_cast<size_t>(rows.rows * routing.top_k);
      DropCounts drops = {.layer = layer};
      for (size_t c = first; c < first + count; ++c) {
        drops.rejected += routing.state[c] == SlotState::kRejected ? 1 : 0;
        drops.overflow += routing.state[c] == SlotState::kOverflow ? 1 : 0;
        if (routing.action[c] == SlotAction::kExpert) {
          ++counts[static_cast<size_t>(routing.expert[c])];
        }
      }
      SequenceResult& result = result_.sequences[i];
      if (can_lose_) result.drops.push_back(drops);
      if (slices_[i].trace_routing) result.routing.push_back(Trace(layer, routing, first, count));
    }
  }

  void OnLayerOutput(int layer, ConstMatrix hidden) override {
    if (!digests_wanted_) return;
    for (size_t i = 0; i < slices_.size(); ++i) {
      if (!slices_[i].layer_digests) continue;
      const BatchSequence& rows = batch_.sequences[i];
      uint64_t& digest = states_.at(slices_[i].id).digests[static_cast<size_t>(layer)];
      for (int64_t r = rows.first_row; r < rows.first_row + rows.rows; ++r) {
        const std::span<const float> row = hidden.RowSpan(r);
        digest = XXH3_64bits_withSeed(row.data(), row.size_bytes(), digest);
      }
    }
  }

 private:
  RoutingTrace Trace(int layer, const Routing& routing, size_t first, size_t count) const {
    RoutingTrace trace = {.layer = layer, .top_k = routing.top_k};
    const auto copy = [&](const auto& from, auto* to) {
      const auto part = from.subspan(first, count);
      to->assign(part.begin(), part.end());
    };
    copy(routing.expert, &trace.expert);
    copy(routing.weight, &trace.weight);
    copy(routing.place, &trace.place);
    // Without capacity nobody competes for places, and a number would only tell of the batch.
    if (!counts_places_) std::fill(trace.place.begin(), trace.place.end(), -1);
    for (const SlotState state : routing.state.subspan(first, count)) {
      trace.state.push_back(static_cast<uint8_t>(state));
    }
    return trace;
  }

  const std::vector<SequenceSlice>& slices_;
  const ForwardBatch& batch_;
  std::map<int64_t, SequenceState>& states_;
  StepResult& result_;
  size_t experts_ = 0;
  size_t moe_index_ = 0;
  bool counts_places_ = false;
  bool can_lose_ = false;
  bool digests_wanted_ = false;
};

ModelRunner::ModelRunner(Model& model, KvCache& cache, ThreadPool& pool, Communicator& experts)
    : model_(model), cache_(cache), pool_(pool), experts_(experts) {}

absl::Status ModelRunner::Prepare(const std::vector<SequenceSlice>& slices) {
  const GateConfig& gate = model_.gate_config();
  const bool counted = model_.moe_layers() > 0 && gate.NeedsChunkCounters();
  batch_.Clear();
  for (const SequenceSlice& slice : slices) {
    const auto [found, is_new] = states_.try_emplace(slice.id);
    SequenceState& state = found->second;
    if (is_new != (slice.start == 0)) {
      return DataLoss("sequence {} starts at position {}, but this rank {} it", slice.id,
                      slice.start, is_new ? "has never seen" : "already holds");
    }
    if (is_new) {
      if (counted) {
        state.expert_places.assign(
            static_cast<size_t>(model_.moe_layers() * model_.config().moe.experts), 0);
      }
      if (slice.layer_digests) state.digests.assign(model_.config().layers.size(), 0);
    }
    batch_.sequences.push_back({.first_row = batch_.tokens(),
                                .rows = static_cast<int64_t>(slice.token_ids.size()),
                                .start = slice.start,
                                .order = slice.id,
                                .blocks = slice.blocks,
                                .expert_places = state.expert_places});
    for (size_t i = 0; i < slice.token_ids.size(); ++i) {
      const int32_t token = slice.token_ids[i];
      const int64_t position = slice.start + static_cast<int64_t>(i);
      const bool wanted = (i < slice.targets.size() && slice.targets[i] >= 0) ||
                          (slice.sample && i + 1 == slice.token_ids.size());
      if (wanted) batch_.logit_rows.push_back(static_cast<int32_t>(batch_.tokens()));
      state.stream = XXH3_64bits_withSeed(&token, sizeof(token), state.stream);
      batch_.streams.push_back(
          gate.rng_scope == RngScope::kPrefix ? state.stream : static_cast<uint64_t>(slice.id));
      batch_.positions.push_back(static_cast<int32_t>(position));
      batch_.rope_lengths.push_back(
          static_cast<int32_t>(std::max(slice.prompt_length, position + 1)));
      batch_.token_ids.push_back(token);
    }
  }
  return absl::OkStatus();
}

void ModelRunner::Read(const SequenceSlice& slice, ConstMatrix logits, int64_t* row,
                       SequenceResult* result) {
  for (size_t i = 0; i < slice.token_ids.size(); ++i) {
    const int32_t target = i < slice.targets.size() ? slice.targets[i] : -1;
    const bool sample = slice.sample && i + 1 == slice.token_ids.size();
    if (target < 0 && !sample) continue;
    const std::span<const float> values = logits.RowSpan((*row)++);
    const int64_t position = slice.start + static_cast<int64_t>(i);
    if (!AllFinite(values)) {
      result->error = fmt::format("the logits of position {} are not finite numbers", position);
      continue;  // the row is counted all the same
    }
    const double log_sum_exp = LogSumExp(values);
    if (target >= 0) {
      result->target_logprobs.push_back(Sampler::Logprob(values, log_sum_exp, target));
      if (slice.top_logprobs > 0) {
        sampler_.TopLogprobs(values, log_sum_exp, slice.top_logprobs, &result->top_logprobs);
      }
    }
    if (sample) {
      result->token = sampler_.Sample(values, slice.sampling, position + 1);
      result->token_logprob = Sampler::Logprob(values, log_sum_exp, result->token);
    }
  }
}

absl::StatusOr<StepResult> ModelRunner::Run(const StepPlan& plan) {
  for (const int64_t id : plan.finished) states_.erase(id);
  const auto& slices = plan.ranks[static_cast<size_t>(experts_.rank())];
  FM_RETURN_IF_ERROR(Prepare(slices));
  StepResult result;
  Recorder recorder(slices, batch_, states_, model_, result);
  LayerContext ctx = {.pool = pool_,
                      .workspace = workspace_,
                      .experts = experts_,
                      .step = plan.step,
                      .observer = &recorder};
  FM_ASSIGN_OR_RETURN(const Matrix logits, model_.Forward(ctx, batch_, cache_));
  int64_t row = 0;
  for (size_t i = 0; i < slices.size(); ++i) {
    Read(slices[i], logits, &row, &result.sequences[i]);
    if (slices[i].layer_digests) {
      result.sequences[i].layer_digests = states_.at(slices[i].id).digests;
    }
  }
  return result;
}

}  // namespace folkmoot
