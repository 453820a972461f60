// SPDX-License-Identifier: Apache-2.0
// Runs requests through a whole engine with thread ranks and keeps everything that comes back.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "launch/thread_ranks.h"

namespace folkmoot {

// All that one request produced.
struct RunOutcome {
  std::vector<int32_t> tokens;
  std::vector<float> token_logprobs;
  std::vector<float> prompt_logprobs;
  std::vector<uint64_t> layer_digests;
  std::map<int32_t, RoutingTrace> routing;  // by layer; tokens appended
  int64_t rejected = 0;
  int64_t overflow = 0;
  FinishReason finish = FinishReason::kNone;
  std::string error;

  bool operator==(const RunOutcome& other) const;  // bit for bit
};

struct RunSetup {
  EngineOptions options;
  int ranks = 1;
  int threads = 1;
  bool alone = false;  // each request ends before the next begins
};

// Outcomes in the order of the requests.
absl::StatusOr<std::vector<RunOutcome>> RunRequests(const RunSetup& setup,
                                                    const std::vector<Request>& requests);

}  // namespace folkmoot
