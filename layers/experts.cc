// SPDX-License-Identifier: Apache-2.0
#include "layers/experts.h"

namespace folkmoot {

ExpertTensors TensorsOfExpert(const ExpertNames& names, bool packed, int expert, int experts,
                              int64_t hidden, int64_t intermediate) {
  ExpertTensors refs;
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
                                      Activation activation) {
  Experts experts;
  experts.intermediate_ = intermediate;
  experts.activation_ = activation;
  const bool packed = loader.Has(names.packed_gate_up);
  for (const int expert : placement.experts_of(rank)) {
    const ExpertTensors refs =
        TensorsOfExpert(names, packed, expert, placement.experts(), hidden, intermediate);
    GatedFfnWeights weights;
    FM_ASSIGN_OR_RETURN(weights.gate_up, loader.PackGateUp(pool, refs.gate, refs.up));
    FM_ASSIGN_OR_RETURN(weights.down, loader.Pack(pool, refs.down));
    experts.weights_.push_back(std::move(weights));
  }
  for (const GatedFfnWeights& weights : experts.weights_) experts.pointers_.push_back(&weights);
  return experts;
}

void Experts::Forward(LayerContext& ctx, const ExpertBatch& batch, Matrix out) const {
  const Workspace::Position mark = ctx.workspace.Mark();
  const Matrix hidden = ctx.workspace.GetMatrix(batch.rows.rows, intermediate_);
  GroupedGatedFfn(ctx.pool, pointers_, batch.offsets, activation_, batch.rows, ctx.workspace,
                  hidden, out);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
