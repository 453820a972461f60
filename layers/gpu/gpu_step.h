// SPDX-License-Identifier: Apache-2.0
// What the parts of a GPU decoder share while they start one step's work.
#pragma once

#include "layers/forward_batch.h"
#include "layers/gpu/gpu_weights.h"
#include "layers/gpu/step_buffers.h"
#include "layers/layer_context.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/gemm.h"

namespace folkmoot {

struct GpuStep {
  cuda::Stream& stream;
  const cuda::GemmContext& gemm;
  const ModelConfig& config;
  const GpuDims& dims;
  const StepWork& work;
  StepInput& input;
  StepOutput& output;
  StepBucket bucket;
  cuda::StepRows rows;
  cuda::StepSequences sequences;
  StepLimits limits;
  bool on_device = true;     // routing
  bool fixed_sizes = false;  // of what ranks exchange: all have bucket.rows rows
  // Null while a graph is recorded, which knows buckets but no batch.
  LayerContext* context = nullptr;
  const ForwardBatch* batch = nullptr;
};

// out [rows, H] = down(act(gate x) * up x). `out` is float32.
void StartFfn(const GpuStep& step, const GpuFfn& ffn, const cuda::MatrixRef& x, float* out);

}  // namespace folkmoot
