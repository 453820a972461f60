// SPDX-License-Identifier: Apache-2.0
// The decoder stack on a GPU: the same families, gates and results as DecoderModel, with weights,
// keys and values in device memory. A step is started as one queue of work: one copy in, kernels,
// one copy out, one wait at its end. Steps of single tokens (decode) are recorded once per bucket
// and replayed.
//
// The residual stream is float32. Products take the compute type, which is the type of the weights,
// and add up in float32. Differences to DecoderModel: with 16-bit weights the inputs of products,
// keys and values are rounded to 16 bits.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/gpu/gpu_moe.h"
#include "layers/gpu/gpu_step.h"
#include "layers/gpu/gpu_weights.h"
#include "layers/gpu/step_buffers.h"
#include "layers/gpu/step_logits.h"
#include "layers/models/family.h"
#include "layers/models/model.h"
#include "layers/models/model_gates.h"
#include "runtime/cuda/attention.h"
#include "runtime/cuda/blas.h"
#include "runtime/cuda/gemm.h"
#include "runtime/rope.h"

namespace folkmoot {

class GpuDecoder : public Model {
 public:
  // See LoadModel. The calling thread is the one that uses the model.
  static absl::StatusOr<std::unique_ptr<GpuDecoder>> Load(const ModelConfig& config,
                                                          const ModelOptions& options,
                                                          WeightLoader& loader,
                                                          const ExpertPlacement& placement,
                                                          Communicator& experts, ThreadPool& pool);

  const ModelConfig& config() const override { return config_; }
  const GateConfig& gate_config() const override { return gates_.base(); }
  int64_t moe_layers() const override { return sizes_.moe_layers; }
  uint64_t placement_version() const override { return placement_version_; }
  absl::StatusOr<std::shared_ptr<const Gate>> GateFor(const std::string& overrides) override {
    return gates_.For(overrides);
  }
  int64_t CacheBytesPerBlock(int64_t block_size) const override;
  absl::StatusOr<CacheRoom> CacheMemory() const override;
  absl::Status MakeCache(const CachePages& pages) override;
  CachePages cache_pages() const override { return pages_; }
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, const ForwardBatch& batch) override;
  bool ChoosesTokens() const override { return config_.vocab <= cuda::kMaxSampledVocab; }
  std::span<const ChosenToken> chosen() const override { return chosen_; }

  // For benchmarks and tests.
  const cuda::Stream& stream() const { return *stream_; }
  // Kernels of the largest recorded decode step, divided by the number of layers; 0: none yet.
  double kernels_per_layer() const;
  int64_t recorded_steps() const { return recorded_steps_; }  // replayed so far
  int64_t recorded_graphs() const;

 private:
  GpuDecoder(const ModelConfig& config, const ModelOptions& options);
  absl::Status LoadBlas();
  void SetSizes();
  absl::Status CheckMemory() const;
  absl::Status MakeBuffers();
  StepBucket ExactBucket(const ForwardBatch& batch) const;
  StepBucket DecodeBucket(const ForwardBatch& batch) const;
  bool IsDecode(const ForwardBatch& batch) const;
  GpuStep MakeStep(const StepBucket& bucket, LayerContext* ctx, const ForwardBatch* batch);
  // Everything between the copy in and the wait.
  absl::Status Start(const GpuStep& step);
  absl::Status Wait(const GpuStep& step);
  void StartAttention(const GpuStep& step, const GpuLayer& layer, size_t index);
  void StartLogits(const GpuStep& step, int first, int count);
  absl::Status Replay(const GpuStep& step);
  absl::Status WatchLayer(const GpuStep& step, size_t index);
  void ReportRouting(LayerContext& ctx, const StepBucket& bucket, const ForwardBatch& batch);
  void StartReading(const GpuStep& step, int64_t first, int64_t count);
  absl::StatusOr<Matrix> TakeLogits(const GpuStep& step);

  ModelConfig config_;
  GpuOptions gpu_;
  ModelGates gates_;
  Rope rope_;
  uint64_t placement_version_ = 0;
  std::unique_ptr<cuda::Stream> stream_;
  GpuWeights weights_;
  StepSizes sizes_;
  cuda::AttentionShape attention_;
  std::unique_ptr<cuda::BlasLibrary> blas_;  // null: own products only
  cuda::Memory blas_workspace_;
  cuda::GemmContext gemm_;
  cuda::Memory work_memory_;
  StepWork work_;
  StepInput input_;
  StepOutput output_;
  StepLogits logits_;
  std::vector<ChosenToken> chosen_;    // of the last step
  std::unique_ptr<GpuMoeLayers> moe_;  // null: dense
  CachePages pages_;
  cuda::Memory cache_;
  std::vector<cuda::KvLayer> kv_;
  std::map<StepBucket, std::unique_ptr<cuda::Graph>> graphs_;  // null: started once so far
  int64_t recorded_steps_ = 0;
};

}  // namespace folkmoot
