// SPDX-License-Identifier: Apache-2.0
// Everything that one rank holds while an engine runs: config, weights, KV cache, threads, runner.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "launch/agreement.h"
#include "launch/engine_options.h"
#include "launch/model_rules.h"
#include "launch/model_runner.h"
#include "launch/thread_budget.h"
#include "launch/weight_source.h"
#include "layers/models/model.h"
#include "parallel/communicator.h"
#include "parallel/expert_placement.h"
#include "runtime/cuda/device.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

// Called on the loading thread: bytes of weights read so far, of all that this rank will read.
using LoadProgress = std::function<void(int64_t bytes, int64_t total)>;

class LoadedRank {
 public:
  // Collective over `world`, which must outlive the result. First every rank opens the model
  // without reading weights and they compare notes: build, files, flags. A rank that fails or
  // differs is named, and all return the same error, before anything is loaded. Then each reads its
  // part.
  // With the pages that each of the others has, the rank joins ranks that have loaded:
  // nothing is collective, and whoever calls it compares fields() with theirs.
  static absl::StatusOr<std::unique_ptr<LoadedRank>> Load(const EngineOptions& options,
                                                          Communicator& world, ThreadBudget budget,
                                                          const LoadProgress& progress,
                                                          const CachePages& others = {});

  const ModelConfig& config() const { return config_; }
  const GateConfig& gate() const { return model_->gate_config(); }
  // Of the experts. Tensor-parallel ranks count as one here, which has them all.
  const ExpertPlacement& placement() const { return placement_; }
  int ranks() const { return ranks_; }
  // Every rank has a part of every matrix and computes the same sequences.
  bool tensor_parallel() const { return tensor_parallel_; }
  const SchedulerOptions& scheduler_options() const { return scheduler_options_; }
  // The large model's alone.
  int64_t cache_bytes_per_token() const {
    const int64_t block = model_->cache_pages().block_size;
    return model_->CacheBytesPerBlock(block) / block;
  }
  CachePages pages() const { return model_->cache_pages(); }
  int64_t state_bytes_per_sequence() const { return model_->CacheBytesPerSlot(); }
  int64_t epoch() const { return epoch_; }
  // What all ranks have agreed on, but for the device.
  const AgreementFields& fields() const { return fields_; }
  // What the model is computed on; nullopt: the CPU.
  const std::optional<cuda::DeviceInfo>& gpu() const { return gpu_; }
  // nullopt: plain weights, dummy ones, or a packed model.
  const std::optional<StoredCodes>& stored_codes() const { return stored_codes_; }
  double load_seconds() const { return load_seconds_; }
  int64_t bytes_read() const { return bytes_read_; }
  ThreadPool& pool() { return *pool_; }
  ModelRunner& runner() { return *runner_; }
  const ModelRules& rules() const { return *rules_; }

 private:
  explicit LoadedRank(ExpertPlacement placement) : placement_(std::move(placement)) {}
  // Both agree with `peers`.
  absl::Status LoadWeights(const EngineOptions& options, ModelOptions model, Communicator& world,
                           Communicator& peers, const LoadProgress& progress);
  absl::Status LoadDraft(const EngineOptions& options, int64_t context, Communicator& peers);

  // Destroyed from the bottom up.
  ModelConfig config_;
  ExpertPlacement placement_;
  SchedulerOptions scheduler_options_;
  AgreementFields fields_;
  std::optional<cuda::DeviceInfo> gpu_;
  std::optional<StoredCodes> stored_codes_;
  int64_t epoch_ = 0;
  int ranks_ = 1;
  bool tensor_parallel_ = false;
  double load_seconds_ = 0;
  int64_t bytes_read_ = 0;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Communicator> alone_;  // the expert group of a tensor-parallel rank, among others
  std::optional<WeightSource> weights_;  // the model reads embeddings in place
  std::unique_ptr<WeightLoader> loader_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<DraftModel> draft_;  // null: none
  std::unique_ptr<ModelRunner> runner_;
  std::unique_ptr<ModelRules> rules_;
};

}  // namespace folkmoot
