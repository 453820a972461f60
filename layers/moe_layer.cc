// SPDX-License-Identifier: Apache-2.0
#include "layers/moe_layer.h"

#include "runtime/ops/norm.h"

namespace folkmoot {

GatedFfnTensors TensorsOfShared(const MoeNames& names, int64_t hidden, int64_t intermediate) {
  if (names.shared_gate_up.empty()) return TensorsOf(names.shared_prefix, hidden, intermediate);
  return FusedTensorsOf(names.shared_gate_up, names.shared_down, hidden, intermediate);
}

absl::StatusOr<MoeLayer> MoeLayer::Load(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const LayerConfig& kind,
                                        const MoeNames& names, const ExpertPlacement& placement,
                                        int rank, ColumnExchange& columns) {
  MoeLayer layer(columns);
  layer.router_softcap_ = config.moe.router_softcap;
  layer.output_scale_ = config.moe.output_scale;
  layer.output_ = OutputSplit(config.hidden, columns.size());
  const int64_t outputs = config.moe.outputs();
  FM_ASSIGN_OR_RETURN(
      layer.router_,
      loader.Pack(pool, {.name = names.router, .n = outputs, .k = config.hidden, .exact = true}));
  if (config.moe.router_bias) {
    FM_ASSIGN_OR_RETURN(layer.router_bias_, loader.Vector(names.router_bias, outputs));
  }
  if (config.moe.selection_bias) {
    FM_ASSIGN_OR_RETURN(layer.selection_bias_, names.selection_bias_is_row
                                                   ? loader.Row(names.selection_bias, outputs)
                                                   : loader.Vector(names.selection_bias, outputs));
  }
  FM_ASSIGN_OR_RETURN(layer.experts_, Experts::Load(pool, loader, config, kind, names.experts,
                                                    placement, rank, columns));
  if (config.moe.output_bias) {
    FM_ASSIGN_OR_RETURN(layer.output_bias_, loader.VectorPart(names.output_bias, config.hidden,
                                                              layer.output_.begin(columns.rank()),
                                                              layer.output_.width(columns.rank())));
  }
  if (config.moe.shared_intermediate > 0) {
    FM_ASSIGN_OR_RETURN(
        layer.shared_,
        DenseFfn::Load(
            pool, loader, TensorsOfShared(names, config.hidden, config.moe.shared_intermediate),
            config.activation, FfnLimit(config, kind.dense_limit), config.mlp_bias, columns));
    if (!names.shared_gate.empty()) {
      FM_ASSIGN_OR_RETURN(layer.shared_gate_, loader.Row(names.shared_gate, config.hidden));
    }
  }
  return layer;
}

void MoeLayer::Bind(int layer, int moe_index, const Gate& gate, int64_t top_k,
                    Dispatcher& dispatcher) {
  layer_ = layer;
  moe_router_ = MoeRouter(layer, moe_index, gate, top_k);
  moe_router_.set_biases(router_bias_, selection_bias_);
  dispatcher_ = &dispatcher;
  handle_ = dispatcher.MakeHandle();
  if (!gate.config().shared) shared_.reset();
  if (gate.config().shared_gate == SharedGate::kNone) shared_gate_.clear();
}

void MoeLayer::AddBias(Matrix out) const {
  for (int64_t t = 0; t < out.rows; ++t) {
    for (size_t c = 0; c < output_bias_.size(); ++c) out.Row(t)[c] += output_bias_[c];
  }
}

void MoeLayer::AddShared(LayerContext& ctx, ConstMatrix x, ConstMatrix mine, Matrix out) const {
  if (shared_gate_.empty()) {
    Add(ctx.pool, mine, out);
  } else {
    AddSigmoidGated(ctx.pool, x, shared_gate_, mine, out);
  }
}

absl::StatusOr<Matrix> MoeLayer::Forward(LayerContext& ctx, const ForwardBatch& batch,
                                         ConstMatrix x) {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix logits = ctx.workspace.GetMatrix(x.rows, router_.n());
  Gemm(ctx.pool, x, router_, {}, ctx.workspace, logits);
  if (router_softcap_ > 0) SoftCap(ctx.pool, router_softcap_, logits);
  FM_ASSIGN_OR_RETURN(const Routing routing, moe_router_.Route(ctx, batch, logits));
  if (ctx.observer != nullptr) ctx.observer->OnRouting(layer_, routing);

  const bool alone = columns_->size() == 1;  // has all columns of its experts
  const int64_t cols = output_.width(columns_->rank());
  WaitLabel label = {.phase = "dispatch", .layer = layer_, .step = ctx.step};
  FM_RETURN_IF_ERROR(dispatcher_->StartDispatch(x, routing, label, *handle_));
  Matrix shared_hidden;
  Matrix shared;
  if (shared_) {
    shared = ctx.workspace.GetMatrix(x.rows, cols);
    shared_hidden = shared_->Hidden(ctx, x);
    if (alone) shared_->Down(ctx, shared_hidden, shared);  // while the tokens travel
  }
  FM_ASSIGN_OR_RETURN(const ExpertBatch expert_batch, dispatcher_->FinishDispatch(*handle_));
  const Matrix expert_hidden = experts_->Hidden(ctx, expert_batch);
  label.phase = "hidden gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  const Matrix expert_out = ctx.workspace.GetMatrix(expert_batch.rows.rows, cols);
  experts_->Down(ctx, expert_batch, expert_hidden, expert_out);
  const Matrix out = columns_->Take(x.rows, output_);
  const Matrix mine = columns_->Mine(out, output_);
  FM_RETURN_IF_ERROR(dispatcher_->StartCombine(expert_out, *handle_));
  if (shared_ && !alone) shared_->Down(ctx, shared_hidden, shared);
  FM_RETURN_IF_ERROR(dispatcher_->FinishCombine(*handle_, mine));
  if (!output_bias_.empty()) AddBias(mine);
  // Always after the routed experts, so that the sum has one order.
  if (shared_) AddShared(ctx, x, shared, mine);
  if (output_scale_ != 1.0f) Scale(ctx.pool, output_scale_, mine);
  label.phase = "output gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  ctx.workspace.Release(mark);
  return out;
}

}  // namespace folkmoot
