// SPDX-License-Identifier: Apache-2.0
// The engine as the front end sees it: a request in, output events out, in small messages that
// could cross a process boundary. The engine runs on the thread that may enter MPI (Run); the other
// methods may be called from any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "launch/engine.h"
#include "runtime/status.h"
#include "scheduler/request.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

using SteadyTime = std::chrono::steady_clock::time_point;

// What happened to one choice of a request in one step.
struct OutputEvent {
  int64_t request = 0;
  int32_t choice = 0;
  SequenceResult result;      // result.id means nothing here
  int64_t cached_tokens = 0;  // of the prompt, from the prefix cache
  FinishReason finish = FinishReason::kNone;
  int64_t drafted = 0;    // guesses that the step verified; with its first event
  bool accepted = false;  // the token had been guessed
  std::string error;      // with kError: what went wrong
  bool rejected = false;  // with kError: the request itself was wrong, it never ran
  SteadyTime admitted;    // when its first step was planned
  SteadyTime time;        // when the step ended
};

// State of the engine after its last step. It is copied after every step: no lists.
struct EngineSnapshot {
  int64_t running = 0;  // sequences
  int64_t waiting = 0;
  int64_t waiting_tokens = 0;
  int64_t preemptions = 0;
  int64_t culprits = 0;      // requests that were found to bring the ranks down
  int64_t total_blocks = 0;  // of all ranks
  int64_t used_blocks = 0;
  int64_t cached_blocks = 0;        // free to take, content kept
  int64_t prefix_query_tokens = 0;  // asked of the prefix cache, found there
  int64_t prefix_hit_tokens = 0;
  SpeculationCounts speculation;   // since the start
  EngineStats stats;               // sums since the start
  double finished_per_second = 0;  // requests, lately: for Retry-After
  bool recovering = false;         // the ranks are lost, and others have not come yet
  SteadyTime last_step;
};
static_assert(std::is_trivially_copyable_v<EngineSnapshot>);

struct EngineServiceOptions {
  int64_t max_queued_requests = 256;    // waiting for admission
  int64_t max_queued_tokens = 1 << 20;  // of their prompts
};

// Everything but finished_per_second, recovering and last_step.
EngineSnapshot SnapshotOf(const Engine& engine);

class EngineService {
 public:
  // Events are handed over once per step, in order, on the engine's thread. `engine` must outlive
  // the service. `heartbeat`: how often the ranks hear from an idle engine; zero: never (one rank).
  using Sink = std::function<void(std::vector<OutputEvent>)>;
  EngineService(Engine& engine, const EngineServiceOptions& options,
                std::chrono::milliseconds heartbeat, Sink sink);

  // `id` is the caller's, never used before. ResourceExhausted: the queue is full. Unavailable:
  // draining or dead. What is wrong with the request itself comes as an event with `rejected`.
  absl::Status Submit(int64_t id, Request request);
  // Ends a request within one step; one last event with kAborted follows for every choice that was
  // not finished. Unknown ids are ignored.
  void Cancel(int64_t id);
  // The same for one choice; the others go on.
  void CancelChoice(int64_t id, int32_t choice);

  // Takes no more requests; Run returns when all are done.
  void Drain();
  // Cancels everything; Run returns after the step under way.
  void Stop();

  EngineSnapshot Snapshot() const;
  // Engine::expert_counts, now: up to a step ahead of the snapshot.
  ExpertCounts Experts() const { return engine_.expert_counts(); }

  // The loop, on the engine's thread. Returns after Drain or Stop, or with the error that killed
  // the engine; every unfinished choice has had a last event by then. Where lost ranks can be
  // renewed, it waits for new ones, and requests go on.
  absl::Status Run();

 private:
  struct Submission {
    int64_t id = 0;
    Request request;
  };
  // A request that has not ended.
  struct Live {
    int64_t engine_id = -1;  // -1: not handed to the engine yet
    int64_t prompt_tokens = 0;
    bool admitted = false;
    std::vector<SteadyTime> started;  // by choice
    std::vector<bool> ended;
    bool all_ended() const { return std::find(ended.begin(), ended.end(), false) == ended.end(); }
  };
  struct Cancellation {
    int64_t id = 0;
    int32_t choice = kAllChoices;
  };
  static constexpr int32_t kAllChoices = -1;
  enum class State : uint8_t { kOpen, kDraining, kStopping, kDead };

  bool Wait();  // for something to do; false: leave
  void TakeInbox();
  void Admit(Submission submission);
  void CancelNow(int64_t id);
  void CancelNow(int64_t id, int32_t choice);
  absl::Status Step();
  absl::Status StepIfDue();
  absl::Status Recover(const absl::Status& failure);
  void OnEvent(const RequestEvent& event, SteadyTime planned);
  void Leave(Live& live);
  void EndChoices(int64_t id, Live& live, FinishReason reason, const std::string& error);
  void EndAll(FinishReason reason, const std::string& error);
  void Deliver();
  void Publish(SteadyTime now);

  Engine& engine_;
  const EngineServiceOptions options_;
  const std::chrono::milliseconds heartbeat_;
  const Sink sink_;

  // On the engine's thread only.
  std::map<int64_t, Live> live_;          // by the caller's id
  std::map<int64_t, int64_t> caller_of_;  // engine id -> caller's id
  std::vector<OutputEvent> events_;       // of the step under way
  std::deque<SteadyTime> finish_times_;   // of requests, lately
  SteadyTime last_step_;
  bool recovering_ = false;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // The rest is guarded by mutex_.
  State state_ = State::kOpen;
  std::vector<Submission> inbox_;
  std::vector<Cancellation> cancels_;
  int64_t queued_requests_ = 0;  // submitted, none of their steps planned
  int64_t queued_tokens_ = 0;
  EngineSnapshot snapshot_;
};

}  // namespace folkmoot
