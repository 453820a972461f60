// SPDX-License-Identifier: Apache-2.0
// Copies weights to the device in the kernels' layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"
#include "runtime/ops/gemm.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// Can the device run products on codes of this spec, with so many columns?
bool RunsOnDevice(const CodeSpec& spec, int64_t k);

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
  // E4M3 codes as cuda::ExpertWeights has them: rows of one matrix, or of a gate and an up matrix
  // by cuda::GateUpRow. `where` names them in errors: NaN among the codes is refused.
  absl::Status Codes(std::span<const CodeMatrix* const> parts, std::string_view where, void* to,
                     float* scales);
  absl::Status Vector(float* to, const std::vector<float>& values);

  // Waits until everything has arrived.
  absl::Status Finish();

 private:
  WeightUploader(cuda::Stream& stream, ThreadPool& pool) : stream_(stream), pool_(pool) {}
  // Rows of `row_bytes` to `to`, written by fill(row, where).
  absl::Status Rows(void* to, int64_t rows, int64_t row_bytes,
                    const std::function<void(int64_t row, std::byte* out)>& fill);
  // Room for `bytes` in the pinned buffer; waits when it is full.
  absl::StatusOr<std::byte*> Room(int64_t bytes);

  cuda::Stream& stream_;
  ThreadPool& pool_;
  cuda::Memory staging_;
  int64_t used_ = 0;
};

}  // namespace folkmoot
