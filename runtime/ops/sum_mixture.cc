// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/sum_mixture.h"

#include "runtime/check.h"
#include "runtime/cpu/sum_mixture.h"

namespace folkmoot {

void MixSums(ThreadPool& pool, ConstMatrix sums, std::span<const float> queries, int64_t hidden,
             Workspace& workspace, Matrix out) {
  FM_CHECK(hidden > 0 && sums.cols > 0 && sums.cols % hidden == 0);
  FM_CHECK(!queries.empty() && std::ssize(queries) % hidden == 0);
  FM_CHECK(out.rows == sums.rows && out.cols == std::ssize(queries));
  cpu::MixSums(pool, sums, queries, hidden, workspace, out);
}

}  // namespace folkmoot
