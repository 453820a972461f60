// SPDX-License-Identifier: Apache-2.0
// The load of `bench serve`: when each request goes out, and what came back when.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "launch/commands/bench_serve_prompts.h"
#include "launch/http/http_client.h"
#include "runtime/status.h"

namespace folkmoot {

struct BenchLoad {
  HttpUrl server;
  std::string endpoint = "/v1/completions";
  std::string model;
  HttpHeaders headers;
  std::string extra_body;  // a JSON object whose keys are added to every request
  bool ignore_eos = false;
  double request_rate = std::numeric_limits<double>::infinity();  // per second
  double burstiness = 1.0;      // shape of the gamma distribution of the intervals; 1: Poisson
  int64_t max_concurrency = 0;  // 0: no limit
  uint64_t seed = 0;
};

// Times in seconds; start counts from the beginning of the run.
struct BenchOutcome {
  bool success = false;
  std::string error;
  double start = 0;   // when it was sent
  double queued = 0;  // between its arrival and start, behind max_concurrency
  double ttft = 0;
  std::vector<double> itl;  // between events with a token
  double latency = 0;       // from start to the last token
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  std::string text;
};

struct BenchRun {
  double seconds = 0;
  std::vector<BenchOutcome> outcomes;  // in the order of the prompts
};

// Seconds after the beginning at which each request arrives, scaled so that the last one arrives at
// count / rate, as vLLM does. All zero for an infinite rate.
std::vector<double> ArrivalTimes(size_t count, double rate, double burstiness, uint64_t seed);

// True for ".../chat/completions".
bool IsChat(std::string_view endpoint);

// Name of the first model that GET /v1/models lists.
absl::StatusOr<std::string> FirstModel(const BenchLoad& load);

// Sends everything and waits for the last answer. `progress(done)` after each. Errors of single
// requests are in their outcome; the status is for a load that cannot begin.
absl::StatusOr<BenchRun> RunBenchLoad(const BenchLoad& load,
                                      const std::vector<BenchPrompt>& prompts,
                                      const std::function<void(int64_t)>& progress);

}  // namespace folkmoot
