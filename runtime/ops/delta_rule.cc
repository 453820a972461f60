// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/delta_rule.h"

#include "runtime/check.h"
#include "runtime/cpu/delta_rule.h"

namespace folkmoot {
namespace {

void CheckColumns(const HeadColumns& columns, int64_t width, const DeltaHeads& heads,
                  int64_t cols) {
  FM_CHECK(columns.first >= 0 && columns.stride >= width);
  FM_CHECK(columns.first + (heads.key_heads - 1) * columns.stride + width <= cols);
}

void CheckHeads(const DeltaHeads& heads) {
  FM_CHECK(heads.key_heads > 0 && heads.group > 0);
  FM_CHECK(heads.key_dim > 0 && heads.value_dim > 0 && heads.kernel > 0);
}

}  // namespace

void GatedDeltaRule(ThreadPool& pool, const DeltaRuleParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix projected,
                    RecurrentState& state, Workspace& workspace, Matrix out) {
  const DeltaHeads& heads = params.heads;
  CheckHeads(heads);
  const DeltaColumns& columns = params.columns;
  for (const HeadColumns& keys : {columns.q, columns.k}) {
    CheckColumns(keys, heads.key_dim, heads, projected.cols);
  }
  for (const HeadColumns& values : {columns.v, columns.z}) {
    CheckColumns(values, heads.group * heads.value_dim, heads, projected.cols);
  }
  CheckColumns(columns.b, heads.group, heads, projected.cols);
  CheckColumns(columns.a, heads.group * params.decays(), heads, projected.cols);
  FM_CHECK(params.convolution.rows == heads.kernel);
  FM_CHECK(params.convolution.channels == heads.channels());
  CheckConvolution(params.convolution);
  FM_CHECK(std::ssize(params.rates) == heads.value_heads());
  FM_CHECK(std::ssize(params.step_bias) == heads.value_heads() * params.decays());
  FM_CHECK(std::ssize(params.norm) == heads.value_dim && params.decay_bound <= 0);
  FM_CHECK(out.rows == projected.rows && out.cols == heads.values());
  CheckRecurrence(state, heads.state(), params.layer, sequences, projected.rows);
  cpu::GatedDeltaRule(pool, params, sequences, projected, state, workspace, out);
}

}  // namespace folkmoot
