// SPDX-License-Identifier: Apache-2.0
// One request on its way: engine events in, text out to one client.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "launch/api/answer/answer.h"
#include "launch/api/answer/generation_state.h"
#include "launch/engine_service.h"
#include "launch/http/http.h"

namespace folkmoot {

// On the I/O thread. A stream begins with the first token or the first ping, so that what goes
// wrong soon still has an HTTP status of its own.
class Generation {
 public:
  // `model` must outlive it.
  Generation(ApiRequest request, const ServedModel& model, std::unique_ptr<Answer> answer,
             std::shared_ptr<HttpExchange> exchange);

  const ApiRequest& request() const { return state_.request; }

  // Takes an event of prompt `prompt`. When it completes a stop string, event->finish becomes
  // kStop. False: that choice was over already, and the event means nothing.
  bool OnEvent(size_t prompt, OutputEvent* event);

  bool PromptDone(size_t prompt) const;  // each of its choices is finished
  bool done() const { return done_; }    // answered

  // Keeps a stream alive: when nothing was sent for `interval`, sends a comment, which readers of
  // server-sent events pass over and proxies do not. The stream begins with it if need be. Returns
  // when to call again.
  std::chrono::milliseconds Ping(std::chrono::milliseconds interval);

  // Answers with an error: a status, or the last event of a stream. Ignored when done.
  void Fail(const absl::Status& status);
  // The client has gone: nothing is written any more.
  void Abandon() { done_ = true; }

 private:
  std::string AddToken(const OutputEvent& event, ChoiceState* choice);
  void AddScores(size_t prompt, const SequenceResult& result);
  void Send(size_t choice, const ChoiceDelta& delta);
  void WriteToStream(std::string data);
  void FinishWhenComplete();

  GenerationState state_;
  std::unique_ptr<Answer> answer_;
  std::shared_ptr<HttpExchange> exchange_;
  std::vector<bool> sent_;  // by choice: something of it was streamed
  bool streaming_ = false;
  bool done_ = false;
  size_t open_ = 0;  // choices that are not finished
  SteadyTime arrival_;
  SteadyTime last_write_;
};

}  // namespace folkmoot
