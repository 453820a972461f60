// SPDX-License-Identifier: Apache-2.0
#include "launch/metrics/metric_families.h"

#include <limits>
#include <sstream>
#include <utility>

#include "prometheus/text_serializer.h"

namespace folkmoot {
namespace {

// vLLM's buckets.
const std::vector<double>& FirstTokenBuckets() {
  static const std::vector<double> kBuckets = {.001, .005, .01, .02, .04, .06, .08, .1,
                                               .25,  .5,   .75, 1,   2.5, 5,   7.5, 10,
                                               20,   40,   80,  160, 640, 2560};
  return kBuckets;
}
const std::vector<double>& PerTokenBuckets() {
  static const std::vector<double> kBuckets = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                                               .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
  return kBuckets;
}
const std::vector<double>& RequestLatencyBuckets() {
  static const std::vector<double> kBuckets = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                               30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
  return kBuckets;
}
// Ours: a small model answers in less than vLLM's first bucket.
const std::vector<double>& FineBuckets() {
  static const std::vector<double> kBuckets = {.0001, .0002, .0005, .001, .002, .005, .01,
                                               .02,   .05,   .1,    .2,   .5,   1,    2,
                                               5,     10,    20,    50,   100,  200,  500};
  return kBuckets;
}

// 1, 2, 5, 10, 20, 50 ... up to `most`.
std::vector<double> TokenCountBuckets(int64_t most) {
  std::vector<double> buckets;
  for (int64_t decade = 1; decade <= most; decade *= 10) {
    for (const int64_t step : {1, 2, 5}) {
      if (step * decade <= most) buckets.push_back(static_cast<double>(step * decade));
    }
  }
  if (buckets.empty()) buckets.push_back(1);
  return buckets;
}

}  // namespace

MetricFamilies::MetricFamilies(const MetricsOptions& options)
    : base_{{"model_name", options.model_name}, {"engine", "0"}} {
  AddState(options);
  AddTokens();
  AddSteps();
  AddLatencies();
  AddRequestShapes(options.max_model_len);
  AddMoe(options.moe, options.max_expert_series);
}

std::string MetricFamilies::Render() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, registry_.Collect());
  return std::move(out).str();
}

prometheus::Counter& MetricFamilies::Refused(std::string_view reason) {
  const auto found = refused_.find(reason);
  if (found != refused_.end()) return *found->second;
  prometheus::Counter* counter =
      AddCounter("moe:requests_refused_total", "Requests that never ran, by reason.",
                 {{"reason", std::string(reason)}});
  refused_.emplace(reason, counter);
  return *counter;
}

prometheus::Counter& MetricFamilies::Finished(FinishReason reason) { return *finished_.at(reason); }

void MetricFamilies::AddState(const MetricsOptions& options) {
  running = AddGauge("vllm:num_requests_running", "Sequences in execution.");
  waiting = AddGauge("vllm:num_requests_waiting", "Sequences waiting to be admitted.");
  const std::string by_reason = "vllm:num_requests_waiting_by_reason";
  waiting_for_capacity =
      AddGauge(by_reason, "Waiting sequences by what they wait for.", {{"reason", "capacity"}});
  AddGauge(by_reason, "", {{"reason", "deferred"}});  // the scheduler puts nobody off
  waiting_tokens = AddGauge("moe:waiting_tokens", "Prompt tokens of the waiting sequences.");
  kv_cache_usage = AddGauge("vllm:kv_cache_usage_perc",
                            "Share of the KV pages that running sequences hold: 1 is all of them.");
  blocks_used = AddGauge("moe:kv_blocks", "KV pages by state.", {{"state", "used"}});
  blocks_cached = AddGauge("moe:kv_blocks", "", {{"state", "cached"}});
  blocks_free = AddGauge("moe:kv_blocks", "", {{"state", "free"}});
  blocks_free->Set(static_cast<double>(options.total_blocks));
  prometheus::BuildGauge()
      .Name("vllm:cache_config_info")
      .Help("Shape of the KV cache; num_gpu_blocks counts pages wherever they are.")
      .Register(registry_)
      .Add({{"engine", "0"},
            {"block_size", std::to_string(options.block_size)},
            {"num_gpu_blocks", std::to_string(options.total_blocks)},
            {"cache_dtype", options.cache_dtype},
            {"enable_prefix_caching", options.prefix_caching ? "True" : "False"}})
      .Set(1);
  AddGauge("moe:build_info", "The version that runs.", {{"version", options.version}})->Set(1);
  preemptions = SumCounter(AddCounter("vllm:num_preemptions_total",
                                      "Sequences that lost their KV pages and began again."));
  engine_restarts = SumCounter(AddCounter(
      "moe:engine_restarts_total", "Times that the engine was started again after a failure."));
  engine_repairs =
      SumCounter(AddCounter("moe:engine_repairs_total",
                            "Times that dead ranks were replaced while the others lived on."));
  journal_writing = AddGauge("moe:journal_writing",
                             "1 while requests are written down; 0: the journal has ended, or "
                             "there is none.");
  journal_bytes =
      SumCounter(AddCounter("moe:journal_bytes_total", "Bytes written to the journal."));
  journal_failures = SumCounter(AddCounter(
      "moe:journal_failures_total", "Times that the journal has ended because of its disk."));
  for (const char* reason : {"queue_full", "draining", "invalid"}) Refused(reason);
  const std::pair<FinishReason, const char*> reasons[] = {{FinishReason::kStop, "stop"},
                                                          {FinishReason::kLength, "length"},
                                                          {FinishReason::kAborted, "abort"},
                                                          {FinishReason::kError, "error"}};
  for (const auto& [reason, name] : reasons) {
    finished_[reason] = AddCounter("vllm:request_success_total", "Finished choices by reason.",
                                   {{"finished_reason", name}});
  }
}

void MetricFamilies::AddTokens() {
  prompt_tokens = AddCounter("vllm:prompt_tokens_total", "Prompt tokens read.");
  prompt_tokens_cached =
      AddCounter("vllm:prompt_tokens_cached_total", "Prompt tokens found in the prefix cache.");
  const std::string by_source = "vllm:prompt_tokens_by_source_total";
  prompt_tokens_computed = AddCounter(by_source, "Prompt tokens by where they came from.",
                                      {{"source", "local_compute"}});
  prompt_tokens_from_cache = AddCounter(by_source, "", {{"source", "local_cache_hit"}});
  AddCounter(by_source, "", {{"source", "external_kv_transfer"}});  // always 0; sums want it
  generation_tokens = AddCounter("vllm:generation_tokens_total", "Tokens sampled.");
  prefix_queries = SumCounter(
      AddCounter("vllm:prefix_cache_queries_total", "Tokens looked up in the prefix cache."));
  prefix_hits =
      SumCounter(AddCounter("vllm:prefix_cache_hits_total", "Of them, tokens that were there."));
  drafts = SumCounter(AddCounter("vllm:spec_decode_num_drafts_total",
                                 "Times that next tokens of a sequence were guessed."));
  draft_tokens = SumCounter(AddCounter("vllm:spec_decode_num_draft_tokens_total",
                                       "Tokens guessed, each in a row of a step."));
  accepted_tokens = SumCounter(AddCounter("vllm:spec_decode_num_accepted_tokens_total",
                                          "Of them, guesses that became tokens of an output."));
}

void MetricFamilies::AddSteps() {
  steps = SumCounter(AddCounter("moe:steps_total", "Steps of the engine that computed something."));
  step_tokens = SumCounter(AddCounter(
      "moe:step_tokens_total", "Rows computed: tokens of prompts and outputs, and guesses."));
  const std::pair<const char*, SumCounter*> phases[] = {
      {"plan", &seconds_plan},     {"broadcast", &seconds_broadcast}, {"model", &seconds_model},
      {"sample", &seconds_sample}, {"gather", &seconds_gather},       {"update", &seconds_update}};
  for (const auto& [phase, seconds] : phases) {
    *seconds = SumCounter(AddCounter("moe:phase_seconds_total",
                                     "Seconds that rank 0 spent in the phases of steps.",
                                     {{"phase", phase}}));
  }
  step_seconds = AddHistogram("moe:step_seconds", "Seconds of a whole step.", FineBuckets());
  iteration_tokens =
      AddHistogram("vllm:iteration_tokens_total",
                   "Rows computed in a step: tokens of prompts and outputs, and guesses.",
                   {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384});
}

void MetricFamilies::AddLatencies() {
  time_to_first_token = AddLatency("time_to_first_token_seconds",
                                   "From arrival to the first token.", FirstTokenBuckets());
  inter_token_latency = AddLatency("inter_token_latency_seconds",
                                   "Between consecutive tokens of a choice.", PerTokenBuckets());
  time_per_output_token =
      AddLatency("request_time_per_output_token_seconds",
                 "Mean over a choice of the time between tokens.", PerTokenBuckets());
  const std::vector<double>& buckets = RequestLatencyBuckets();
  e2e_latency =
      AddLatency("e2e_request_latency_seconds", "From arrival to the end of a choice.", buckets);
  queue_time = AddLatency("request_queue_time_seconds", "From arrival to the first step.", buckets);
  inference_time = AddLatency("request_inference_time_seconds",
                              "From the first step to the last token.", buckets);
  prefill_time = AddLatency("request_prefill_time_seconds",
                            "From the first step to the first token.", buckets);
  decode_time =
      AddLatency("request_decode_time_seconds", "From the first token to the last.", buckets);
}

void MetricFamilies::AddRequestShapes(int64_t max_model_len) {
  const std::vector<double> counts = TokenCountBuckets(max_model_len);
  request_prompt_tokens =
      AddHistogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", counts);
  request_generation_tokens =
      AddHistogram("vllm:request_generation_tokens", "Tokens sampled for a choice.", counts);
  max_num_generation_tokens = AddHistogram("vllm:request_max_num_generation_tokens",
                                           "Tokens of a request's longest choice.", counts);
  params_n = AddHistogram("vllm:request_params_n", "Choices asked for.", {1, 2, 5, 10, 20});
  params_max_tokens =
      AddHistogram("vllm:request_params_max_tokens", "Token limit asked for.", counts);
  prefill_kv_computed_tokens =
      AddHistogram("vllm:request_prefill_kv_computed_tokens",
                   "Prompt tokens computed for a request, cached ones left out.", counts);
}

void MetricFamilies::AddMoe(const MoeLayout& moe, int64_t max_expert_series) {
  if (moe.layers.empty()) return;
  AddGauge("moe:placement_info", "Where the experts live.",
           {{"strategy", moe.placement},
            {"experts", std::to_string(moe.experts)},
            {"ranks", std::to_string(moe.ranks)},
            {"top_k", std::to_string(moe.top_k)}})
      ->Set(1);
  const bool per_expert = static_cast<int64_t>(moe.cells()) <= max_expert_series;
  for (const int layer_index : moe.layers) {
    const std::string layer = std::to_string(layer_index);
    for (int e = 0; per_expert && e < moe.experts; ++e) {
      const Labels labels = {{"layer", layer}, {"expert", std::to_string(e)}};
      expert_tokens.emplace_back(
          AddCounter("moe:expert_tokens_total", "Choices that an expert computed.", labels));
      expert_overflow.emplace_back(AddCounter("moe:expert_overflow_total",
                                              "Choices of an expert that found no place.", labels));
    }
    for (int r = 0; r < moe.ranks; ++r) {
      rank_tokens.emplace_back(AddCounter("moe:rank_tokens_total",
                                          "Choices that the experts of a rank computed.",
                                          {{"layer", layer}, {"rank", std::to_string(r)}}));
    }
    const std::string dropped = "moe:dropped_tokens_total";
    overflow.push_back(AddCounter(dropped, "Choices that requests lost, by reason.",
                                  {{"layer", layer}, {"reason", "overflow"}}));
    rejected.push_back(AddCounter(dropped, "", {{"layer", layer}, {"reason", "rejected"}}));
    balancedness.push_back(AddGauge("moe:balancedness",
                                    "Mean over maximum of the ranks' choices in the last 10 s.",
                                    {{"layer", layer}}));
    expert_balancedness.push_back(AddGauge(
        "moe:expert_balancedness", "Mean over maximum of the experts' choices in the last 10 s.",
        {{"layer", layer}}));
    balancedness.back()->Set(std::numeric_limits<double>::quiet_NaN());
    expert_balancedness.back()->Set(std::numeric_limits<double>::quiet_NaN());
  }
}

prometheus::Gauge* MetricFamilies::AddGauge(const std::string& name, const std::string& help,
                                            const Labels& labels) {
  Labels all = base_;
  all.insert(labels.begin(), labels.end());
  return &prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(all);
}

prometheus::Counter* MetricFamilies::AddCounter(const std::string& name, const std::string& help,
                                                const Labels& labels) {
  Labels all = base_;
  all.insert(labels.begin(), labels.end());
  return &prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(all);
}

prometheus::Histogram* MetricFamilies::AddHistogram(const std::string& name,
                                                    const std::string& help,
                                                    const std::vector<double>& buckets) {
  return &prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(base_,
                                                                                     buckets);
}

Latency MetricFamilies::AddLatency(const std::string& name, const std::string& help,
                                   const std::vector<double>& vllm_buckets) {
  return {AddHistogram("vllm:" + name, help, vllm_buckets),
          AddHistogram("moe:" + name, help + " Buckets from 100 us.", FineBuckets())};
}

}  // namespace folkmoot
