// SPDX-License-Identifier: Apache-2.0
// Every metric that we export, by name, with its help, labels and buckets: what metrics.cc counts
// into. Names, labels and buckets of vllm:* are those of vLLM 0.26.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launch/metrics/metrics.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace folkmoot {

// A counter that follows a sum counted elsewhere.
class SumCounter {
 public:
  SumCounter() = default;
  explicit SumCounter(prometheus::Counter* counter) : counter_(counter) {}
  void Set(double sum) {
    if (sum > last_) counter_->Increment(sum - last_);
    if (sum > last_) last_ = sum;
  }
  void Set(int64_t sum) { Set(static_cast<double>(sum)); }

 private:
  prometheus::Counter* counter_ = nullptr;
  double last_ = 0;
};

// The same seconds in vLLM's buckets and in ours, which begin at 100 us.
struct Latency {
  prometheus::Histogram* vllm = nullptr;
  prometheus::Histogram* fine = nullptr;
  void Observe(double seconds) const {
    vllm->Observe(seconds);
    fine->Observe(seconds);
  }
};

class MetricFamilies {
 public:
  explicit MetricFamilies(const MetricsOptions& options);

  std::string Render() const;

  prometheus::Counter& Refused(std::string_view reason);
  prometheus::Counter& Finished(FinishReason reason);

  prometheus::Gauge* running;
  prometheus::Gauge* waiting;
  prometheus::Gauge* waiting_for_capacity;
  prometheus::Gauge* waiting_tokens;
  prometheus::Gauge* kv_cache_usage;
  prometheus::Gauge* blocks_used;
  prometheus::Gauge* blocks_cached;
  prometheus::Gauge* blocks_free;
  prometheus::Counter* prompt_tokens;
  prometheus::Counter* prompt_tokens_cached;
  prometheus::Counter* prompt_tokens_computed;
  prometheus::Counter* prompt_tokens_from_cache;
  prometheus::Counter* generation_tokens;
  SumCounter preemptions;
  SumCounter engine_restarts;
  SumCounter engine_repairs;
  prometheus::Gauge* journal_writing;
  SumCounter journal_bytes;
  SumCounter journal_failures;
  SumCounter prefix_queries;
  SumCounter prefix_hits;
  SumCounter drafts;
  SumCounter draft_tokens;
  SumCounter accepted_tokens;
  SumCounter steps;
  SumCounter step_tokens;
  SumCounter seconds_plan;
  SumCounter seconds_broadcast;
  SumCounter seconds_model;
  SumCounter seconds_sample;
  SumCounter seconds_gather;
  SumCounter seconds_update;

  Latency time_to_first_token;
  Latency inter_token_latency;
  Latency time_per_output_token;
  Latency e2e_latency;
  Latency queue_time;
  Latency inference_time;
  Latency prefill_time;
  Latency decode_time;
  prometheus::Histogram* request_prompt_tokens;
  prometheus::Histogram* request_generation_tokens;
  prometheus::Histogram* max_num_generation_tokens;
  prometheus::Histogram* params_n;
  prometheus::Histogram* params_max_tokens;
  prometheus::Histogram* prefill_kv_computed_tokens;
  prometheus::Histogram* iteration_tokens;
  prometheus::Histogram* step_seconds;

  std::vector<SumCounter> expert_tokens;       // [MoE layers, experts], or none
  std::vector<SumCounter> expert_overflow;     // as expert_tokens
  std::vector<SumCounter> rank_tokens;         // [MoE layers, ranks]
  std::vector<prometheus::Counter*> rejected;  // by MoE layer, as the rest
  std::vector<prometheus::Counter*> overflow;
  std::vector<prometheus::Gauge*> balancedness;
  std::vector<prometheus::Gauge*> expert_balancedness;

 private:
  using Labels = std::map<std::string, std::string>;

  void AddState(const MetricsOptions& options);
  void AddTokens();
  void AddSteps();
  void AddLatencies();
  void AddRequestShapes(int64_t max_model_len);
  void AddMoe(const MoeLayout& moe, int64_t max_expert_series);

  prometheus::Gauge* AddGauge(const std::string& name, const std::string& help,
                              const Labels& labels = {});
  prometheus::Counter* AddCounter(const std::string& name, const std::string& help,
                                  const Labels& labels = {});
  prometheus::Histogram* AddHistogram(const std::string& name, const std::string& help,
                                      const std::vector<double>& buckets);
  Latency AddLatency(const std::string& name, const std::string& help,
                     const std::vector<double>& vllm_buckets);

  prometheus::Registry registry_;
  Labels base_;  // model_name, engine
  std::map<FinishReason, prometheus::Counter*> finished_;
  std::map<std::string, prometheus::Counter*, std::less<>> refused_;
};

}  // namespace folkmoot
