// SPDX-License-Identifier: Apache-2.0
// The requests that are in the engine's hands, and which engine request belongs to which.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "launch/api/engine_port.h"
#include "launch/api/generation.h"
#include "launch/api/request_journal.h"
#include "launch/metrics/metrics.h"

namespace folkmoot {

// One HTTP request: a generation whose prompts are engine requests of their own. Prompts that the
// queue has no room for wait here until others of the same request are done.
struct Job {
  std::unique_ptr<Generation> generation;
  uint64_t journal_id = 0;                       // 0: nobody writes it down
  std::vector<std::vector<ChoiceSoFar>> so_far;  // by prompt, of one that goes on; else empty
  size_t next_prompt = 0;                        // the first that the engine has not taken
  std::unordered_set<int64_t> open;              // engine ids
  std::shared_ptr<void> deadline;
  std::shared_ptr<void> retry;
  std::shared_ptr<void> ping;
  bool heard = false;  // an event has come
};

// On the I/O thread.
class Jobs {
 public:
  using After =
      std::function<std::shared_ptr<void>(std::chrono::milliseconds, std::function<void()>)>;

  // `ping_interval`: streams are not silent for longer; 0: they may be. `queue_places`: requests
  // that may wait in the engine's queue.
  Jobs(EnginePort& engine, Metrics* metrics, After after, std::chrono::milliseconds ping_interval,
       int64_t queue_places)
      : engine_(engine),
        metrics_(metrics),
        after_(std::move(after)),
        ping_interval_(ping_interval),
        max_open_(static_cast<size_t>(std::max<int64_t>(1, queue_places / 2))) {}

  // Where requests with a journal_id are written down; it must outlive this object.
  void set_journal(RequestJournal* journal) { journal_ = journal; }

  // Hands the prompts to the engine. An error (queue full, draining) means that nothing was taken.
  absl::Status Start(const std::shared_ptr<Job>& job);
  // The same for one that goes on; when the queue is full it waits.
  void Resume(const std::shared_ptr<Job>& job);
  // Ends a job early: its client has gone (no answer any more), or with an answer.
  void Abandon(const std::shared_ptr<Job>& job);
  void Fail(const std::shared_ptr<Job>& job, const absl::Status& status);
  void FailAll(const absl::Status& status);

  // Events of ended choices are removed, those that complete a stop string get kStop.
  void OnEvents(std::vector<OutputEvent>* events);

  size_t size() const { return jobs_.size(); }

 private:
  struct Entry {
    std::shared_ptr<Job> job;
    size_t prompt = 0;
    int32_t engine_choices = 0;  // that the engine has not finished
  };

  void WriteDown(const std::vector<OutputEvent>& events);
  absl::Status SubmitNext(const std::shared_ptr<Job>& job);
  void SubmitMore(const std::shared_ptr<Job>& job);
  void PingAfter(const std::shared_ptr<Job>& job, std::chrono::milliseconds delay);
  bool OnEvent(OutputEvent* event);
  void ClosePrompt(int64_t id, bool cancel);
  void Release(const std::shared_ptr<Job>& job);

  EnginePort& engine_;
  Metrics* metrics_;
  RequestJournal* journal_ = nullptr;
  After after_;
  std::chrono::milliseconds ping_interval_;
  // Of one job's prompts in the engine: a long list leaves room in the queue for others.
  const size_t max_open_;
  int64_t next_id_ = 1;
  std::unordered_map<int64_t, Entry> by_id_;
  std::unordered_set<std::shared_ptr<Job>> jobs_;
};

}  // namespace folkmoot
