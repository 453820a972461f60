// SPDX-License-Identifier: Apache-2.0
// The memory of steps on the device: what a step is told (one pinned piece on the host, copied in
// one go), what its layers write, and what comes back. Made once for the largest step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "layers/forward_batch.h"
#include "layers/gpu/device_arena.h"
#include "layers/gpu/gpu_weights.h"
#include "layers/models/model.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"
#include "runtime/rope.h"

namespace folkmoot {

// What the kernels of a step are launched for: the step itself, or for recorded decode steps the
// next larger bucket. Rows, sequences and logits beyond the step's are padding.
struct StepBucket {
  int rows = 0;
  int sequences = 0;
  int logits = 0;
  int max_rows = 1;    // of one sequence
  int max_length = 0;  // of one sequence, in positions
  int block_stride = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr): it uses none
  auto operator<=>(const StepBucket&) const = default;
};

// 1, 2, 4, 8, then steps that waste at most a third: 16, 24, 32, 48, 64, 96, 128, 192, 256, ...
int BucketRows(int rows);

// Sizes that do not change from step to step.
struct StepSizes {
  StepLimits limits;
  GpuDims dims;
  int64_t block_size = 16;
  int64_t rotary = 0;  // dimensions that are rotated
  int moe_layers = 0;
  int ranks = 1;
  bool chunk_counters = false;  // of sequence_chunk capacity
  bool arrivals = false;        // rows of a capacity group in order of their arrival
  bool wide_inputs = false;     // layer inputs in float32 too
  int tile_rows = 16;           // the smallest of any plan
  int64_t attention_scratch = 0;

  // Of one MoE layer of one step; also enough for one row under a gate that chooses all experts.
  int64_t choices() const { return std::max<int64_t>(limits.rows * dims.top_k, dims.experts); }
  // What this rank's experts may have to do for all ranks.
  int64_t expert_choices() const {
    const int64_t fixed = BucketRows(static_cast<int>(limits.sequences)) * dims.top_k;
    return ranks == 1 ? choices() : ranks * std::max(choices(), fixed);
  }
  // Rows of logits that are computed at once.
  int64_t logit_rows() const {
    return std::min<int64_t>(limits.rows, std::max<int64_t>(limits.sequences, 16));
  }
};

// The step as the kernels see it, in one piece of host memory or its copy on the device.
struct StepFields {
  int32_t* counts;  // [2] rows, sequences
  int32_t* token_ids;
  int32_t* positions;
  int32_t* sequence;
  uint64_t* streams;
  float* cos;
  float* sin;
  int32_t* first_row;
  int32_t* sequence_rows;
  int32_t* start;
  int32_t* blocks;
  int32_t* logit_rows;
  int32_t* arrival;
  int32_t* taken;  // [MoE layers, sequences, E] or null
};

class StepInput {
 public:
  static absl::StatusOr<StepInput> Create(const StepSizes& sizes);
  static int64_t Bytes(const StepSizes& sizes);  // on the device

  // Writes the host's copy. The last step must have ended.
  void Fill(const StepBucket& bucket, const ForwardBatch& batch, const Rope& rope);
  // Starts the copy of what Fill wrote for this bucket.
  void CopyIn(cuda::Stream& stream, const StepBucket& bucket);
  // Counters of sequence_chunk capacity, after the layers changed them; then, when the stream has
  // got there, back to the batch.
  void CopyCountersOut(cuda::Stream& stream, const StepBucket& bucket);
  void ReadCounters(const StepBucket& bucket, const ForwardBatch& batch) const;

  cuda::StepRows Rows(const StepBucket& bucket) const;
  cuda::StepSequences Sequences(const StepBucket& bucket) const;
  const int32_t* LogitRows(const StepBucket& bucket) const;
  const int32_t* Arrival(const StepBucket& bucket) const;         // null without arrivals
  int32_t* Taken(const StepBucket& bucket, int moe_index) const;  // null without counters

 private:
  void FillArrival(const ForwardBatch& batch, StepFields& to);
  void FillSequences(const StepBucket& bucket, const ForwardBatch& batch, StepFields& to) const;

  StepSizes sizes_;
  std::vector<int32_t> order_;  // of sequences
  cuda::Memory host_;
  cuda::Memory device_;
};

// Routing of all MoE layers of a step, on its way back.
class StepOutput {
 public:
  static absl::StatusOr<StepOutput> Create(const StepSizes& sizes);
  static int64_t Bytes(const StepSizes& sizes);

  // Where a layer of a step of `rows` rows writes its routing, k slots per token.
  cuda::RoutingRef Routing(int rows, int k, int moe_index) const;
  void CopyRoutingOut(cuda::Stream& stream, int rows, int k);
  // The host's copy, of the first `tokens` rows.
  folkmoot::Routing Read(int rows, int k, int moe_index, int64_t tokens) const;

 private:
  StepSizes sizes_;
  cuda::Memory device_routing_, host_routing_;
};

// What the layers of a step write and read, [rows, ...] for the largest step.
struct StepWork {
  float* residual = nullptr;  // [T, H]
  float* delta = nullptr;     // [T, H]
  cuda::MatrixRef normed;     // [T, H]
  float* wide = nullptr;      // [T, H] normed in float32, or null
  cuda::MatrixRef qkv;        // float32
  cuda::MatrixRef q;
  cuda::MatrixRef attended;
  void* attention_scratch = nullptr;
  cuda::MatrixRef gate_up;  // of a dense or shared FFN
  cuda::MatrixRef activated;
  float* router_logits = nullptr;  // [T, E]
  double* raw = nullptr;           // [T, K] scratch of gates with capacity
  int max_choices = 0;
  int32_t* choices = nullptr;
  int32_t* offsets = nullptr;
  cuda::ExpertTile* tiles = nullptr;
  int max_tiles = 0;
  int32_t* tile_count = nullptr;
  void* expert_hidden = nullptr;  // [choices, I]
  float* expert_rows = nullptr;   // [choices, H]; null with several ranks
  float* shared = nullptr;        // [T, H]
  float* shared_logit = nullptr;  // [T]
  cuda::MatrixRef wanted;         // [logit rows, H]
};
void LayOut(const StepSizes& sizes, DeviceArena& arena, StepWork* work);

}  // namespace folkmoot
