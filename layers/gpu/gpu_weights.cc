// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/gpu_weights.h"

namespace folkmoot {
namespace {

constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

GpuFfn LayOutFfn(const GpuDims& dims, int64_t intermediate, bool bias, DeviceArena& arena) {
  GpuFfn ffn;
  ffn.intermediate = intermediate;
  ffn.gate_up = arena.Matrix(dims.dtype, 2 * intermediate, dims.hidden);
  ffn.down = arena.Matrix(dims.dtype, dims.hidden, intermediate);
  if (bias) {
    ffn.gate_up_bias = arena.Take<float>(2 * intermediate);
    ffn.down_bias = arena.Take<float>(dims.hidden);
  }
  return ffn;
}

GpuMoe LayOutMoe(const ModelConfig& config, const GpuDims& dims, const GpuMoeTraits& traits,
                 DeviceArena& arena) {
  GpuMoe moe;
  moe.router =
      arena.Matrix(traits.float_router ? DType::kF32 : dims.dtype, config.moe.experts, dims.hidden);
  const int64_t gate_up_rows = int64_t{2} * dims.local_experts * dims.moe_intermediate;
  const int64_t down_rows = dims.local_experts * dims.hidden;
  const int64_t bytes = traits.coded_experts ? 1 : DTypeBytes(dims.dtype);
  moe.experts.gate_up = arena.Take<std::byte>(gate_up_rows * dims.hidden * bytes);
  moe.experts.down = arena.Take<std::byte>(down_rows * dims.moe_intermediate * bytes);
  moe.experts.codes = traits.coded_experts;
  if (traits.coded_experts) {
    moe.experts.gate_up_scale = arena.Take<float>(gate_up_rows * cuda::CodeGroups(dims.hidden));
    moe.experts.down_scale = arena.Take<float>(down_rows * cuda::CodeGroups(dims.moe_intermediate));
  }
  moe.experts.dtype = dims.dtype;
  moe.experts.hidden = dims.hidden;
  moe.experts.intermediate = dims.moe_intermediate;
  moe.experts.activation = static_cast<int>(config.activation);
  if (config.moe.shared_intermediate > 0) {
    moe.shared = LayOutFfn(dims, dims.shared_intermediate, false, arena);
    moe.shared_gate = arena.Matrix(dims.dtype, 1, dims.hidden);
  }
  return moe;
}

GpuLayer LayOutLayer(const ModelConfig& config, const GpuDims& dims, size_t index,
                     const GpuMoeTraits& traits, DeviceArena& arena) {
  GpuLayer layer;
  layer.input_norm = arena.Take<float>(dims.hidden);
  layer.ffn_norm = arena.Take<float>(dims.hidden);
  layer.qkv = arena.Matrix(dims.dtype, dims.qkv_width(), dims.hidden);
  if (config.qkv_bias) layer.qkv_bias = arena.Take<float>(dims.qkv_width());
  layer.o = arena.Matrix(dims.dtype, dims.hidden, dims.q_width());
  if (config.output_bias) layer.o_bias = arena.Take<float>(dims.hidden);
  if (config.qk_norm == QkNormKind::kHeads) {
    layer.q_norm = arena.Take<float>(dims.head_dim);
    layer.k_norm = arena.Take<float>(dims.head_dim);
  }
  if (config.layers[index].moe) {
    layer.moe = LayOutMoe(config, dims, traits, arena);
  } else {
    layer.dense = LayOutFfn(dims, dims.intermediate, config.mlp_bias, arena);
  }
  return layer;
}

}  // namespace

absl::StatusOr<GpuDims> GpuDimsOf(const ModelConfig& config, DType dtype, int local_experts) {
  constexpr int64_t kLargestHead = 256;
  if (config.head_dim > kLargestHead) {
    return absl::UnimplementedError(
        fmt::format("--device cuda: head_dim {} is larger than {}; use --device cpu",
                    config.head_dim, kLargestHead));
  }
  if (config.hidden % 8 != 0) {
    return absl::UnimplementedError(fmt::format(
        "--device cuda: hidden_size {} is not a multiple of 8; use --device cpu", config.hidden));
  }
  constexpr int64_t kMostExperts = 512;  // a request may ask for all of them
  if (config.moe.experts > kMostExperts) {
    return absl::UnimplementedError(
        fmt::format("--device cuda: {} experts are more than {}; use --device cpu",
                    config.moe.experts, kMostExperts));
  }
  GpuDims dims;
  dims.dtype = dtype;
  dims.hidden = config.hidden;
  dims.vocab = config.vocab;
  dims.heads = static_cast<int>(config.heads);
  dims.kv_heads = static_cast<int>(config.kv_heads);
  dims.head_dim = static_cast<int>(RoundUp(config.head_dim, 16));
  dims.intermediate = RoundUp(config.intermediate, 8);
  dims.moe_intermediate = RoundUp(config.moe.intermediate, 8);
  dims.shared_intermediate = RoundUp(config.moe.shared_intermediate, 8);
  dims.experts = static_cast<int>(config.moe.experts);
  dims.top_k = static_cast<int>(config.moe.top_k);
  dims.local_experts = local_experts;
  return dims;
}

void LayOut(const ModelConfig& config, const GpuWeightTraits& traits, DeviceArena& arena,
            GpuWeights* weights) {
  const GpuDims& dims = weights->dims;
  weights->embedding = arena.Matrix(dims.dtype, dims.vocab, dims.hidden);
  weights->head = config.tied_embeddings ? weights->embedding
                                         : arena.Matrix(dims.dtype, dims.vocab, dims.hidden);
  weights->final_norm = arena.Take<float>(dims.hidden);
  weights->layers.clear();
  for (size_t i = 0; i < config.layers.size(); ++i) {
    weights->layers.push_back(LayOutLayer(config, dims, i, traits.moe[i], arena));
  }
}

}  // namespace folkmoot
