// SPDX-License-Identifier: Apache-2.0
#include "layers/dense_ffn.h"

#include <array>
#include <limits>

namespace folkmoot {

GatedFfnTensors TensorsOf(const std::string& prefix, int64_t hidden, int64_t intermediate) {
  return {.gate = {.name = prefix + "gate_proj.weight", .n = intermediate, .k = hidden},
          .up = {.name = prefix + "up_proj.weight", .n = intermediate, .k = hidden},
          .down = {.name = prefix + "down_proj.weight", .n = hidden, .k = intermediate}};
}

GatedFfnTensors FusedTensorsOf(const std::string& gate_up, const std::string& down, int64_t hidden,
                               int64_t intermediate, bool taking_turns) {
  const TensorRef both = {.name = gate_up, .n = 2 * intermediate, .k = hidden};
  GatedFfnTensors tensors = {.gate = both.Rows(0, intermediate),
                             .up = both.Rows(taking_turns ? 1 : intermediate, intermediate),
                             .down = {.name = down, .n = hidden, .k = intermediate}};
  if (taking_turns) tensors.gate.row_step = tensors.up.row_step = 2;
  return tensors;
}

GatedFfnTensors TensorsOfDense(const LayerNames& names, int64_t hidden, int64_t intermediate) {
  if (names.dense_down.empty()) return TensorsOf(names.dense_prefix, hidden, intermediate);
  const std::string down = names.dense_down + ".weight";
  if (!names.dense_gate_up.empty()) {
    return FusedTensorsOf(names.dense_gate_up + ".weight", down, hidden, intermediate,
                          names.dense_taking_turns);
  }
  const TensorRef up = {.name = names.dense_up + ".weight", .n = intermediate, .k = hidden};
  GatedFfnTensors tensors = {.gate = up, .down = {.name = down, .n = hidden, .k = intermediate}};
  if (names.dense_gate.empty()) return tensors;
  tensors.gate.name = names.dense_gate + ".weight";
  tensors.up = up;
  return tensors;
}

absl::StatusOr<std::vector<float>> LoadBiasOf(WeightLoader& loader, const TensorRef& matrix,
                                              const ColumnSplit& outputs, int rank) {
  constexpr std::string_view kWeight = "weight";
  FM_CHECK(matrix.name.ends_with(kWeight));
  const std::string bias = matrix.name.substr(0, matrix.name.size() - kWeight.size()) + "bias";
  return loader.VectorPart(bias, outputs.cols(), outputs.begin(rank), outputs.width(rank));
}

absl::Status LoadGatedFfn(ThreadPool& pool, WeightLoader& loader, const GatedFfnTensors& tensors,
                          const ColumnExchange& columns, GatedFfnWeights* weights) {
  const int rank = columns.rank();
  const ColumnSplit hidden = IntermediateSplit(tensors.gate.n, columns.size());
  const ColumnSplit output = OutputSplit(tensors.down.n, columns.size());
  const auto part = [rank](const TensorRef& ref, const ColumnSplit& split) {
    return ref.Rows(split.begin(rank), split.width(rank));
  };
  weights->gated = tensors.gated();
  if (weights->gated) {
    FM_ASSIGN_OR_RETURN(weights->gate_up, loader.PackGateUp(pool, part(tensors.gate, hidden),
                                                            part(tensors.up, hidden)));
  } else {
    FM_ASSIGN_OR_RETURN(weights->gate_up, loader.Pack(pool, part(tensors.gate, hidden)));
  }
  FM_ASSIGN_OR_RETURN(weights->down, loader.Pack(pool, part(tensors.down, output)));
  return absl::OkStatus();
}

float FfnLimit(const ModelConfig& config, float own) {
  const bool by_layer =
      config.activation == Activation::kLimitedSwiglu ||
      (config.activation == Activation::kCappedSwiglu && config.swiglu_limit == 0);
  if (!by_layer) return config.swiglu_limit;
  return own > 0 ? own : std::numeric_limits<float>::infinity();
}

absl::StatusOr<DenseFfn> DenseFfn::Load(ThreadPool& pool, WeightLoader& loader,
                                        const GatedFfnTensors& tensors, Activation activation,
                                        float limit, bool biased, ColumnExchange& columns) {
  DenseFfn ffn(columns);
  ffn.hidden_ = IntermediateSplit(tensors.gate.n, columns.size());
  ffn.output_ = OutputSplit(tensors.down.n, columns.size());
  ffn.activation_ = activation;
  ffn.weights_.limit = limit;
  FM_RETURN_IF_ERROR(LoadGatedFfn(pool, loader, tensors, columns, &ffn.weights_));
  if (!biased) return ffn;
  const auto load = [&](const TensorRef& tensor, const ColumnSplit& split,
                        std::vector<float>* values, std::span<const float>* view) -> absl::Status {
    FM_ASSIGN_OR_RETURN(*values, LoadBiasOf(loader, tensor, split, columns.rank()));
    *view = *values;
    return absl::OkStatus();
  };
  GatedFfnWeights& weights = ffn.weights_;
  FM_RETURN_IF_ERROR(load(tensors.gate, ffn.hidden_, &ffn.gate_bias_, &weights.gate_bias));
  if (weights.gated) {
    FM_RETURN_IF_ERROR(load(tensors.up, ffn.hidden_, &ffn.up_bias_, &weights.up_bias));
  }
  FM_RETURN_IF_ERROR(load(tensors.down, ffn.output_, &ffn.down_bias_, &weights.down_bias));
  return ffn;
}

Matrix DenseFfn::Hidden(LayerContext& ctx, ConstMatrix x) const {
  const Matrix hidden = columns_->Take(x.rows, hidden_);
  const std::array<const GatedFfnWeights*, 1> experts = {&weights_};
  const std::array<int64_t, 2> offsets = {0, x.rows};
  GroupedGateUp(ctx.pool, experts, offsets, activation_, x, ctx.workspace,
                columns_->Mine(hidden, hidden_));
  return hidden;
}

void DenseFfn::Down(LayerContext& ctx, ConstMatrix hidden, Matrix mine) const {
  const std::array<const GatedFfnWeights*, 1> experts = {&weights_};
  const std::array<int64_t, 2> offsets = {0, hidden.rows};
  GroupedDown(ctx.pool, experts, offsets, hidden, ctx.workspace, mine);
}

absl::StatusOr<Matrix> DenseFfn::Forward(LayerContext& ctx, ConstMatrix x, int layer) const {
  const Matrix hidden = Hidden(ctx, x);
  FM_RETURN_IF_ERROR(
      columns_->Gather({.phase = "hidden gather", .layer = layer, .step = ctx.step}));
  const Matrix out = columns_->Take(x.rows, output_);
  Down(ctx, hidden, columns_->Mine(out, output_));
  FM_RETURN_IF_ERROR(
      columns_->Gather({.phase = "output gather", .layer = layer, .step = ctx.step}));
  return out;
}

}  // namespace folkmoot
