// SPDX-License-Identifier: Apache-2.0
#include "layers/experts.h"

namespace folkmoot {

GatedFfnTensors TensorsOfExpert(const ExpertNames& names, bool packed, int expert, int experts,
                                int64_t hidden, int64_t intermediate) {
  GatedFfnTensors refs;
  refs.gate = {.n = intermediate, .k = hidden};
  refs.up = refs.gate;
  refs.down = {.n = hidden, .k = intermediate};
  if (!packed) {
    const std::string prefix = fmt::format("{}experts.{}.", names.prefix, expert);
    refs.gate.name = prefix + names.gate;
    refs.up.name = prefix + names.up;
    refs.down.name = prefix + names.down;
    return refs;
  }
  refs.gate.name = refs.up.name = names.packed_gate_up;
  refs.down.name = names.packed_down;
  for (TensorRef* ref : {&refs.gate, &refs.up, &refs.down}) {
    ref->slices = experts;
    ref->slice = expert;
  }
  refs.gate.slice_rows = refs.up.slice_rows = 2 * intermediate;
  refs.up.first_row = intermediate;
  refs.down.slice_rows = hidden;
  return refs;
}

absl::StatusOr<Experts> Experts::Load(ThreadPool& pool, WeightLoader& loader,
                                      const ExpertNames& names, const ExpertPlacement& placement,
                                      int rank, int64_t hidden, int64_t intermediate,
                                      Activation activation, ColumnExchange& columns) {
  Experts experts(columns);
  experts.hidden_ = IntermediateSplit(intermediate, columns.size());
  experts.activation_ = activation;
  const bool packed = loader.Has(names.packed_gate_up);
  for (const int expert : placement.experts_of(rank)) {
    FM_RETURN_IF_ERROR(LoadGatedFfn(
        pool, loader,
        TensorsOfExpert(names, packed, expert, placement.experts(), hidden, intermediate), columns,
        &experts.weights_.emplace_back()));
    const GatedFfnWeights& first = experts.weights_.front();
    const GatedFfnWeights& last = experts.weights_.back();
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
