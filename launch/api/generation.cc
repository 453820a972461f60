// SPDX-License-Identifier: Apache-2.0
#include "launch/api/generation.h"

#include <algorithm>

#include "launch/api/common/json_body.h"

namespace folkmoot {
namespace {

template <typename T>
void Append(const std::vector<T>& from, std::vector<T>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

Generation::Generation(ApiRequest request, const ServedModel& model, std::unique_ptr<Answer> answer,
                       std::shared_ptr<HttpExchange> exchange)
    : answer_(std::move(answer)),
      exchange_(std::move(exchange)),
      arrival_(std::chrono::steady_clock::now()),
      last_write_(arrival_) {
  state_.request = std::move(request);
  state_.model = &model;
  state_.prompts.resize(state_.request.prompts.size());
  const auto n = static_cast<size_t>(state_.request.request.n);
  open_ = n * state_.prompts.size();
  state_.choices.reserve(open_);
  for (size_t c = 0; c < open_; ++c) {
    state_.choices.emplace_back(c / n, static_cast<int32_t>(c), model.tokenizer(),
                                state_.request.text);
  }
  sent_.resize(open_);
}

bool Generation::OnEvent(size_t prompt, OutputEvent* event) {
  const auto n = static_cast<size_t>(state_.request.request.n);
  const auto own = static_cast<size_t>(event->choice);
  const size_t index = prompt * n + own;
  if (done_ || own >= n || state_.choices[index].finish != FinishReason::kNone) return false;
  ChoiceState& choice = state_.choices[index];
  if (own == 0) AddScores(prompt, event->result);
  PromptState& shared = state_.prompts[prompt];
  shared.cached_tokens = std::max(shared.cached_tokens, event->cached_tokens);
  if (!event->result.drops.empty()) choice.drops = event->result.drops;
  choice.drafted += event->drafted;
  choice.accepted += event->accepted ? 1 : 0;

  ChoiceDelta delta{.text = "", .first_token = choice.tokens.size(), .first = !sent_[index]};
  choice.finish = event->finish;
  const bool has_token = event->result.token >= 0;
  if (has_token) {
    delta.text = AddToken(*event, &choice);
  } else if (choice.finish != FinishReason::kNone) {
    delta.text = choice.output.Finish();
  }
  if (choice.output.stopped_by() != nullptr && choice.finish != FinishReason::kError) {
    choice.finish = event->finish = FinishReason::kStop;
    choice.stop_string = choice.output.stopped_by();
    choice.stop_token = -1;
  }
  choice.text += delta.text;
  const bool finished = choice.finish != FinishReason::kNone;
  if (finished) --open_;
  if (choice.finish == FinishReason::kError || choice.finish == FinishReason::kAborted) {
    return true;  // the caller knows what to say
  }
  if (state_.request.stream && (has_token || finished)) Send(index, delta);
  FinishWhenComplete();
  return true;
}

void Generation::AddScores(size_t prompt, const SequenceResult& result) {
  PromptScores& scores = state_.prompts[prompt].scores;
  Append(result.target_logprobs, &scores.logprobs);
  Append(result.target_ranks, &scores.ranks);
  Append(result.top_logprobs, &scores.top);
  if (!result.embedding.empty()) state_.prompts[prompt].embedding = result.embedding;
}

// The text that became final. The token that ends an output is shown only when asked for.
std::string Generation::AddToken(const OutputEvent& event, ChoiceState* choice) {
  const SequenceResult& result = event.result;
  choice->tokens.push_back({.id = result.token,
                            .logprob = result.token_logprob,
                            .top = result.token_top,
                            .text_offset = choice->output.characters()});
  // One value for one token: the list holds the chosen token's own bits.
  for (TokenLogprob& top : choice->tokens.back().top) {
    if (top.token == result.token) top.logprob = result.token_logprob;
  }
  const bool ended = event.finish == FinishReason::kStop;
  if (ended && !Contains(state_.model->options().eos_ids, result.token)) {
    choice->stop_token = result.token;
  }
  std::string text;
  if (!ended || state_.request.text.include_stop) text = choice->output.Push(result.token);
  if (event.finish != FinishReason::kNone) text += choice->output.Finish();
  return text;
}

void Generation::WriteToStream(std::string data) {
  if (!streaming_) {
    streaming_ = true;
    exchange_->BeginStream("text/event-stream");
  }
  last_write_ = std::chrono::steady_clock::now();
  exchange_->Write(std::move(data));
}

std::chrono::milliseconds Generation::Ping(std::chrono::milliseconds interval) {
  using std::chrono::milliseconds;
  const auto quiet =
      std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - last_write_);
  if (quiet < interval) return interval - quiet;
  const bool unread = streaming_ && exchange_->unsent() > 0;
  if (!done_ && !unread) WriteToStream(kSsePing);
  return interval;
}

void Generation::Send(size_t choice, const ChoiceDelta& delta) {
  sent_[choice] = true;
  state_.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - arrival_).count();
  WriteToStream(answer_->Delta(state_, state_.choices[choice], delta));
}

void Generation::FinishWhenComplete() {
  if (open_ > 0) return;
  done_ = true;
  state_.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - arrival_).count();
  if (state_.request.stream) {
    exchange_->Write(answer_->End(state_));
    exchange_->EndStream();
  } else {
    exchange_->Respond({.status = 200, .body = answer_->Body(state_)});
  }
}

bool Generation::PromptDone(size_t prompt) const {
  const auto n = static_cast<size_t>(state_.request.request.n);
  const auto first = state_.choices.begin() + static_cast<std::ptrdiff_t>(prompt * n);
  return std::all_of(first, first + static_cast<std::ptrdiff_t>(n), [](const ChoiceState& choice) {
    return choice.finish != FinishReason::kNone;
  });
}

void Generation::Fail(const absl::Status& status) {
  if (done_) return;
  done_ = true;
  HttpResponse response = ToErrorResponse(status);
  if (!streaming_) {
    exchange_->Respond(std::move(response));
    return;
  }
  exchange_->Write(SseEvent(response.body));
  exchange_->EndStream();
}

}  // namespace folkmoot
