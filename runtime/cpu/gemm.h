// SPDX-License-Identifier: Apache-2.0
// CPU side of runtime/ops/gemm.h; shapes are checked there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/ops/gemm.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"

namespace folkmoot::cpu {

// Bytes of one packed panel of `k` values (layouts in runtime/cpu/panel_kernel-inl.h).
int64_t PanelBytes(DType dtype, int64_t k);
// Zeroed memory for weights, taken when it is touched, in huge pages when the system grants them.
// Throws OutOfMemory. Any thread may call both.
std::byte* AllocatePanels(int64_t bytes);
void FreePanels(std::byte* data, int64_t bytes);

// Writes rows first .. first + rows of `weight` to columns column .. of the panel; rows that the
// matrix does not have become zeros.
struct PanelPart {
  WeightView weight;
  int64_t first = 0;
  int64_t rows = 0;
  int64_t column = 0;
};
void PackPanel(const PanelPart& part, std::byte* panel);

void Gemm(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, std::span<const float> bias,
          Workspace& workspace, Matrix out);

void GroupedGateUp(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                   std::span<const int64_t> offsets, Activation activation, ConstMatrix x,
                   Workspace& workspace, Matrix hidden);
void GroupedDown(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                 std::span<const int64_t> offsets, ConstMatrix hidden, Workspace& workspace,
                 Matrix out);

}  // namespace folkmoot::cpu
