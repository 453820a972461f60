// SPDX-License-Identifier: Apache-2.0
#include "launch/step_recorder.h"

#include <xxhash.h>

#include <algorithm>

#include "layers/gates/placement.h"
#include "runtime/status.h"

namespace folkmoot {
namespace {

bool HasGuesses(const ActiveSlice& active) { return active.slice->drafts > 0; }

// How many experts this row's gate chose: a layer may have fewer than the model's gate, and the
// gates of other rows more.
size_t ChoicesOf(const Routing& routing, int64_t row) {
  const auto k = static_cast<size_t>(routing.top_k);
  const auto slots = routing.expert.subspan(static_cast<size_t>(row) * k, k);
  return static_cast<size_t>(std::find(slots.begin(), slots.end(), -1) - slots.begin());
}

uint64_t ExtendDigest(uint64_t digest, std::span<const float> row) {
  return XXH3_64bits_withSeed(row.data(), row.size_bytes(), digest);
}

}  // namespace

StepRecorder::StepRecorder(const std::vector<ActiveSlice>& slices, int64_t moe_layers,
                           const ModelConfig& config, PageLedger& pages, Workspace& memory,
                           StepResult& result)
    : slices_(slices),
      pages_(pages),
      result_(result),
      encoder_layers_(static_cast<int>(config.encoder.layers)),
      experts_(static_cast<size_t>(config.moe.experts)),
      outputs_(static_cast<size_t>(config.moe.outputs())),
      loops_(config.loop.passes > 1),
      memory_(memory) {
  result_.expert_tokens.assign(static_cast<size_t>(moe_layers) * experts_, 0);
  result_.expert_overflow.assign(static_cast<size_t>(moe_layers) * experts_, 0);
  digests_wanted_ = std::any_of(slices.begin(), slices.end(), [](const ActiveSlice& active) {
    return active.state->start.layer_digests;
  });
  for (const ActiveSlice& active : slices) {
    if (HasGuesses(active)) guessed_rows_ += active.slice->rows();
  }
  memory_.Reset();
}

void StepRecorder::CountExperts(size_t moe_layer, int64_t row, const Routing& routing) {
  const auto first = static_cast<size_t>(row * routing.top_k);
  const size_t end = first + ChoicesOf(routing, row);
  for (size_t c = first; c < end; ++c) {
    if (static_cast<size_t>(routing.expert[c]) >= experts_) continue;  // a zero expert
    const size_t at = moe_layer * experts_ + static_cast<size_t>(routing.expert[c]);
    if (routing.state[c] == SlotState::kOverflow) ++result_.expert_overflow[at];
    if (routing.action[c] == SlotAction::kExpert) ++result_.expert_tokens[at];
  }
}

void StepRecorder::CountLost(const ActiveSlice& active, size_t moe_layer, int64_t row,
                             int64_t position, const Routing& routing) {
  SequenceState& state = *active.state;
  if (!state.can_lose) return;
  const auto first = static_cast<size_t>(row * routing.top_k);
  const std::span<const SlotState> slots = routing.state.subspan(first, ChoicesOf(routing, row));
  const auto rejected =
      static_cast<int>(std::count(slots.begin(), slots.end(), SlotState::kRejected));
  const auto overflow =
      static_cast<int>(std::count(slots.begin(), slots.end(), SlotState::kOverflow));
  if (state.keeps_pages) pages_.CountLost(state, moe_layer, position, rejected, overflow);
  DropCounts& drops = state.drops[moe_layer];
  drops.rejected += rejected;
  drops.overflow += overflow;
  if (position >= state.start.prompt_length) return;
  drops.prompt_rejected += rejected;
  drops.prompt_overflow += overflow;
}

// A position that the layer does not compute: its page says what was lost before.
void StepRecorder::CountNothing(const ActiveSlice& active, int64_t position) {
  const SequenceState& state = *active.state;
  if (state.can_lose && state.keeps_pages) pages_.CountLost(state, moe_layer_, position, 0, 0);
}

void StepRecorder::CheckFinite(const ActiveSlice& active, int layer, const Rows& rows) const {
  if (rows.routing.bad.empty() || !active.state->error.empty()) return;
  const auto bad =
      rows.routing.bad.subspan(static_cast<size_t>(rows.first), static_cast<size_t>(rows.count));
  const auto found = std::find_if(bad.begin(), bad.end(), [](uint8_t flag) { return flag != 0; });
  if (found == bad.end()) return;
  active.state->error =
      fmt::format("layer {}: the router's logits of position {} are not finite numbers", layer,
                  rows.position + (found - bad.begin()));
}

void StepRecorder::OnRouting(int layer, const Routing& routing) {
  if (loops_) moe_layer_ = static_cast<size_t>(layer);
  for (const ActiveSlice& active : slices_) {
    SequenceState& state = *active.state;
    if (state.can_lose) state.drops[moe_layer_].layer = layer;
    if (HasGuesses(active)) continue;
    const Rows rows = {.routing = routing,
                       .first = active.first_row,
                       .count = active.slice->count,
                       .position = active.slice->start};
    CheckFinite(active, layer, rows);
    for (int64_t i = 0; i < rows.count; ++i) {
      if (!Computes(layer, active, rows.position + i)) {
        CountNothing(active, rows.position + i);
        continue;
      }
      CountExperts(moe_layer_, rows.first + i, routing);
      CountLost(active, moe_layer_, rows.first + i, rows.position + i, routing);
    }
    if (state.start.trace_routing) {
      result_.sequences[active.result].routing.push_back(Trace(active, layer, rows));
    }
  }
  if (guessed_rows_ > 0) Keep(layer, routing);
  ++moe_layer_;
}

void StepRecorder::OnNoRouting(int layer) {
  for (const ActiveSlice& active : slices_) {
    if (active.state->can_lose) active.state->drops[moe_layer_].layer = layer;
    for (int64_t i = 0; i < active.slice->rows(); ++i) {
      CountNothing(active, active.slice->start + i);
    }
  }
  ++moe_layer_;
}

// The routing's own memory lives no longer than its layer.
void StepRecorder::Keep(int layer, const Routing& routing) {
  Kept& kept = kept_.emplace_back();
  kept.layer = layer;
  kept.routing = Routing::Allocate(memory_, guessed_rows_, routing.top_k);
  if (!routing.bad.empty()) kept.routing.bad = memory_.Get<uint8_t>(guessed_rows_);
  for (const ActiveSlice& active : slices_) {
    if (!HasGuesses(active)) continue;
    const auto copy = [&](auto from, auto to, int64_t width) {
      const auto first = from.begin() + active.first_row * width;
      std::copy(first, first + active.slice->rows() * width,
                to.begin() + active.first_guessed * width);
    };
    copy(routing.expert, kept.routing.expert, routing.top_k);
    copy(routing.weight, kept.routing.weight, routing.top_k);
    copy(routing.state, kept.routing.state, routing.top_k);
    copy(routing.action, kept.routing.action, routing.top_k);
    copy(routing.place, kept.routing.place, routing.top_k);
    if (!routing.bad.empty()) copy(routing.bad, kept.routing.bad, 1);
  }
}

void StepRecorder::Accept(const ActiveSlice& active, int64_t row, SequenceResult* result) {
  SequenceState& state = *active.state;
  const int64_t position = active.slice->start + row;
  for (size_t m = 0; m < kept_.size(); ++m) {
    const auto& [layer, routing] = kept_[m];
    const Rows rows = {
        .routing = routing, .first = active.first_guessed + row, .count = 1, .position = position};
    CheckFinite(active, layer, rows);
    CountLost(active, m, rows.first, position, routing);
    if (state.start.trace_routing) result->routing.push_back(Trace(active, layer, rows));
    if (state.expert_places.empty()) continue;
    const GateConfig& gate = state.gate->config();
    const auto first = static_cast<size_t>(rows.first * routing.top_k);
    const size_t own = ChoicesOf(routing, rows.first);
    CountClaims(gate, position, routing.expert.subspan(first, own),
                routing.state.subspan(first, own),
                std::span(state.expert_places).subspan(m * outputs_, outputs_));
  }
  for (size_t layer = 0; layer < state.digests.size(); ++layer) {
    state.digests[layer] = kept_digests_[layer][static_cast<size_t>(active.first_guessed + row)];
  }
}

void StepRecorder::CountAccepted() {
  for (const ActiveSlice& active : slices_) {
    if (!HasGuesses(active)) continue;
    for (size_t m = 0; m < kept_.size(); ++m) {
      for (int64_t i = 0; i < active.given; ++i) {
        CountExperts(m, active.first_guessed + i, kept_[m].routing);
      }
    }
  }
}

RoutingTrace StepRecorder::Trace(const ActiveSlice& active, int layer, const Rows& rows) const {
  const GateConfig& gate = active.state->gate->config();
  const Routing& routing = rows.routing;
  RoutingTrace trace = {.layer = layer, .top_k = gate.top_k};
  const int64_t answered =
      std::clamp<int64_t>(active.state->start.answered - rows.position, 0, rows.count);
  for (int64_t i = 0; i < rows.count; ++i) {
    if (!Computes(layer, active, rows.position + i)) continue;
    trace.top_k = static_cast<int32_t>(ChoicesOf(routing, rows.first + i));
    if (i < answered) continue;
    const auto first = static_cast<size_t>((rows.first + i) * routing.top_k);
    for (size_t c = first; c < first + static_cast<size_t>(trace.top_k); ++c) {
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
  if (guessed_rows_ > 0) kept_digests_.push_back(memory_.Get<uint64_t>(guessed_rows_));
  for (const ActiveSlice& active : slices_) {
    if (!active.state->start.layer_digests) continue;
    uint64_t digest = active.state->digests[static_cast<size_t>(layer)];
    for (int64_t i = 0; i < active.slice->rows(); ++i) {
      if (!Computes(layer, active, active.slice->start + i)) continue;
      digest = ExtendDigest(digest, hidden.RowSpan(active.first_row + i));
      if (!HasGuesses(active)) continue;
      kept_digests_.back()[static_cast<size_t>(active.first_guessed + i)] = digest;
    }
    if (!HasGuesses(active)) active.state->digests[static_cast<size_t>(layer)] = digest;
  }
}

}  // namespace folkmoot
