// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/text_bits.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <vector>

#include "launch/launcher.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

constexpr int64_t kWindow = 1024;
constexpr size_t kOpen = 64;  // windows read ahead

absl::Status Score(Engine& engine, std::span<const int32_t> ids, int64_t window, TextBits* bits) {
  absl::Status failed;
  size_t open = 0;
  // Sums of one window at a time, in the order in which windows end, which is that of the steps.
  const auto on_event = [&](const RequestEvent& event) {
    if (event.result != nullptr) {
      for (const float logprob : event.result->target_logprobs) {
        bits->bits -= static_cast<double>(logprob) / std::log(2.0);
        bits->tokens += 1;
      }
      if (!event.result->error.empty()) failed = DataLoss("{}", event.result->error);
    }
    if (event.finish != FinishReason::kNone) --open;
  };
  const auto step = static_cast<size_t>(window);
  for (size_t first = 0; first + 1 < ids.size(); first += step - 1) {
    const std::span<const int32_t> part = ids.subspan(first, std::min(step, ids.size() - first));
    Request request;
    request.prompt.assign(part.begin(), part.end());
    request.max_tokens = 0;
    request.prompt_logprobs = true;
    FM_RETURN_IF_ERROR(engine.Submit(std::move(request)).status());
    ++open;
    while (open >= kOpen) FM_RETURN_IF_ERROR(engine.Step(on_event));
  }
  FM_RETURN_IF_ERROR(engine.Drain(on_event));
  return failed;
}

}  // namespace

absl::StatusOr<TextBits> MeasureTextBits(const std::string& model, const std::string& text,
                                         int threads) {
  FM_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::OfModel(model));
  FM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer->Encode(text));
  if (ids.size() < 2) return InvalidArgument("the text has {} tokens; it needs two", ids.size());
  EngineOptions options;
  options.model = model;
  options.device = "cpu";
  options.threads = threads;
  TextBits bits;
  const std::string first =
      tokenizer->Decode(std::span(ids).first(1), /*skip_special_tokens=*/true);
  bits.bytes = static_cast<int64_t>(text.size()) - static_cast<int64_t>(first.size());
  FM_RETURN_IF_ERROR(RunWithEngine(options, [&](Engine& engine, LoadedRank& rank) {
    const int64_t window = std::min(kWindow, rank.scheduler_options().max_model_len);
    return Score(engine, ids, window, &bits);
  }));
  if (!std::isfinite(bits.bits) || bits.bytes < 1) {
    return DataLoss("{}: the log-probabilities of the text are not finite", model);
  }
  return bits;
}

}  // namespace folkmoot
