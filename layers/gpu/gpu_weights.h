// SPDX-License-Identifier: Apache-2.0
// Where the weights of a decoder lie on the device. Matrices have one type, the compute type, but
// experts may be codes; vectors are float32. The kernels ask for head sizes that are multiples of
// 16 and widths that are multiples of 8: what a model has less is filled with zeros, which change
// no result.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "layers/gpu/device_arena.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/expert_ffn.h"
#include "runtime/cuda/views.h"
#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

// Sizes on the device.
struct GpuDims {
  DType dtype = DType::kBF16;  // of products: weights, their inputs, keys and values
  int64_t hidden = 0;
  int64_t vocab = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;              // padded
  int64_t intermediate = 0;      // of dense layers, padded
  int64_t moe_intermediate = 0;  // padded
  int64_t shared_intermediate = 0;
  int experts = 0;
  int top_k = 0;
  int local_experts = 0;

  int64_t q_width() const { return int64_t{heads} * head_dim; }
  int64_t qkv_width() const { return int64_t{heads + 2 * kv_heads} * head_dim; }
};

// Unimplemented, with the name in config.json, for shapes that the kernels do not take.
absl::StatusOr<GpuDims> GpuDimsOf(const ModelConfig& config, DType dtype, int local_experts);

// down(act(gate x) * up x). Null biases: none.
struct GpuFfn {
  cuda::MatrixRef gate_up;  // [2I, H]: all rows of gate, then all of up
  float* gate_up_bias = nullptr;
  cuda::MatrixRef down;  // [H, I]
  float* down_bias = nullptr;
  int64_t intermediate = 0;
};

struct GpuMoe {
  cuda::MatrixRef router;  // [E, H], float32 where it is stored so
  cuda::ExpertWeights experts;
  std::optional<GpuFfn> shared;
  cuda::MatrixRef shared_gate;  // [1, H]; no data: none
};

struct GpuLayer {
  float* input_norm = nullptr;  // [H]
  float* ffn_norm = nullptr;    // [H]
  cuda::MatrixRef qkv;          // [(heads + 2 kv_heads) * head_dim, H]
  float* qkv_bias = nullptr;
  cuda::MatrixRef o;  // [H, heads * head_dim]
  float* o_bias = nullptr;
  float* q_norm = nullptr;  // [head_dim] or null
  float* k_norm = nullptr;
  std::optional<GpuFfn> dense;  // exactly one of dense and moe
  std::optional<GpuMoe> moe;
};

struct GpuWeights {
  GpuDims dims;
  cuda::MatrixRef embedding;  // [V, H]
  cuda::MatrixRef head;       // [V, H]; the embedding when they are tied
  float* final_norm = nullptr;
  std::vector<GpuLayer> layers;
  int64_t bytes = 0;
  cuda::Memory memory;  // holds all of them
};

// What a checkpoint has that config.json does not tell.
struct GpuMoeTraits {
  bool float_router = false;   // stored in float32
  bool coded_experts = false;  // as codes that the device runs (runtime/cuda/expert_ffn.h)
};
struct GpuWeightTraits {
  std::vector<GpuMoeTraits> moe;  // [layers]
};

// Places all parts in `arena`.
void LayOut(const ModelConfig& config, const GpuWeightTraits& traits, DeviceArena& arena,
            GpuWeights* weights);

}  // namespace folkmoot
