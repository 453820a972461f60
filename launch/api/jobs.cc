// SPDX-License-Identifier: Apache-2.0
#include "launch/api/jobs.h"

#include "launch/api/common/json_body.h"

namespace folkmoot {
namespace {

constexpr std::chrono::milliseconds kRetrySubmit{100};

}  // namespace

absl::Status Jobs::SubmitNext(const std::shared_ptr<Job>& job) {
  const ApiRequest& api = job->generation->request();
  const ApiPrompt& prompt = api.prompts[job->next_prompt];
  Request request = api.request;
  request.prompt = prompt.ids;
  request.source = prompt.source;
  request.beams.begun = prompt.begun;
  request.max_tokens = prompt.max_tokens;
  int32_t choices = api.request.n;
  if (job->next_prompt < job->so_far.size()) {
    request.so_far = job->so_far[job->next_prompt];
    for (const ChoiceSoFar& choice : request.so_far) choices -= choice.ended ? 1 : 0;
  }
  const int64_t id = next_id_++;
  FM_RETURN_IF_ERROR(engine_.Submit(id, std::move(request)));
  by_id_[id] = {.job = job, .prompt = job->next_prompt, .engine_choices = choices};
  job->open.insert(id);
  ++job->next_prompt;
  if (metrics_ != nullptr) {
    metrics_->OnSubmitted({.id = id,
                           .prompt_tokens = static_cast<int64_t>(prompt.ids.size()),
                           .max_tokens = prompt.max_tokens,
                           .n = api.request.n,
                           .arrival = std::chrono::steady_clock::now()});
  }
  return absl::OkStatus();
}

absl::Status Jobs::Start(const std::shared_ptr<Job>& job) {
  FM_RETURN_IF_ERROR(SubmitNext(job));
  Resume(job);
  return absl::OkStatus();
}

void Jobs::PingAfter(const std::shared_ptr<Job>& job, std::chrono::milliseconds delay) {
  job->ping = after_(delay, [this, weak = std::weak_ptr<Job>(job)] {
    const auto alive = weak.lock();
    if (alive == nullptr || alive->generation->done()) return;
    PingAfter(alive, alive->generation->Ping(ping_interval_));
  });
}

void Jobs::Resume(const std::shared_ptr<Job>& job) {
  jobs_.insert(job);
  if (job->generation->request().stream && ping_interval_.count() > 0) {
    PingAfter(job, ping_interval_);
  }
  SubmitMore(job);
}

// Gives the engine what it will take. A full queue is no error once the request has begun.
void Jobs::SubmitMore(const std::shared_ptr<Job>& job) {
  while (job->next_prompt < job->generation->request().prompts.size() &&
         job->open.size() < max_open_) {
    if (job->generation->PromptDone(job->next_prompt)) {  // in an earlier life
      ++job->next_prompt;
      continue;
    }
    const absl::Status status = SubmitNext(job);
    if (status.ok()) continue;
    if (status.code() != absl::StatusCode::kResourceExhausted) {
      Fail(job, status);
    } else if (job->open.empty()) {  // nothing of ours will end and call us: look again later
      job->retry = after_(kRetrySubmit, [this, weak = std::weak_ptr<Job>(job)] {
        if (const auto alive = weak.lock()) SubmitMore(alive);
      });
    }
    return;
  }
}

void Jobs::ClosePrompt(int64_t id, bool cancel) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  if (cancel) engine_.Cancel(id);
  found->second.job->open.erase(id);
  by_id_.erase(found);
}

void Jobs::Release(const std::shared_ptr<Job>& job) {
  const std::unordered_set<int64_t> open = std::move(job->open);
  job->open.clear();
  for (const int64_t id : open) ClosePrompt(id, /*cancel=*/true);
  job->deadline.reset();
  job->retry.reset();
  job->ping.reset();
  job->next_prompt = job->generation->request().prompts.size();
  if (journal_ != nullptr && job->journal_id != 0) {
    journal_->End(job->journal_id);
    journal_->Commit();
  }
  jobs_.erase(job);
}

void Jobs::Abandon(const std::shared_ptr<Job>& job) {
  job->generation->Abandon();
  Release(job);
}

void Jobs::Fail(const std::shared_ptr<Job>& job, const absl::Status& status) {
  // The caller's may live in what Release forgets. NOLINTNEXTLINE(performance-unnecessary-copy-*)
  const std::shared_ptr<Job> keep = job;
  keep->generation->Fail(status);
  Release(keep);
}

void Jobs::FailAll(const absl::Status& status) {
  const std::unordered_set<std::shared_ptr<Job>> all = jobs_;
  for (const std::shared_ptr<Job>& job : all) Fail(job, status);
}

// Before anybody hears of it.
void Jobs::WriteDown(const std::vector<OutputEvent>& events) {
  for (const OutputEvent& event : events) {
    const auto found = by_id_.find(event.request);
    if (found == by_id_.end() || found->second.job->journal_id == 0) continue;
    journal_->Add(found->second.job->journal_id, found->second.prompt, event);
  }
  journal_->Commit();
}

void Jobs::OnEvents(std::vector<OutputEvent>* events) {
  if (journal_ != nullptr) WriteDown(*events);
  size_t kept = 0;
  for (size_t i = 0; i < events->size(); ++i) {
    OutputEvent event = std::move((*events)[i]);
    if (OnEvent(&event)) (*events)[kept++] = std::move(event);
  }
  events->resize(kept);
}

bool Jobs::OnEvent(OutputEvent* event) {
  const auto found = by_id_.find(event->request);
  if (found == by_id_.end()) return true;  // given up by us: metrics want to know its end
  Entry& entry = found->second;
  const std::shared_ptr<Job> job = entry.job;
  const size_t prompt = entry.prompt;
  job->heard = true;
  const bool choice_done = event->finish != FinishReason::kNone;
  if (choice_done) --entry.engine_choices;
  const bool engine_done = entry.engine_choices <= 0;
  const bool counts = job->generation->OnEvent(prompt, event);
  if (counts && event->finish == FinishReason::kError) {
    const absl::Status status = event->rejected
                                    ? InvalidArgument("{}", event->error)
                                    : DataLoss("the request could not go on: {}", event->error);
    Fail(job, WithCode(status, event->rejected ? "" : "engine_error"));
    return true;
  }
  if (counts && event->finish == FinishReason::kAborted) {
    Fail(job, WithCode(Unavailable("the server ended this request"), "server_shutdown"));
    return true;
  }
  // A stop string ends a choice before the engine knows.
  if (engine_done || job->generation->PromptDone(prompt)) {
    ClosePrompt(event->request, /*cancel=*/!engine_done);
    SubmitMore(job);
  } else if (counts && !choice_done && event->finish != FinishReason::kNone) {
    engine_.CancelChoice(event->request, event->choice);
  }
  if (job->generation->done()) Release(job);
  return counts;
}

}  // namespace folkmoot
