// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/lightning_attention.h"

#include "runtime/check.h"
#include "runtime/cpu/lightning_attention.h"

namespace folkmoot {

void LightningAttention(ThreadPool& pool, const LightningParams& params,
                        std::span<const AttentionSequence> sequences, Matrix qkv,
                        RecurrentState& state, Matrix out) {
  const LightningHeads& heads = params.heads;
  FM_CHECK(heads.heads > 0 && heads.head_dim > 0);
  FM_CHECK(std::ssize(params.decays) == heads.heads);
  FM_CHECK(qkv.cols == heads.columns());
  FM_CHECK(out.rows == qkv.rows && out.cols == heads.values());
  CheckRecurrence(state, heads.state(), params.layer, sequences, qkv.rows);
  cpu::LightningAttention(pool, params, sequences, qkv, state, out);
}

}  // namespace folkmoot
