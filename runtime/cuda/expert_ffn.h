// SPDX-License-Identifier: Apache-2.0
// The grouped expert FFN on the device: for each choice c of a group of slot s,
//   hidden[c] = act(gate_s x[row(c)]) * (up_s x[row(c)])
//   out[choice c] = down_s hidden[c]
// Rows are gathered while they are loaded and results are written to the place of their choice, so
// no permuted copy of the activations exists. Work is a list of tiles in device memory: the host
// knows no counts. A choice's result depends on its row, its expert and the plan's kernel, and on
// nothing else: not on its tile, its neighbours or the number of rows. Under kBatchInvariant all
// plans of a model have one kernel, and so the same bits.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

// Weights of the local experts of one layer, in one piece each.
struct ExpertWeights {
  const void* gate_up = nullptr;  // [slots, 2I, H]: rows of gate and up alternate in blocks of 8
  const void* down = nullptr;     // [slots, H, I]
  // The two are E4M3 codes, columns in the order of CodeColumn; else they have the type of x.
  bool codes = false;
  // What the codes of a row are multiplied with, for each kCodeGroup columns.
  const float* gate_up_scale = nullptr;  // [slots, CodeGroups(H), 2I]
  const float* down_scale = nullptr;     // [slots, CodeGroups(I), H]
  DType dtype = DType::kBF16;            // of x
  int64_t hidden = 0;                    // H, a multiple of 8; with codes of 16
  int64_t intermediate = 0;              // I, likewise
  int activation = 0;                    // Activation of runtime/ops/gemm.h
};

// Which kernels: by the rows of the step, the type and the device. `experts`: local ones, among
// which rows * k choices are expected. Under kFastest 64 rows per expert or more take wgmma where
// there is one.
struct ExpertFfnPlan {
  int tile_rows = 16;  // GroupedRows must be made with it
  int kernel = 0;      // of the implementation
};
ExpertFfnPlan PlanExpertFfn(const DeviceInfo& device, const ExpertWeights& weights, int rows, int k,
                            int experts, GemmPolicy policy = GemmPolicy::kBatchInvariant);

// x [T, H] in the type of the weights; hidden: scratch [max_choices, I] of that type, by index in
// groups.choices; out float32 [T * K, H], by choice (row * k + slot); only the rows of grouped
// choices are written. row_weight [T * K], or null: under weight_on_input x is scaled by it,
// rounded once.
void ExpertFfn(Stream& stream, const ExpertFfnPlan& plan, const ExpertWeights& weights,
               const GroupedRows& groups, int k, const MatrixRef& x, const float* row_weight,
               void* hidden, float* out);

// Columns that share a scale, and scales of a row.
constexpr int64_t kCodeGroup = 128;
inline int64_t CodeGroups(int64_t k) { return (k + kCodeGroup - 1) / kCodeGroup; }
// Where code k of a row lies: in each 16, a lane of the tensor cores finds its four side by side.
inline int64_t CodeColumn(int64_t k) {
  const int64_t at = k % 16;
  return k / 16 * 16 + at % 8 / 2 * 4 + at / 8 * 2 + at % 2;
}

// Bytes of one expert's row in `gate_up` order: where row `r` (< 2I) of [gate; up] goes.
inline int64_t GateUpRow(int64_t r, int64_t intermediate) {
  const bool up = r >= intermediate;
  const int64_t i = up ? r - intermediate : r;
  return i / 8 * 16 + (up ? 8 : 0) + i % 8;
}

}  // namespace folkmoot::cuda
