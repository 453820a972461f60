// SPDX-License-Identifier: Apache-2.0
#include "layers/experts.h"

#include <utility>

namespace folkmoot {
namespace {

// [E, 2I, H] and [E, H, I], or where `transposed` [E, H, 2I] and [E, I, H]. One of them may be
// square, and look the same transposed, but not both.
bool ArePacked(const ExpertNames& names, const WeightLoader& loader, bool transposed) {
  std::vector<int64_t> gate_up = loader.Shape(names.packed_gate_up);
  std::vector<int64_t> down = loader.Shape(names.packed_down);
  if (gate_up.size() != 3 || down.size() != 3) return false;
  if (transposed) std::swap(gate_up[1], gate_up[2]);
  if (transposed) std::swap(down[1], down[2]);
  return gate_up[1] == 2 * down[2] && gate_up[2] == down[1];
}

}  // namespace

ExpertLayout LayoutOf(const ExpertNames& names, const WeightLoader& loader) {
  if (!loader.Has(names.packed_gate_up)) return ExpertLayout::kOneByOne;
  // Where it makes a difference, which is for what may be transposed.
  const std::string& asked = names.gate_up_transposed ? names.packed_gate_up : names.packed_down;
  // Codes are rows, but for FP8 in the place of plain weights (Llama 4 by ModelOpt).
  const bool coded = loader.Coded(asked) && !ArePacked(names, loader, true);
  const bool rows = coded || (names.either_way && ArePacked(names, loader, false));
  return rows ? ExpertLayout::kPackedRows : ExpertLayout::kPacked;
}

GatedFfnTensors TensorsOfExpert(const ExpertNames& names, ExpertLayout layout, int expert,
                                int experts, int64_t hidden, int64_t intermediate) {
  GatedFfnTensors refs;
  refs.gate = {.n = intermediate, .k = hidden};
  refs.up = refs.gate;
  refs.down = {.n = hidden, .k = intermediate};
  if (layout == ExpertLayout::kOneByOne) {
    const std::string prefix = fmt::format("{}{}{}.", names.prefix, names.stem, expert);
    refs.gate.name = prefix + names.gate;
    if (!names.up.empty()) refs.up.name = prefix + names.up;
    refs.down.name = prefix + names.down;
    return refs;
  }
  refs.gate.name = refs.up.name = names.packed_gate_up;
  refs.down.name = names.packed_down;
  for (TensorRef* ref : {&refs.gate, &refs.up, &refs.down}) {
    ref->slices = experts;
    ref->slice = expert;
  }
  const bool plain = layout == ExpertLayout::kPacked;
  refs.gate.transposed = refs.up.transposed = plain && names.gate_up_transposed;
  refs.down.transposed = plain && names.down_transposed;
  refs.down.slice_rows = hidden;
  if (!names.packed_up.empty()) {
    refs.up.name = names.packed_up;
    refs.gate.slice_rows = refs.up.slice_rows = intermediate;
    return refs;
  }
  refs.gate.slice_rows = refs.up.slice_rows = 2 * intermediate;
  refs.up.first_row = names.taking_turns ? 1 : intermediate;
  refs.gate.row_step = refs.up.row_step = names.taking_turns ? 2 : 1;
  return refs;
}

absl::Status Experts::LoadBiases(WeightLoader& loader, const ModelConfig& config,
                                 const ExpertNames& names, int expert) {
  const int64_t inner = config.moe.intermediate;
  FM_ASSIGN_OR_RETURN(const std::vector<float> both,
                      loader.Row(names.packed_gate_up_bias, 2 * inner, expert, config.moe.experts));
  FM_ASSIGN_OR_RETURN(
      const std::vector<float> down,
      loader.Row(names.packed_down_bias, config.expert_width(), expert, config.moe.experts));
  const auto part = [&](const std::vector<float>& all, int64_t first, int64_t step,
                        const ColumnSplit& split) -> std::span<const float> {
    std::vector<float>& mine = biases_.emplace_back();
    const int64_t begin = split.begin(columns_->rank());
    for (int64_t i = begin; i < begin + split.width(columns_->rank()); ++i) {
      mine.push_back(all[static_cast<size_t>(first + i * step)]);
    }
    return mine;
  };
  GatedFfnWeights& weights = weights_.back();
  const int64_t step = names.taking_turns ? 2 : 1;
  weights.gate_bias = part(both, 0, step, hidden_);
  weights.up_bias = part(both, names.taking_turns ? 1 : inner, step, hidden_);
  weights.down_bias = part(down, 0, 1, output_);
  return absl::OkStatus();
}

absl::Status Experts::LoadOwnBiases(WeightLoader& loader, const GatedFfnTensors& tensors) {
  const auto load = [&](const TensorRef& tensor, const ColumnSplit& split,
                        std::span<const float>* view) -> absl::Status {
    FM_ASSIGN_OR_RETURN(biases_.emplace_back(),
                        LoadBiasOf(loader, tensor, split, columns_->rank()));
    *view = biases_.back();
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(load(tensors.gate, hidden_, &weights_.back().gate_bias));
  return load(tensors.down, output_, &weights_.back().down_bias);
}

absl::StatusOr<Experts> Experts::Load(ThreadPool& pool, WeightLoader& loader,
                                      const ModelConfig& config, const LayerConfig& kind,
                                      const ExpertNames& names, const ExpertPlacement& placement,
                                      int rank, ColumnExchange& columns) {
  Experts experts(columns);
  experts.hidden_ = IntermediateSplit(config.moe.intermediate, columns.size());
  experts.output_ = OutputSplit(config.expert_width(), columns.size());
  experts.activation_ = config.activation;
  const ExpertLayout layout = LayoutOf(names, loader);
  for (const int expert : placement.experts_of(rank)) {
    GatedFfnWeights& last = experts.weights_.emplace_back();
    const GatedFfnTensors tensors = TensorsOfExpert(names, layout, expert, placement.experts(),
                                                    config.expert_width(), config.moe.intermediate);
    FM_RETURN_IF_ERROR(LoadGatedFfn(pool, loader, tensors, columns, &last));
    last.limit = FfnLimit(config, kind.expert_limit);
    last.up_limit = config.swiglu_up_limit;
    if (config.moe.expert_bias) {
      FM_RETURN_IF_ERROR(last.gated ? experts.LoadBiases(loader, config, names, expert)
                                    : experts.LoadOwnBiases(loader, tensors));
    }
    const GatedFfnWeights& first = experts.weights_.front();
    if (last.gate_up.TakesRowsOf(first.gate_up) && last.down.TakesRowsOf(first.down)) continue;
    const int other = placement.experts_of(rank).front();
    if (!last.gate_up.codes() && !first.gate_up.codes()) {
      return InvalidArgument(
          "{}: expert {} has weights of another type than expert {}, for which reduced activations "
          "are rounded otherwise; --dtype bfloat16 converts them",
          names.prefix, expert, other);
    }
    return InvalidArgument(
        "{}: expert {} is quantised differently from expert {}; --dtype bfloat16 runs them as "
        "plain weights",
        names.prefix, expert, other);
  }
  for (const GatedFfnWeights& weights : experts.weights_) experts.pointers_.push_back(&weights);
  return experts;
}

Matrix Experts::Hidden(LayerContext& ctx, const ExpertBatch& batch) const {
  const Matrix hidden = columns_->Take(batch.rows.rows, hidden_);
  GroupedGateUp(ctx.pool, pointers_, batch.offsets, activation_, batch.rows, ctx.workspace,
                columns_->Mine(hidden, hidden_));
  return hidden;
}

void Experts::Down(LayerContext& ctx, const ExpertBatch& batch, ConstMatrix hidden,
                   Matrix mine) const {
  GroupedDown(ctx.pool, pointers_, batch.offsets, hidden, ctx.workspace, mine);
}

}  // namespace folkmoot
