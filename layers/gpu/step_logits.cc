// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/step_logits.h"

#include <algorithm>

namespace folkmoot {
namespace {

template <typename T>
int64_t BytesOf(int64_t count) {
  return count * static_cast<int64_t>(sizeof(T));
}

int64_t LogitBytes(const StepSizes& sizes) {
  DeviceArena counted;
  counted.Matrix(DType::kF32, sizes.logit_rows(), sizes.dims.vocab);
  return counted.bytes();
}

int64_t ScratchBytes(const StepSizes& sizes) {
  return cuda::SampleScratchBytes(sizes.dims.vocab, static_cast<int>(sizes.logit_rows()));
}

}  // namespace

bool WantsLogits(std::span<const TokenChoice> choices) {
  return choices.empty() ||
         std::any_of(choices.begin(), choices.end(), [](const auto& c) { return !c.wanted; });
}

int64_t StepLogits::Bytes(const StepSizes& sizes) {
  const int64_t rows = sizes.logit_rows();
  return LogitBytes(sizes) + ScratchBytes(sizes) + BytesOf<cuda::SampleRow>(rows) +
         BytesOf<cuda::SampledToken>(rows);
}

absl::StatusOr<StepLogits> StepLogits::Create(const StepSizes& sizes) {
  constexpr auto kPinned = cuda::MemoryKind::kPinnedHost;
  StepLogits made;
  const int64_t logits = LogitBytes(sizes);
  const int64_t rows = BytesOf<cuda::SampleRow>(sizes.logit_rows());
  const int64_t tokens = BytesOf<cuda::SampledToken>(sizes.logit_rows());
  FM_ASSIGN_OR_RETURN(made.device_logits_, cuda::Memory::Allocate(logits, "logits"));
  FM_ASSIGN_OR_RETURN(made.host_logits_, cuda::Memory::Allocate(logits, "logits", kPinned));
  FM_ASSIGN_OR_RETURN(made.device_rows_, cuda::Memory::Allocate(rows, "choices of tokens"));
  FM_ASSIGN_OR_RETURN(made.host_rows_, cuda::Memory::Allocate(rows, "choices of tokens", kPinned));
  FM_ASSIGN_OR_RETURN(made.device_tokens_, cuda::Memory::Allocate(tokens, "chosen tokens"));
  FM_ASSIGN_OR_RETURN(made.host_tokens_, cuda::Memory::Allocate(tokens, "chosen tokens", kPinned));
  FM_ASSIGN_OR_RETURN(made.scratch_,
                      cuda::Memory::Allocate(ScratchBytes(sizes), "the choice of tokens"));
  DeviceArena placed(made.device_logits_.data());
  made.logits_ = placed.Matrix(DType::kF32, sizes.logit_rows(), sizes.dims.vocab);
  return made;
}

void StepLogits::StartReading(cuda::Stream& stream, std::span<const TokenChoice> choices,
                              int64_t rows) {
  started_ = choices.empty() ? 0 : rows;
  if (rows == 0) return;
  if (WantsLogits(choices)) {
    cuda::CopyToHost(stream, host_logits_.data(), device_logits_.data(),
                     BytesOf<float>(rows * logits_.stride));
  }
  if (choices.empty()) return;
  std::transform(choices.begin(), choices.end(), host_rows_.As<cuda::SampleRow>(),
                 [](const TokenChoice& choice) { return choice.how; });
  cuda::CopyToDevice(stream, device_rows_.data(), host_rows_.data(),
                     BytesOf<cuda::SampleRow>(rows));
  cuda::SampleRows(stream, device(rows), device_rows_.As<cuda::SampleRow>(), static_cast<int>(rows),
                   scratch_.data(), device_tokens_.As<cuda::SampledToken>());
  cuda::CopyToHost(stream, host_tokens_.data(), device_tokens_.data(),
                   BytesOf<cuda::SampledToken>(rows));
}

void StepLogits::TakeChosen(std::vector<ChosenToken>* chosen) const {
  const std::span<const cuda::SampledToken> tokens(host_tokens_.As<cuda::SampledToken>(),
                                                   static_cast<size_t>(started_));
  for (const cuda::SampledToken& token : tokens) {
    chosen->push_back({.token = token.finite != 0 ? token.token : -1, .logprob = token.logprob});
  }
}

Matrix StepLogits::host(int64_t rows) const {
  return {host_logits_.As<float>(), rows, logits_.cols, logits_.stride};
}

}  // namespace folkmoot
