// SPDX-License-Identifier: Apache-2.0
// Attention over the depth of a model, as the residual of Inkling 2 has it (Transformers'
// modeling_inkling2.py, BlockAttentionResidual): what a part of a layer reads is a mixture of the
// sums that runs of layers left behind in a token.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// sums [T, n * H] and queries [Q * H]; out [T, Q * H]. With y[t, i] = sum i of row t divided by its
// root mean square,
//
//   out[t, q] = sum over i of softmax over i (queries[q] . y[t, i] / sqrt(H)) * y[t, i].
//
// Products within a vector are added up by lane, softmaxes are decided in double, and mixtures are
// added up in order of i. Scratch from `workspace`.
void MixSums(ThreadPool& pool, ConstMatrix sums, std::span<const float> queries, int64_t hidden,
             Workspace& workspace, Matrix out);

}  // namespace folkmoot
