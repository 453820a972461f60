// SPDX-License-Identifier: Apache-2.0
// The end of a step on the device: logits of the rows that want them, tokens chosen from them, and
// the way of both to the host. Logits that nobody but the choice reads stay on the device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/forward_batch.h"
#include "layers/gpu/step_buffers.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/sampling.h"
#include "runtime/cuda/views.h"

namespace folkmoot {

class StepLogits {
 public:
  static absl::StatusOr<StepLogits> Create(const StepSizes& sizes);
  static int64_t Bytes(const StepSizes& sizes);  // on the device

  // Where the logits of `rows` rows, at most StepSizes::logit_rows(), are to be written.
  cuda::MatrixRef device(int64_t rows) const { return FirstRows(logits_, rows); }

  // Starts the choice of tokens for the rows on the device, and the copies to the host that
  // `choices` leaves to be done: one per row, or none. What was started before has been taken.
  void StartReading(cuda::Stream& stream, std::span<const TokenChoice> choices, int64_t rows);
  // Once the stream has got there: appends the tokens of those rows to `chosen`.
  void TakeChosen(std::vector<ChosenToken>* chosen) const;
  Matrix host(int64_t rows) const;

 private:
  cuda::Memory device_logits_, host_logits_;
  cuda::MatrixRef logits_;
  cuda::Memory device_rows_, host_rows_;      // cuda::SampleRow
  cuda::Memory device_tokens_, host_tokens_;  // cuda::SampledToken
  cuda::Memory scratch_;
  int64_t started_ = 0;  // rows that tokens are chosen for
};

// Are there rows whose logits the host must see?
bool WantsLogits(std::span<const TokenChoice> choices);

}  // namespace folkmoot
