// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/state_space.h"

#include "runtime/check.h"
#include "runtime/cpu/state_space.h"

namespace folkmoot {

void StateSpace(ThreadPool& pool, const StateSpaceParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix projected,
                RecurrentState& state, Workspace& workspace, Matrix out) {
  const StateSpaceHeads& heads = params.heads;
  FM_CHECK(heads.groups > 0 && heads.heads_per_group > 0);
  FM_CHECK(heads.state_dim > 0 && heads.head_dim > 0 && heads.kernel > 0);
  FM_CHECK(params.convolution.rows == heads.kernel);
  FM_CHECK(params.convolution.channels == heads.channels());
  CheckConvolution(params.convolution);
  for (const std::span<const float> each : {params.rates, params.step_bias, params.skip}) {
    FM_CHECK(std::ssize(each) == heads.heads());
  }
  FM_CHECK(std::ssize(params.norm) == heads.values());
  FM_CHECK(params.norm_width > 0 && heads.values() % params.norm_width == 0);
  FM_CHECK(projected.cols == heads.columns());
  FM_CHECK(out.rows == projected.rows && out.cols == heads.values());
  CheckRecurrence(state, heads.state(), params.layer, sequences, projected.rows);
  cpu::StateSpace(pool, params, sequences, projected, state, workspace, out);
}

}  // namespace folkmoot
