// SPDX-License-Identifier: Apache-2.0
// Reads a decoder's weights and puts them on the device in the kernels' layout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/gpu/gpu_weights.h"
#include "layers/models/family.h"
#include "layers/weight_loader.h"
#include "parallel/expert_placement.h"
#include "runtime/cuda/device.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// Copies rows to the device through one pinned buffer, converting them on the way.
class WeightUploader {
 public:
  static absl::StatusOr<std::unique_ptr<WeightUploader>> Create(cuda::Stream& stream,
                                                                ThreadPool& pool);

  // A row of a stored matrix; no view: zeros.
  struct Source {
    const WeightView* view = nullptr;
    int64_t row = 0;
  };
  // Source columns come in pieces of `from` elements, each of which begins at a multiple of `to`;
  // what is between is zero. {0, 0}: one piece.
  struct Pieces {
    int64_t from = 0;
    int64_t to = 0;
  };
  // Fills all rows of `to` with source(0), source(1), ...
  absl::Status Matrix(const cuda::MatrixRef& to, Pieces pieces,
                      const std::function<Source(int64_t row)>& source);
  absl::Status Vector(float* to, const std::vector<float>& values);

  // Waits until everything has arrived.
  absl::Status Finish();

 private:
  WeightUploader(cuda::Stream& stream, ThreadPool& pool) : stream_(stream), pool_(pool) {}
  // Room for `bytes` in the pinned buffer; waits when it is full.
  absl::StatusOr<std::byte*> Room(int64_t bytes);

  cuda::Stream& stream_;
  ThreadPool& pool_;
  cuda::Memory staging_;
  int64_t used_ = 0;
};

// What a rank needs to know for its part.
struct GpuUploadJob {
  const Family& family;
  const ModelConfig& config;
  const ExpertPlacement& placement;
  int rank = 0;
};

// The shapes of all parts, without memory: GpuWeights::bytes says how much they need.
absl::StatusOr<GpuWeights> PlanWeights(const GpuUploadJob& job, const WeightLoader& loader);

// Gives the planned weights memory and fills it.
absl::Status UploadWeights(const GpuUploadJob& job, WeightLoader& loader, cuda::Stream& stream,
                           ThreadPool& pool, GpuWeights* weights);

}  // namespace folkmoot
