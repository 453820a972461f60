// SPDX-License-Identifier: Apache-2.0
// The mixture-of-experts feed-forward layer: gate, dispatch, experts, combine, shared expert.
//
// y[t] = sum over k of weight[t, k] * expert[t, k](x[t]) (+ g(x[t]) * shared(x[t])). GShard
// (Lepikhin et al. 2020) for the exchange, Qwen2-MoE for the gated shared expert; there may be
// several, which the router weighs (Inkling).
//
// Over several ranks of `columns` there is nothing to dispatch: every rank routes all tokens, has
// some columns of every expert, and adds up its own columns of the result.
//
// Experts may have a width of their own (MoeConfig::latent): one matrix makes their rows of x,
// perhaps with a norm, another what they give together [T, H] again; gate and shared expert read x.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/dense_ffn.h"
#include "layers/experts.h"
#include "layers/forward_batch.h"
#include "layers/gates/gate.h"
#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/moe_router.h"
#include "layers/norm.h"
#include "layers/router_network.h"
#include "parallel/dispatcher.h"
#include "runtime/model_config.h"

namespace folkmoot {

GatedFfnTensors TensorsOfShared(const MoeNames& names, int64_t hidden, int64_t intermediate);

class MoeLayer {
 public:
  // `columns` must outlive the layer.
  static absl::StatusOr<MoeLayer> Load(ThreadPool& pool, WeightLoader& loader,
                                       const ModelConfig& config, const LayerConfig& kind,
                                       const MoeNames& names, const ExpertPlacement& placement,
                                       int rank, ColumnExchange& columns);
  // `gate` decides where a batch names no other; `dispatcher` is shared by all layers of the model
  // and combines this rank's columns; both must outlive the layer. moe_index counts the MoE layers
  // of the model from 0. top_k: GateInput::top_k.
  void Bind(int layer, int moe_index, const Gate& gate, int64_t top_k, Dispatcher& dispatcher);

  // Of a layer that runs again: as which one Forward does from now on.
  void set_place(int layer, int moe_index);

  // x [T, H], of which `routed`, mostly x itself, is what the router reads; `carried`: see
  // RouterNetwork. Returns [T, H], which lives as matrices of ColumnExchange do. Collective over
  // ctx.experts and the ranks of the exchange, also with T = 0.
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, const ForwardBatch& batch, ConstMatrix x,
                                 ConstMatrix routed, Matrix carried = {});

 private:
  explicit MoeLayer(ColumnExchange& columns) : columns_(&columns) {}
  absl::Status LoadLatent(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                          const MoeNames& names);
  absl::Status LoadRouter(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                          const LayerConfig& kind, const MoeNames& names);
  absl::StatusOr<Routing> Route(LayerContext& ctx, const ForwardBatch& batch, ConstMatrix x,
                                Matrix carried);
  // What is sent to experts.
  ConstMatrix ExpertRows(LayerContext& ctx, ConstMatrix x) const;
  // This rank's columns of [T, H] from the experts of all.
  absl::StatusOr<Matrix> Combine(LayerContext& ctx, int64_t rows, WaitLabel label);
  void AddBias(Matrix out) const;
  absl::Status LoadShared(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                          const LayerConfig& kind, const MoeNames& names);
  // This rank's columns of what shared experts give, side by side; their hidden values.
  struct Shared {
    std::array<Matrix, kMaxSharedSinks> hidden;
    Matrix given;
  };
  Shared StartShared(LayerContext& ctx, ConstMatrix x) const;
  void FinishShared(LayerContext& ctx, const Shared& shared) const;
  // Adds them to the routed ones.
  void AddShared(LayerContext& ctx, ConstMatrix x, const Routing& routing, const Shared& shared,
                 Matrix out) const;

  ColumnExchange* columns_;
  ColumnSplit output_;
  ColumnSplit combined_;  // columns of what experts give; output_ where they are as wide as that
  int layer_ = 0;
  MoeRouter moe_router_;
  Dispatcher* dispatcher_ = nullptr;
  std::unique_ptr<DispatchHandle> handle_;
  PackedMatrix router_;                   // [outputs, H], or:
  std::optional<RouterNetwork> network_;  // MoeConfig::router_hidden
  int64_t outputs_ = 0;                   // of the router, but for those of shared experts
  int64_t shared_sinks_ = 0;              // MoeConfig
  std::optional<Experts> experts_;
  std::vector<DenseFfn> shared_;
  std::vector<float> shared_gate_;                   // [H] or empty
  std::vector<float> router_bias_, selection_bias_;  // [E] or empty
  std::vector<float> weight_scales_;                 // [E] or empty
  float weight_scale_ = 1;
  std::vector<int32_t> token_table_;  // [V, experts of a token] or empty
  std::vector<float> output_bias_;    // [this rank's columns] or empty
  // Where experts have a width of their own: what makes their rows, whole on every rank, and this
  // rank's columns of what turns their sums back.
  PackedMatrix latent_in_, latent_out_;
  std::vector<float> latent_in_bias_, latent_out_bias_;
  std::optional<Norm> latent_norm_, expert_norm_;
  float router_scale_ = 1;  // MoeConfig
  float router_softcap_ = 0;
  float output_scale_ = 1;
};

}  // namespace folkmoot
