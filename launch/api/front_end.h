// SPDX-License-Identifier: Apache-2.0
// The API between HTTP and the engine: takes requests, follows them, answers. It is there before
// the model is loaded, so that probes are answered, and until the last answer is written.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launch/api/common/served_model.h"
#include "launch/api/engine_port.h"
#include "launch/api/request_journal.h"
#include "launch/http/http.h"
#include "launch/metrics/metrics.h"

namespace folkmoot {

struct FrontEndOptions {
  std::string version;
  std::chrono::milliseconds request_timeout{0};     // of every request; 0: none
  std::chrono::milliseconds stall_timeout{60'000};  // not ready when a step takes longer
  std::chrono::milliseconds ping_interval{15'000};  // longest silence of a stream; 0: any
  int64_t queue_places = EngineServiceOptions().max_queued_requests;
  bool log_requests = false;  // ids and sizes, never text
  // Runs the function after the delay unless the handle is destroyed first (IoLoop::After).
  std::function<std::shared_ptr<void>(std::chrono::milliseconds, std::function<void()>)> after;
};

// What /server_info tells of the engine.
struct EngineFacts {
  int ranks = 1;
  bool tensor_parallel = false;
  int64_t kv_tokens = 0;  // of all ranks
  int64_t max_num_seqs = 0;
  int64_t max_num_batched_tokens = 0;
};

// Sums since the start, for the line of statistics.
struct TrafficCounts {
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  int64_t requests = 0;
};

// Everything on the I/O thread.
class FrontEnd {
 public:
  explicit FrontEnd(FrontEndOptions options);
  ~FrontEnd();
  FrontEnd(const FrontEnd&) = delete;
  FrontEnd& operator=(const FrontEnd&) = delete;

  // All endpoints of this folder but metrics, the experts and the page. The object must outlive
  // the server that has them.
  std::vector<Route> Routes();

  // The model is loaded: requests are taken from now on. `engine` and `metrics` (may be null) must
  // outlive this object.
  void Attach(std::unique_ptr<ServedModel> model, const EngineFacts& facts, EnginePort& engine,
              Metrics* metrics);
  void OnEvents(std::vector<OutputEvent> events);

  // After Attach: requests are written down from now on, and those that are in the journal go on.
  // It must outlive this object.
  void UseJournal(RequestJournal& journal);

  // What is wrong with the engine, for /ready; requests are taken and wait. `stalled`: a step
  // hangs, which its snapshot does not show. Empty: nothing.
  void SetTrouble(std::string why, bool stalled);
  // Refuses new requests; those under way go on.
  void Drain();
  // The engine is gone: everything under way and to come fails with 503. `reason` goes to clients.
  void EngineEnded(std::string_view reason);

  bool ready() const;
  size_t running() const;  // HTTP requests under way
  const TrafficCounts& traffic() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace folkmoot
