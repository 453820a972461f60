// SPDX-License-Identifier: Apache-2.0
// What `bench serve` says about a run: the numbers, names and layout of `vllm bench serve`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "launch/commands/bench_serve_load.h"
#include "nlohmann/json_fwd.hpp"

namespace folkmoot {

// In milliseconds.
struct BenchSummary {
  double mean = 0;
  double median = 0;
  double std = 0;  // of the population
  std::vector<std::pair<double, double>> percentiles;
};

struct BenchMetrics {
  int64_t completed = 0;
  int64_t failed = 0;
  int64_t input_tokens = 0;  // of completed requests, as are all that follow
  int64_t output_tokens = 0;
  double request_throughput = 0;  // per second
  double request_goodput = 0;
  double output_throughput = 0;
  double total_token_throughput = 0;
  double max_output_tokens_per_s = 0;  // in the best second
  int64_t max_concurrent_requests = 0;
  BenchSummary ttft;
  BenchSummary tpot;  // (latency - ttft) / (output tokens - 1), requests with two tokens or more
  BenchSummary itl;
  BenchSummary e2el;
};

// Linear between the two nearest ranks, as NumPy's default. 0 for no values.
double Percentile(std::vector<double> values, double percent);

// `goodput`: limits in milliseconds by "ttft", "tpot", "e2el"; a request is good that keeps all.
BenchMetrics MeasureBench(const BenchRun& run, const std::map<std::string, double>& goodput,
                          const std::vector<double>& percentiles);

// "ttft:500" -> {"ttft", 500}.
absl::StatusOr<std::map<std::string, double>> ParseGoodput(const std::vector<std::string>& pairs);

// The table. A request rate of infinity, a concurrency of 0 and no goodput have no line.
std::string RenderBench(const BenchMetrics& metrics, const BenchRun& run, const BenchLoad& load,
                        bool with_goodput);

// `detailed`: with the lists of every request.
nlohmann::ordered_json BenchJson(const BenchMetrics& metrics, const BenchRun& run,
                                 const BenchLoad& load, bool with_goodput, bool detailed);

}  // namespace folkmoot
