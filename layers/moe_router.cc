// SPDX-License-Identifier: Apache-2.0
#include "layers/moe_router.h"

#include <algorithm>

namespace folkmoot {
namespace {

// The rows of a batch that one gate routes, side by side.
struct MixedRows {
  Matrix logits;
  std::span<uint64_t> streams;
  std::span<int32_t> token_ids;
  std::span<int64_t> rows;  // where each stands in the batch
};

MixedRows GatherRows(const ForwardBatch& batch, int32_t gate, ConstMatrix logits,
                     Workspace& workspace) {
  int64_t count = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    count += sequence.gate == gate ? sequence.rows : 0;
  }
  MixedRows mine = {.logits = workspace.GetMatrix(count, logits.cols),
                    .streams = workspace.Get<uint64_t>(count),
                    .token_ids = workspace.Get<int32_t>(count),
                    .rows = workspace.Get<int64_t>(count)};
  size_t at = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    if (sequence.gate != gate) continue;
    for (int64_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row, ++at) {
      const std::span<const float> from = logits.RowSpan(row);
      std::copy(from.begin(), from.end(), mine.logits.Row(static_cast<int64_t>(at)));
      mine.streams[at] = batch.streams[static_cast<size_t>(row)];
      mine.token_ids[at] = batch.token_ids[static_cast<size_t>(row)];
      mine.rows[at] = row;
    }
  }
  return mine;
}

// Copies the decisions for some rows to their place among all; slots that this gate does not have
// stay empty.
void ScatterRows(const Routing& part, std::span<const int64_t> rows, Routing& merged) {
  const int64_t shared = merged.tokens > 0 ? std::ssize(merged.shared_weight) / merged.tokens : 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t s = 0; s < shared; ++s) {
      merged.SharedWeights(s)[static_cast<size_t>(rows[i])] = part.SharedWeights(s)[i];
    }
    merged.bad[static_cast<size_t>(rows[i])] = part.bad[i];
    for (int slot = 0; slot < merged.top_k; ++slot) {
      const size_t to = static_cast<size_t>(rows[i] * merged.top_k + slot);
      const size_t from = i * static_cast<size_t>(part.top_k) + static_cast<size_t>(slot);
      const bool used = slot < part.top_k;
      merged.expert[to] = used ? part.expert[from] : -1;
      merged.weight[to] = used ? part.weight[from] : 0.0f;
      merged.state[to] = used ? part.state[from] : SlotState::kRejected;
      merged.action[to] = used ? part.action[from] : SlotAction::kNone;
      merged.place[to] = used ? part.place[from] : -1;
    }
  }
}

}  // namespace

absl::StatusOr<Routing> MoeRouter::Route(LayerContext& ctx, const ForwardBatch& batch,
                                         ConstMatrix logits) {
  if (batch.gates.size() > 1) return RouteMixed(ctx, batch, logits);
  const Gate& gate = batch.gates.empty() ? *gate_ : *batch.gates.front();
  sequences_.clear();
  for (const BatchSequence& sequence : batch.sequences) {
    sequences_.push_back(SequenceOf(sequence, gate));
  }
  const GateInput input = InputOf(ctx, logits, batch.streams, batch.token_ids);
  return gate.Route(input, ctx.experts, ctx.workspace);
}

GateInput MoeRouter::InputOf(const LayerContext& ctx, ConstMatrix logits,
                             std::span<const uint64_t> streams,
                             std::span<const int32_t> token_ids) const {
  return {.logits = logits,
          .sequences = sequences_,
          .streams = streams,
          .token_ids = token_ids,
          .layer = layer_,
          .top_k = top_k_,
          .step = ctx.step,
          .router_bias = router_bias_,
          .selection_bias = selection_bias_,
          .token_table = token_table_,
          .token_experts = token_experts_};
}

GateSequence MoeRouter::SequenceOf(const BatchSequence& sequence, const Gate& gate) const {
  GateSequence gated = {.first_row = sequence.first_row,
                        .rows = sequence.rows,
                        .start = sequence.start,
                        .order = sequence.order,
                        .whole = sequence.start + sequence.rows <= sequence.source};
  if (!gate.config().NeedsChunkCounters()) return gated;
  const auto experts = static_cast<size_t>(gate_->config().num_experts);
  const size_t offset = static_cast<size_t>(moe_index_) * experts;
  gated.taken = sequence.expert_places.subspan(offset, experts);
  gated.page_ends = sequence.page_ends;
  gated.page_offset = static_cast<int64_t>(offset);
  gated.page_size = sequence.page_size;
  return gated;
}

absl::StatusOr<Routing> MoeRouter::RouteMixed(LayerContext& ctx, const ForwardBatch& batch,
                                              ConstMatrix logits) {
  Workspace& workspace = ctx.workspace;
  int top_k = 0;  // the same on every rank
  for (const Gate* gate : batch.gates) {
    top_k = std::max(top_k, ChoicesOfLayer(gate->config(), top_k_));
  }
  // The same of all gates of a model.
  const int shared = gate_->config().shared_sinks;
  Routing merged = Routing::Allocate(workspace, logits.rows, top_k, shared);
  merged.weight_on_input = gate_->config().apply_to == ApplyTo::kInput;
  merged.bad = workspace.Get<uint8_t>(logits.rows);
  for (size_t g = 0; g < batch.gates.size(); ++g) {
    const Gate& gate = *batch.gates[g];
    const Workspace::Position mark = workspace.Mark();
    const MixedRows mine = GatherRows(batch, static_cast<int32_t>(g), logits, workspace);
    sequences_.clear();
    int64_t first_row = 0;
    for (const BatchSequence& sequence : batch.sequences) {
      if (sequence.gate != static_cast<int32_t>(g)) continue;
      sequences_.push_back(SequenceOf(sequence, gate));
      sequences_.back().first_row = first_row;
      first_row += sequence.rows;
    }
    // A group of all ranks' tokens is collective: everybody comes, also with nothing.
    const bool collective = gate.config().CanDrop() && gate.config().group == CapacityGroup::kStep;
    if (first_row > 0 || collective) {
      const GateInput input = InputOf(ctx, mine.logits, mine.streams, mine.token_ids);
      FM_ASSIGN_OR_RETURN(const Routing part, gate.Route(input, ctx.experts, workspace));
      ScatterRows(part, mine.rows, merged);
    }
    workspace.Release(mark);
  }
  return merged;
}

}  // namespace folkmoot
