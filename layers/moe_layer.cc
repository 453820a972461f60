// SPDX-License-Identifier: Apache-2.0
#include "layers/moe_layer.h"

#include <algorithm>

#include "runtime/ops/norm.h"

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
  for (size_t i = 0; i < rows.size(); ++i) {
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

absl::StatusOr<MoeLayer> MoeLayer::Load(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const MoeNames& names,
                                        const ExpertPlacement& placement, int rank) {
  MoeLayer layer;
  FM_ASSIGN_OR_RETURN(
      layer.router_,
      loader.Pack(pool, {.name = names.router, .n = config.moe.experts, .k = config.hidden}));
  FM_ASSIGN_OR_RETURN(layer.experts_,
                      Experts::Load(pool, loader, names.experts, placement, rank, config.hidden,
                                    config.moe.intermediate, config.activation));
  if (config.moe.shared_intermediate > 0) {
    FM_ASSIGN_OR_RETURN(layer.shared_,
                        DenseFfn::Load(pool, loader, names.shared_prefix, config.hidden,
                                       config.moe.shared_intermediate, config.activation, false));
    FM_ASSIGN_OR_RETURN(layer.shared_gate_, loader.Row(names.shared_gate, config.hidden));
  }
  return layer;
}

void MoeLayer::Bind(int layer, int moe_index, const Gate& gate, Dispatcher& dispatcher) {
  layer_ = layer;
  moe_index_ = moe_index;
  gate_ = &gate;
  dispatcher_ = &dispatcher;
  handle_ = dispatcher.MakeHandle();
  if (!gate.config().shared) shared_.reset();
  if (gate.config().shared_gate == SharedGate::kNone) shared_gate_.clear();
}

absl::StatusOr<Routing> MoeLayer::Route(LayerContext& ctx, const ForwardBatch& batch,
                                        ConstMatrix x) {
  const Matrix logits = ctx.workspace.GetMatrix(x.rows, router_.n());
  Gemm(ctx.pool, x, router_, {}, logits);
  if (batch.gates.size() > 1) return RouteMixed(ctx, batch, logits);
  const Gate& gate = batch.gates.empty() ? *gate_ : *batch.gates.front();
  sequences_.clear();
  for (const BatchSequence& sequence : batch.sequences) {
    sequences_.push_back(SequenceOf(sequence, gate));
  }
  const GateInput input = {.logits = logits,
                           .sequences = sequences_,
                           .streams = batch.streams,
                           .token_ids = batch.token_ids,
                           .layer = layer_,
                           .step = ctx.step};
  return gate.Route(input, ctx.experts, ctx.workspace);
}

GateSequence MoeLayer::SequenceOf(const BatchSequence& sequence, const Gate& gate) const {
  GateSequence gated = {.first_row = sequence.first_row,
                        .rows = sequence.rows,
                        .start = sequence.start,
                        .order = sequence.order};
  if (!gate.config().NeedsChunkCounters()) return gated;
  const auto experts = static_cast<size_t>(router_.n());
  const size_t offset = static_cast<size_t>(moe_index_) * experts;
  gated.taken = sequence.expert_places.subspan(offset, experts);
  gated.page_ends = sequence.page_ends;
  gated.page_offset = static_cast<int64_t>(offset);
  gated.page_size = sequence.page_size;
  return gated;
}

absl::StatusOr<Routing> MoeLayer::RouteMixed(LayerContext& ctx, const ForwardBatch& batch,
                                             ConstMatrix logits) {
  Workspace& workspace = ctx.workspace;
  int top_k = 0;  // the same on every rank
  for (const Gate* gate : batch.gates) top_k = std::max(top_k, gate->config().top_k);
  Routing merged = Routing::Allocate(workspace, logits.rows, top_k);
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
      const GateInput input = {.logits = mine.logits,
                               .sequences = sequences_,
                               .streams = mine.streams,
                               .token_ids = mine.token_ids,
                               .layer = layer_,
                               .step = ctx.step};
      FM_ASSIGN_OR_RETURN(const Routing part, gate.Route(input, ctx.experts, workspace));
      ScatterRows(part, mine.rows, merged);
    }
    workspace.Release(mark);
  }
  return merged;
}

absl::Status MoeLayer::Forward(LayerContext& ctx, const ForwardBatch& batch, ConstMatrix x,
                               Matrix out) {
  const Workspace::Position mark = ctx.workspace.Mark();
  FM_ASSIGN_OR_RETURN(const Routing routing, Route(ctx, batch, x));
  if (ctx.observer != nullptr) ctx.observer->OnRouting(layer_, routing);

  const WaitLabel label = {.phase = "dispatch", .layer = layer_, .step = ctx.step};
  FM_RETURN_IF_ERROR(dispatcher_->StartDispatch(x, routing, label, *handle_));
  Matrix shared;
  if (shared_) {  // computed while the tokens travel
    shared = ctx.workspace.GetMatrix(x.rows, x.cols);
    shared_->Forward(ctx, x, shared);
  }
  FM_ASSIGN_OR_RETURN(const ExpertBatch expert_batch, dispatcher_->FinishDispatch(*handle_));
  const Matrix expert_out = ctx.workspace.GetMatrix(expert_batch.rows.rows, x.cols);
  experts_->Forward(ctx, expert_batch, expert_out);
  FM_RETURN_IF_ERROR(dispatcher_->StartCombine(expert_out, *handle_));
  FM_RETURN_IF_ERROR(dispatcher_->FinishCombine(*handle_, out));

  if (shared_) {  // always after the routed experts, so that the sum has one order
    if (shared_gate_.empty()) {
      Add(ctx.pool, shared, out);
    } else {
      AddSigmoidGated(ctx.pool, x, shared_gate_, shared, out);
    }
  }
  ctx.workspace.Release(mark);
  return absl::OkStatus();
}

}  // namespace folkmoot
