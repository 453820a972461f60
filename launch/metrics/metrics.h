// SPDX-License-Identifier: Apache-2.0
// What GET /metrics answers: vLLM's metric names, so that its dashboards, gateways and benchmark
// clients work unchanged, and ours (moe:*) for experts, ranks and small models. docs/metrics.md
// lists them all.
//
// Not thread-safe: everything happens on the I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "launch/api/request_journal.h"
#include "launch/engine_service.h"
#include "launch/metrics/moe_layout.h"

namespace folkmoot {

inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

struct MetricsOptions {
  std::string model_name;  // as served; label of every series
  std::string version;
  std::string cache_dtype = "float32";
  int64_t max_model_len = 0;
  int64_t block_size = 0;
  int64_t total_blocks = 0;  // of all ranks
  bool prefix_caching = true;
  MoeLayout moe;
  // Series per expert are left out when there would be more of them than this in one family.
  int64_t max_expert_series = 1024;
};

// A request that the engine has accepted.
struct SubmittedRequest {
  int64_t id = 0;  // as in OutputEvent::request
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;
  int32_t n = 1;
  SteadyTime arrival;  // when its body was complete
};

// Choices of experts that requests lost in one MoE layer since the start. A token of a cached page
// counts again for every request that reads it.
struct LayerDrops {
  int64_t rejected = 0;  // by the policy of the extra expert
  int64_t overflow = 0;  // found no place
};

// How often an engine in other processes came back so far.
struct EngineLivesCount {
  int64_t restarts = 0;  // all of it
  int64_t repairs = 0;   // dead ranks alone
};

class Metrics {
 public:
  explicit Metrics(MetricsOptions options);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Before the first event of the request.
  void OnSubmitted(const SubmittedRequest& request);
  // A request that never reached the engine: "queue_full", "draining", "invalid".
  void OnRefused(std::string_view reason);
  // Every batch of the engine, in order. Events of unknown requests are ignored. The last event of
  // the last choice ends the request.
  void OnEvents(const std::vector<OutputEvent>& events);
  // After every step, or now and then: between two calls only differences count.
  void OnSnapshot(const EngineSnapshot& snapshot);
  void OnEngineLives(const EngineLivesCount& lives);
  void OnJournal(const JournalCounts& counts);
  // Now and then, and before Render. Balance is told of the last seconds: about once a second while
  // there are steps. Times must not go back.
  void OnExperts(const ExpertCounts& counts, SteadyTime now);

  // The text format 0.0.4 of Prometheus.
  std::string Render() const;

  const std::vector<LayerDrops>& drops() const;  // by MoE layer

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace folkmoot
