// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/selective_scan.h"

#include "runtime/check.h"
#include "runtime/cpu/selective_scan.h"

namespace folkmoot {

void SelectiveScan(ThreadPool& pool, const SelectiveScanParams& params,
                   std::span<const AttentionSequence> sequences, const SelectiveScanRows& rows,
                   RecurrentState& state, Matrix out) {
  const SelectiveScanShape& shape = params.shape;
  FM_CHECK(shape.channels > 0 && shape.state_dim > 0 && shape.kernel > 0);
  FM_CHECK(std::ssize(params.rates) == shape.state_dim * shape.stride());
  FM_CHECK(std::ssize(params.skip) == shape.channels);
  for (const ConstMatrix& each : {rows.x, rows.steps, rows.z}) {
    FM_CHECK(each.rows == out.rows && each.cols == shape.channels);
  }
  for (const ConstMatrix& each : {rows.b, rows.c}) {
    FM_CHECK(each.rows == out.rows && each.cols == shape.state_dim);
  }
  FM_CHECK(out.cols == shape.channels);
  CheckRecurrence(state, shape.state(), params.layer, sequences, out.rows);
  cpu::SelectiveScan(pool, params, sequences, rows, state, out);
}

}  // namespace folkmoot
