// SPDX-License-Identifier: Apache-2.0
#include "layers/moe_layer.h"

#include <utility>

#include "runtime/ops/norm.h"

namespace folkmoot {

GatedFfnTensors TensorsOfShared(const MoeNames& names, int64_t hidden, int64_t intermediate) {
  if (names.shared_as_experts) {
    const auto tensor = [&](const std::string& leaf, int64_t n, int64_t k) {
      return TensorRef{.name = names.shared_prefix + leaf, .n = n, .k = k};
    };
    return {tensor(names.experts.gate, intermediate, hidden),
            tensor(names.experts.up, intermediate, hidden),
            tensor(names.experts.down, hidden, intermediate)};
  }
  if (names.shared_gate_up.empty()) {
    GatedFfnTensors tensors = TensorsOf(names.shared_prefix, hidden, intermediate);
    if (!names.shared_gated) tensors.gate = std::exchange(tensors.up, {});
    return tensors;
  }
  return FusedTensorsOf(names.shared_gate_up, names.shared_down, hidden, intermediate);
}

absl::StatusOr<MoeLayer> MoeLayer::Load(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const LayerConfig& kind,
                                        const MoeNames& names, const ExpertPlacement& placement,
                                        int rank, ColumnExchange& columns) {
  MoeLayer layer(columns);
  layer.router_scale_ = config.moe.router_scale;
  layer.router_softcap_ = config.moe.router_softcap;
  layer.output_scale_ = config.moe.output_scale;
  layer.outputs_ = config.moe.outputs();
  layer.shared_sinks_ = config.moe.shared_sinks;
  layer.output_ = OutputSplit(config.hidden, columns.size());
  layer.combined_ = OutputSplit(config.expert_width(), columns.size());
  FM_RETURN_IF_ERROR(layer.LoadRouter(pool, loader, config, kind, names));
  FM_ASSIGN_OR_RETURN(layer.experts_, Experts::Load(pool, loader, config, kind, names.experts,
                                                    placement, rank, columns));
  if (config.moe.latent > 0) {
    FM_RETURN_IF_ERROR(layer.LoadLatent(pool, loader, config, names));
  }
  if (config.moe.expert_norms) {
    FM_ASSIGN_OR_RETURN(layer.expert_norm_,
                        Norm::LoadLate(loader, config, names.expert_norm, config.expert_width()));
    layer.expert_norm_->set_eps(config.post_norm_eps.value_or(config.rms_norm_eps));
  }
  if (config.moe.output_bias) {
    FM_ASSIGN_OR_RETURN(layer.output_bias_, loader.VectorPart(names.output_bias, config.hidden,
                                                              layer.output_.begin(columns.rank()),
                                                              layer.output_.width(columns.rank())));
  }
  if (config.moe.shared_intermediate > 0) {
    FM_RETURN_IF_ERROR(layer.LoadShared(pool, loader, config, kind, names));
  }
  return layer;
}

absl::Status MoeLayer::LoadShared(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                                  const LayerConfig& kind, const MoeNames& names) {
  const auto load = [&](const GatedFfnTensors& tensors) -> absl::Status {
    FM_ASSIGN_OR_RETURN(DenseFfn shared, DenseFfn::Load(pool, loader, tensors, config.activation,
                                                        FfnLimit(config, kind.dense_limit),
                                                        config.mlp_bias, *columns_));
    shared_.push_back(std::move(shared));
    return absl::OkStatus();
  };
  const int64_t hidden = config.hidden;
  const int64_t intermediate = config.moe.shared_intermediate;
  if (shared_sinks_ == 0) {
    FM_RETURN_IF_ERROR(load(TensorsOfShared(names, hidden, intermediate)));
  }
  const ExpertLayout layout = LayoutOf(names.shared_experts, loader);
  for (int s = 0; s < shared_sinks_; ++s) {
    GatedFfnTensors tensors =
        TensorsOfExpert(names.shared_experts, layout, s, static_cast<int>(shared_sinks_), hidden,
                        intermediate / shared_sinks_);
    for (TensorRef* ref : {&tensors.gate, &tensors.up, &tensors.down}) ref->everywhere = true;
    FM_RETURN_IF_ERROR(load(tensors));
  }
  if (names.shared_gate.empty()) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(shared_gate_, loader.Row(names.shared_gate, hidden));
  return absl::OkStatus();
}

absl::Status MoeLayer::LoadRouter(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                                  const LayerConfig& kind, const MoeNames& names) {
  if (config.moe.router_hidden > 0) {
    FM_ASSIGN_OR_RETURN(network_, RouterNetwork::Load(pool, loader, config, kind, names.network));
  } else {
    FM_ASSIGN_OR_RETURN(router_, loader.Pack(pool, {.name = names.router,
                                                    .n = outputs_ + shared_sinks_,
                                                    .k = config.hidden,
                                                    .exact = true,
                                                    .transposed = names.router_transposed}));
  }
  if (config.moe.router_bias) {
    FM_ASSIGN_OR_RETURN(router_bias_, loader.Vector(names.router_bias, outputs_));
  }
  if (kind.hashed) {
    FM_ASSIGN_OR_RETURN(token_table_, loader.DistinctIds(names.token_table, config.vocab,
                                                         config.top_k(kind), config.moe.experts));
  } else if (config.moe.selection_bias) {
    const int64_t rows = names.selection_bias_rows;
    FM_ASSIGN_OR_RETURN(selection_bias_, rows > 0
                                             ? loader.Row(names.selection_bias, outputs_, 0, rows)
                                             : loader.Vector(names.selection_bias, outputs_));
  }
  if (config.moe.weight_scales) {
    FM_ASSIGN_OR_RETURN(weight_scales_, loader.Vector(names.weight_scales, outputs_));
  }
  if (config.moe.weight_scale) {
    FM_ASSIGN_OR_RETURN(const std::vector<float> scale, loader.Vector(names.weight_scale, 1));
    weight_scale_ = scale.front();
  }
  return absl::OkStatus();
}

absl::Status MoeLayer::LoadLatent(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                                  const MoeNames& names) {
  const int64_t latent = config.moe.latent;
  const TensorRef in = {.name = names.latent_in + ".weight", .n = latent, .k = config.hidden};
  const TensorRef out = {.name = names.latent_out + ".weight", .n = config.hidden, .k = latent};
  const int rank = columns_->rank();
  FM_ASSIGN_OR_RETURN(latent_in_, loader.Pack(pool, in));
  FM_ASSIGN_OR_RETURN(latent_out_,
                      loader.Pack(pool, out.Rows(output_.begin(rank), output_.width(rank))));
  if (!names.latent_norm.empty()) {
    FM_ASSIGN_OR_RETURN(latent_norm_, Norm::Load(loader, config, names.latent_norm, latent));
  }
  if (!config.mlp_bias) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(latent_in_bias_, loader.Vector(names.latent_in + ".bias", latent));
  FM_ASSIGN_OR_RETURN(latent_out_bias_, LoadBiasOf(loader, out, output_, rank));
  return absl::OkStatus();
}

void MoeLayer::Bind(int layer, int moe_index, const Gate& gate, int64_t top_k,
                    Dispatcher& dispatcher) {
  layer_ = layer;
  moe_router_ = MoeRouter(layer, moe_index, gate, top_k);
  moe_router_.set_biases(router_bias_, selection_bias_);
  moe_router_.set_token_table(token_table_, top_k);
  dispatcher_ = &dispatcher;
  handle_ = dispatcher.MakeHandle();
  if (!gate.config().shared) shared_.clear();
  if (gate.config().shared_gate == SharedGate::kNone) shared_gate_.clear();
}

void MoeLayer::set_place(int layer, int moe_index) {
  layer_ = layer;
  moe_router_.set_place(layer, moe_index);
}

void MoeLayer::AddBias(Matrix out) const {
  for (int64_t t = 0; t < out.rows; ++t) {
    for (size_t c = 0; c < output_bias_.size(); ++c) out.Row(t)[c] += output_bias_[c];
  }
}

MoeLayer::Shared MoeLayer::StartShared(LayerContext& ctx, ConstMatrix x) const {
  Shared shared;
  if (shared_.empty()) return shared;
  const int64_t width = output_.width(columns_->rank());
  shared.given = ctx.workspace.GetMatrix(x.rows, width * std::ssize(shared_));
  for (size_t s = 0; s < shared_.size(); ++s) shared.hidden[s] = shared_[s].Hidden(ctx, x);
  return shared;
}

void MoeLayer::FinishShared(LayerContext& ctx, const Shared& shared) const {
  const int64_t width = output_.width(columns_->rank());
  for (size_t s = 0; s < shared_.size(); ++s) {
    shared_[s].Down(ctx, shared.hidden[s],
                    shared.given.Columns(static_cast<int64_t>(s) * width, width));
  }
}

void MoeLayer::AddShared(LayerContext& ctx, ConstMatrix x, const Routing& routing,
                         const Shared& shared, Matrix out) const {
  for (int64_t s = 0; s < std::ssize(shared_); ++s) {
    const Matrix mine = shared.given.Columns(s * out.cols, out.cols);
    if (shared_sinks_ > 0) ScaleRows(ctx.pool, routing.SharedWeights(s), mine);
    if (shared_gate_.empty()) {
      Add(ctx.pool, mine, out);
    } else {
      AddSigmoidGated(ctx.pool, x, shared_gate_, mine, out);
    }
  }
}

ConstMatrix MoeLayer::ExpertRows(LayerContext& ctx, ConstMatrix x) const {
  if (latent_in_.empty()) return x;
  const Matrix rows = ctx.workspace.GetMatrix(x.rows, latent_in_.n());
  Gemm(ctx.pool, x, latent_in_, latent_in_bias_, ctx.workspace, rows);
  if (latent_norm_) latent_norm_->Apply(ctx, rows, rows);
  return rows;
}

absl::StatusOr<Matrix> MoeLayer::Combine(LayerContext& ctx, int64_t rows, WaitLabel label) {
  const Matrix combined = columns_->Take(rows, combined_);
  FM_RETURN_IF_ERROR(dispatcher_->FinishCombine(*handle_, columns_->Mine(combined, combined_)));
  if (latent_in_.empty()) return combined;
  label.phase = "latent gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  const Matrix out = columns_->Take(rows, output_);
  Gemm(ctx.pool, combined, latent_out_, latent_out_bias_, ctx.workspace,
       columns_->Mine(out, output_));
  return out;
}

absl::StatusOr<Routing> MoeLayer::Route(LayerContext& ctx, const ForwardBatch& batch, ConstMatrix x,
                                        Matrix carried) {
  const Matrix logits = ctx.workspace.GetMatrix(x.rows, outputs_ + shared_sinks_);
  if (network_) {
    network_->Route(ctx, x, carried, logits);
  } else {
    Gemm(ctx.pool, x, router_, {}, ctx.workspace, logits);
  }
  if (router_scale_ != 1.0f) Scale(ctx.pool, router_scale_, logits);
  if (router_softcap_ > 0) SoftCap(ctx.pool, router_softcap_, logits);
  FM_ASSIGN_OR_RETURN(const Routing routing, moe_router_.Route(ctx, batch, logits));
  for (size_t i = 0; !weight_scales_.empty() && i < routing.weight.size(); ++i) {
    if (routing.expert[i] < 0) continue;  // an empty slot
    routing.weight[i] *= weight_scales_[static_cast<size_t>(routing.expert[i])];
  }
  if (weight_scale_ != 1.0f) {
    for (float& weight : routing.weight) weight *= weight_scale_;
    for (float& weight : routing.shared_weight) weight *= weight_scale_;
  }
  return routing;
}

absl::StatusOr<Matrix> MoeLayer::Forward(LayerContext& ctx, const ForwardBatch& batch,
                                         ConstMatrix x, ConstMatrix routed, Matrix carried) {
  const Workspace::Position mark = ctx.workspace.Mark();
  FM_ASSIGN_OR_RETURN(const Routing routing, Route(ctx, batch, routed, carried));
  if (ctx.observer != nullptr) ctx.observer->OnRouting(layer_, routing);

  const bool alone = columns_->size() == 1;  // has all columns of its experts
  WaitLabel label = {.phase = "dispatch", .layer = layer_, .step = ctx.step};
  const ConstMatrix sent = ExpertRows(ctx, x);
  FM_RETURN_IF_ERROR(dispatcher_->StartDispatch(sent, routing, label, *handle_));
  const Shared shared = StartShared(ctx, x);
  if (alone) FinishShared(ctx, shared);  // while the tokens travel
  FM_ASSIGN_OR_RETURN(const ExpertBatch expert_batch, dispatcher_->FinishDispatch(*handle_));
  const Matrix expert_hidden = experts_->Hidden(ctx, expert_batch);
  label.phase = "hidden gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  const Matrix expert_out =
      ctx.workspace.GetMatrix(expert_batch.rows.rows, combined_.width(columns_->rank()));
  experts_->Down(ctx, expert_batch, expert_hidden, expert_out);
  if (expert_norm_) expert_norm_->Apply(ctx, expert_out, expert_out);
  FM_RETURN_IF_ERROR(dispatcher_->StartCombine(expert_out, *handle_));
  if (!alone) FinishShared(ctx, shared);
  FM_ASSIGN_OR_RETURN(const Matrix out, Combine(ctx, x.rows, label));
  const Matrix mine = columns_->Mine(out, output_);
  if (!output_bias_.empty()) AddBias(mine);
  // Always after the routed experts, so that the sum has one order.
  AddShared(ctx, x, routing, shared, mine);
  if (output_scale_ != 1.0f) Scale(ctx.pool, output_scale_, mine);
  label.phase = "output gather";
  FM_RETURN_IF_ERROR(columns_->Gather(label));
  ctx.workspace.Release(mark);
  return out;
}

}  // namespace folkmoot
