// SPDX-License-Identifier: Apache-2.0
// GpuDecoder::Load: device, weights, buffers; and its cache.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "layers/gpu/gpu_decoder.h"
#include "layers/gpu/upload.h"

namespace folkmoot {
namespace {

int64_t WorkBytes(const StepSizes& sizes) {
  DeviceArena counted;
  StepWork work;
  LayOut(sizes, counted, &work);
  return counted.bytes();
}

}  // namespace

GpuDecoder::GpuDecoder(const ModelConfig& config, const ModelOptions& options)
    : config_(config),
      gpu_(options.gpu),
      gates_(config_, options.gate),
      rope_(config.rope, config.head_dim, config.max_positions) {
  sizes_.limits = options.limits;
  sizes_.rotary = rope_.rotary_dim();
  sizes_.moe_layers = static_cast<int>(std::count_if(config.layers.begin(), config.layers.end(),
                                                     [](const LayerConfig& l) { return l.moe; }));
  sizes_.arrivals = sizes_.moe_layers > 0 && options.gate.CanDrop() &&
                    options.gate.group != CapacityGroup::kSequenceChunk;
  sizes_.chunk_counters = sizes_.moe_layers > 0 && options.gate.NeedsChunkCounters();
  gemm_.policy =
      gpu_.batch_invariant ? cuda::GemmPolicy::kBatchInvariant : cuda::GemmPolicy::kFastest;
}

absl::StatusOr<std::unique_ptr<GpuDecoder>> GpuDecoder::Load(
    const ModelConfig& config, const ModelOptions& options, WeightLoader& loader,
    const ExpertPlacement& placement, Communicator& experts, ThreadPool& pool) {
  FM_CHECK(options.limits.rows > 0 && options.limits.sequences > 0 && options.limits.length > 0);
  FM_ASSIGN_OR_RETURN(const Family* const family, CheckModel(config, options.gate));
  constexpr int64_t kMostSequences = 4096;  // of the attention kernels
  if (options.limits.sequences > kMostSequences) {
    return InvalidArgument("--max-num-seqs {}: at most {} sequences are computed at once on a GPU",
                           options.limits.sequences, kMostSequences);
  }
  FM_RETURN_IF_ERROR(cuda::UseDevice(options.gpu.device));
  std::unique_ptr<GpuDecoder> model(new GpuDecoder(config, options));
  FM_ASSIGN_OR_RETURN(model->stream_, cuda::Stream::Create());
  if (!options.gpu.batch_invariant) FM_RETURN_IF_ERROR(model->LoadBlas());
  model->placement_version_ = placement.Fingerprint();
  const GpuUploadJob job = {
      .family = *family, .config = model->config_, .placement = placement, .rank = experts.rank()};
  FM_ASSIGN_OR_RETURN(model->weights_, PlanWeights(job, loader));
  if (model->sizes_.moe_layers > 0) model->weights_.dims.top_k = options.gate.top_k;
  model->sizes_.ranks = experts.size();
  model->SetSizes();
  FM_RETURN_IF_ERROR(model->CheckMemory());
  FM_RETURN_IF_ERROR(UploadWeights(job, loader, *model->stream_, pool, &model->weights_));
  FM_RETURN_IF_ERROR(model->MakeBuffers());
  if (model->sizes_.moe_layers > 0) {
    FM_ASSIGN_OR_RETURN(model->moe_,
                        GpuMoeLayers::Create(model->weights_, model->sizes_, *model->gates_.own(),
                                             placement, experts, options.gpu, *model->stream_));
  }
  return model;
}

// cuBLASLt is faster for many rows, and optional: `folkmoot doctor` says whether it was found.
absl::Status GpuDecoder::LoadBlas() {
  if (std::string_view(cuda::BackendName()) == "simulator") return absl::OkStatus();
  auto blas = cuda::BlasLibrary::Load(LibrarySearch::FromEnvironment());
  if (!blas.ok()) return absl::OkStatus();
  constexpr int64_t kWorkspace = int64_t{32} << 20;  // as NVIDIA recommends for Hopper
  FM_ASSIGN_OR_RETURN(blas_workspace_, cuda::Memory::Allocate(kWorkspace, "cuBLASLt"));
  blas_ = *std::move(blas);
  gemm_.blas = blas_.get();
  gemm_.workspace = {blas_workspace_.data(), DType::kF32, 1, kWorkspace / 4, kWorkspace / 4};
  return absl::OkStatus();
}

void GpuDecoder::SetSizes() {
  sizes_.dims = weights_.dims;
  const GpuDims& dims = sizes_.dims;
  attention_ = {.heads = dims.heads,
                .kv_heads = dims.kv_heads,
                .head_dim = dims.head_dim,
                .rotary_dim = static_cast<int>(rope_.rotary_dim()),
                .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim))),
                .policy = gpu_.wgmma_attention ? gemm_.policy : cuda::GemmPolicy::kBatchInvariant};
  sizes_.attention_scratch = cuda::AttentionScratchBytes(
      attention_, static_cast<int>(sizes_.limits.rows), static_cast<int>(sizes_.limits.length));
  sizes_.wide_inputs = sizes_.moe_layers > 0 && dims.dtype != DType::kF32;
  sizes_.tile_rows = GpuMoeLayers::SmallestTile(weights_, stream_->device(), sizes_.limits.rows);
}

// Before anything is read: the weights, the buffers of steps and the cache of one sequence.
absl::Status GpuDecoder::CheckMemory() const {
  FM_ASSIGN_OR_RETURN(const CacheRoom room, CacheMemory());
  const int64_t steps = WorkBytes(sizes_) + StepInput::Bytes(sizes_) + StepOutput::Bytes(sizes_) +
                        StepLogits::Bytes(sizes_);
  const int64_t pages = (sizes_.limits.length + sizes_.block_size - 1) / sizes_.block_size;
  const int64_t cache = pages * CacheBytesPerBlock(sizes_.block_size);
  if (weights_.bytes + steps + cache <= room.bytes) return absl::OkStatus();
  return ResourceExhausted(
      "GPU {} ({}): weights need {} MB, steps of {} tokens {} MB and the keys and values of one "
      "sequence of {} tokens {} MB, but only {} MB may be taken; try --dtype bfloat16, lower "
      "--max-num-batched-tokens or --max-model-len, raise --gpu-memory-utilization, or start more "
      "ranks",
      gpu_.device, stream_->device().name, weights_.bytes >> 20, sizes_.limits.rows, steps >> 20,
      sizes_.limits.length, cache >> 20, room.bytes >> 20);
}

absl::Status GpuDecoder::MakeBuffers() {
  const int64_t bytes = WorkBytes(sizes_);
  FM_ASSIGN_OR_RETURN(work_memory_, cuda::Memory::Allocate(bytes, "the buffers of steps"));
  DeviceArena arena(work_memory_.data());
  LayOut(sizes_, arena, &work_);
  cuda::FillZero(*stream_, work_memory_.data(), bytes);
  FM_ASSIGN_OR_RETURN(input_, StepInput::Create(sizes_));
  FM_ASSIGN_OR_RETURN(output_, StepOutput::Create(sizes_));
  FM_ASSIGN_OR_RETURN(logits_, StepLogits::Create(sizes_));
  return stream_->Synchronize();
}

int64_t GpuDecoder::CacheBytesPerBlock(int64_t block_size) const {
  return static_cast<int64_t>(config_.layers.size()) * 2 * block_size * sizes_.dims.kv_heads *
         sizes_.dims.head_dim * DTypeBytes(sizes_.dims.dtype);
}

absl::StatusOr<CacheRoom> GpuDecoder::CacheMemory() const {
  FM_ASSIGN_OR_RETURN(const cuda::DeviceInfo device, cuda::DescribeDevice(gpu_.device));
  const auto allowed =
      static_cast<int64_t>(gpu_.memory_utilization * static_cast<double>(device.total_bytes));
  const int64_t used = device.total_bytes - device.free_bytes;
  return CacheRoom{std::max<int64_t>(0, allowed - used), false};
}

absl::Status GpuDecoder::MakeCache(const CachePages& pages) {
  graphs_.clear();
  kv_.clear();
  cache_ = {};
  const int64_t bytes = pages.blocks * CacheBytesPerBlock(pages.block_size);
  FM_ASSIGN_OR_RETURN(cache_, cuda::Memory::Allocate(bytes, "keys and values (--kv-cache-blocks)"));
  cuda::FillZero(*stream_, cache_.data(), bytes);
  const auto half = bytes / static_cast<int64_t>(config_.layers.size()) / 2;
  for (size_t i = 0; i < config_.layers.size(); ++i) {
    std::byte* const base = cache_.As<std::byte>() + static_cast<int64_t>(2 * i) * half;
    kv_.push_back({.keys = base,
                   .values = base + half,
                   .dtype = sizes_.dims.dtype,
                   .kv_heads = sizes_.dims.kv_heads,
                   .head_dim = sizes_.dims.head_dim,
                   .block_size = static_cast<int>(pages.block_size)});
  }
  sizes_.block_size = pages.block_size;
  pages_ = pages;
  return stream_->Synchronize();
}

}  // namespace folkmoot
