// SPDX-License-Identifier: Apache-2.0
// Runs requests through a whole engine with thread ranks and keeps everything that comes back.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "launch/thread_ranks.h"

namespace folkmoot {

// All that one choice of a request produced.
struct RunOutcome {
  std::vector<int32_t> tokens;
  std::vector<float> token_logprobs;
  std::vector<TokenLogprob> token_top;
  std::vector<float> prompt_logprobs;
  std::vector<int32_t> prompt_ranks;
  std::vector<uint64_t> layer_digests;
  std::vector<float> embedding;
  std::map<int32_t, RoutingTrace> routing;  // by layer; tokens appended
  std::vector<DropCounts> drops;            // the last ones
  int64_t rejected = 0;                     // their sums
  int64_t overflow = 0;
  int64_t cached_tokens = 0;  // not compared
  FinishReason finish = FinishReason::kNone;
  std::string error;

  bool operator==(const RunOutcome& other) const;  // bit for bit
};

struct RunSetup {
  EngineOptions options;
  int ranks = 1;
  int threads = 1;
  bool alone = false;  // each request ends before the next begins
  bool plan_ahead = false;
  std::function<void(SchedulerOptions&)> adjust = nullptr;
  int times = 1;  // runs all requests again in the same engine; the last outcomes count
};

// What the engine did for it.
struct RunTotals {
  int64_t preemptions = 0;
  int64_t prefix_hit_tokens = 0;
  SpeculationCounts speculation;
  ExpertCounts experts;
  EngineStats stats;
};

// Outcomes in the order of the requests, and of the choices of each.
absl::StatusOr<std::vector<RunOutcome>> RunRequests(const RunSetup& setup,
                                                    const std::vector<Request>& requests,
                                                    RunTotals* totals = nullptr);

}  // namespace folkmoot
