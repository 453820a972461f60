// SPDX-License-Identifier: Apache-2.0
#include "launch/step_recorder.h"

#include <xxhash.h>

#include <algorithm>

#include "runtime/status.h"

namespace folkmoot {

StepRecorder::StepRecorder(const std::vector<ActiveSlice>& slices, int64_t moe_layers,
                           int64_t experts, PageLedger& pages, StepResult& result)
    : slices_(slices), pages_(pages), result_(result), experts_(static_cast<size_t>(experts)) {
  result_.expert_tokens.assign(static_cast<size_t>(moe_layers) * experts_, 0);
  result_.expert_overflow.assign(static_cast<size_t>(moe_layers) * experts_, 0);
  digests_wanted_ = std::any_of(slices.begin(), slices.end(), [](const ActiveSlice& active) {
    return active.state->start.layer_digests;
  });
}

void StepRecorder::Count(const ActiveSlice& active, int64_t row, int64_t position,
                         const Routing& routing) {
  SequenceState& state = *active.state;
  int rejected = 0;
  int overflow = 0;
  const auto first = static_cast<size_t>(row * routing.top_k);
  const auto own = static_cast<size_t>(state.gate->config().top_k);  // the rest is another gate's
  for (size_t c = first; c < first + own; ++c) {
    const size_t at = moe_layer_ * experts_ + static_cast<size_t>(routing.expert[c]);
    rejected += routing.state[c] == SlotState::kRejected ? 1 : 0;
    if (routing.state[c] == SlotState::kOverflow) {
      ++overflow;
      ++result_.expert_overflow[at];
    }
    if (routing.action[c] == SlotAction::kExpert) ++result_.expert_tokens[at];
  }
  if (!state.can_lose) return;
  if (state.keeps_pages) pages_.CountLost(state, moe_layer_, position, rejected, overflow);
  DropCounts& drops = state.drops[moe_layer_];
  drops.rejected += rejected;
  drops.overflow += overflow;
  if (position >= state.start.prompt_length) return;
  drops.prompt_rejected += rejected;
  drops.prompt_overflow += overflow;
}

void StepRecorder::OnRouting(int layer, const Routing& routing) {
  for (const ActiveSlice& active : slices_) {
    SequenceState& state = *active.state;
    if (state.can_lose) state.drops[moe_layer_].layer = layer;
    for (int64_t i = 0; i < active.slice->count; ++i) {
      const int64_t position = active.slice->start + i;
      const bool bad =
          !routing.bad.empty() && routing.bad[static_cast<size_t>(active.first_row + i)] != 0;
      if (bad && state.error.empty()) {
        state.error = fmt::format(
            "layer {}: the router's logits of position {} are not finite numbers", layer, position);
      }
      Count(active, active.first_row + i, position, routing);
    }
    if (state.start.trace_routing) {
      result_.sequences[active.result].routing.push_back(Trace(active, layer, routing));
    }
  }
  ++moe_layer_;
}

RoutingTrace StepRecorder::Trace(const ActiveSlice& active, int layer,
                                 const Routing& routing) const {
  const SequenceState& state = *active.state;
  const GateConfig& gate = state.gate->config();
  RoutingTrace trace = {.layer = layer, .top_k = gate.top_k};
  const int64_t answered =
      std::clamp<int64_t>(state.start.answered - active.slice->start, 0, active.slice->count);
  for (int64_t i = answered; i < active.slice->count; ++i) {
    const auto first = static_cast<size_t>((active.first_row + i) * routing.top_k);
    for (size_t c = first; c < first + static_cast<size_t>(gate.top_k); ++c) {
      trace.expert.push_back(routing.expert[c]);
      trace.weight.push_back(routing.weight[c]);
      trace.state.push_back(static_cast<uint8_t>(routing.state[c]));
      // Without capacity nobody competes for places, and a number would only tell of the batch.
      trace.place.push_back(gate.CanDrop() ? routing.place[c] : -1);
    }
  }
  return trace;
}

void StepRecorder::OnLayerOutput(int layer, ConstMatrix hidden) {
  for (const ActiveSlice& active : slices_) {
    if (!active.state->start.layer_digests) continue;
    uint64_t& digest = active.state->digests[static_cast<size_t>(layer)];
    for (int64_t i = 0; i < active.slice->count; ++i) {
      const std::span<const float> row = hidden.RowSpan(active.first_row + i);
      digest = XXH3_64bits_withSeed(row.data(), row.size_bytes(), digest);
    }
  }
}

}  // namespace folkmoot
