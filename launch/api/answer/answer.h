// SPDX-License-Identifier: Apache-2.0
// How the result of a request is written: one format per endpoint, as one JSON body or as a stream
// of server-sent events.
#pragma once

#include <memory>
#include <string>

#include "launch/api/answer/generation_state.h"
#include "nlohmann/json_fwd.hpp"

namespace folkmoot {

// What one choice gained in one step.
struct ChoiceDelta {
  std::string text;
  size_t first_token = 0;  // of ChoiceState::tokens: these are new
  bool first = false;      // nothing of this choice was sent before
};

class Answer {
 public:
  virtual ~Answer() = default;

  // The body of an answer in one piece; every choice is finished.
  virtual std::string Body(const GenerationState& state) = 0;

  // Events for what a choice gained; the last one of a choice has its finish reason.
  virtual std::string Delta(const GenerationState& state, const ChoiceState& choice,
                            const ChoiceDelta& delta) = 0;
  // The events after the last choice has finished.
  virtual std::string End(const GenerationState& state) = 0;
};

std::unique_ptr<Answer> MakeCompletionAnswer();
std::unique_ptr<Answer> MakeChatAnswer();
std::unique_ptr<Answer> MakeGenerateAnswer();
std::unique_ptr<Answer> MakeEmbeddingAnswer();
std::unique_ptr<Answer> MakeScoreAnswer();
std::unique_ptr<Answer> MakeRerankAnswer();

// "data: ...\n\n"
std::string SseEvent(std::string_view json);
inline constexpr char kSseDone[] = "data: [DONE]\n\n";
inline constexpr char kSsePing[] = ": ping\n\n";  // a comment

// Parts that several formats share.

// "stop", "length", "abort"; null while it runs.
nlohmann::ordered_json FinishReasonJson(const ChoiceState& choice);
// The stop string or the stop token that the request named, else null.
nlohmann::ordered_json StopReasonJson(const ChoiceState& choice);
// Whether answers tell what the gate lost: it can, as started or as the request changed it.
bool TellsDrops(const GenerationState& state);
nlohmann::ordered_json UsageJson(const GenerationState& state, const Usage& usage);
// vLLM's list: null, then {"<id>": {logprob, rank, decoded_token}} for each prompt token.
nlohmann::ordered_json PromptLogprobsJson(const GenerationState& state, size_t prompt);
// JSON has no infinities: at least -9999 (vLLM's value), and the float's exact value else.
double SafeLogprob(float logprob);

}  // namespace folkmoot
