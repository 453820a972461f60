// SPDX-License-Identifier: Apache-2.0
#include "layers/moe_layer.h"

#include "runtime/ops/norm.h"

namespace folkmoot {
absl::StatusOr<MoeLayer> MoeLayer::Load(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const MoeNames& names,
                                        const ExpertPlacement& placement, int rank) {
  MoeLayer layer;
  FM_ASSIGN_OR_RETURN(layer.router_, loader.Pack(pool, {.name = names.router,
                                                        .n = config.moe.experts,
                                                        .k = config.hidden,
                                                        .exact = true}));
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
  moe_router_ = MoeRouter(layer, moe_index, gate);
  dispatcher_ = &dispatcher;
  handle_ = dispatcher.MakeHandle();
  if (!gate.config().shared) shared_.reset();
  if (gate.config().shared_gate == SharedGate::kNone) shared_gate_.clear();
}

absl::Status MoeLayer::Forward(LayerContext& ctx, const ForwardBatch& batch, ConstMatrix x,
                               Matrix out) {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix logits = ctx.workspace.GetMatrix(x.rows, router_.n());
  Gemm(ctx.pool, x, router_, {}, ctx.workspace, logits);
  FM_ASSIGN_OR_RETURN(const Routing routing, moe_router_.Route(ctx, batch, logits));
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
