// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/bench_serve_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMs = 1e3;

BenchSummary Summarize(const std::vector<double>& seconds, const std::vector<double>& percentiles) {
  BenchSummary summary;
  if (!seconds.empty()) {
    const auto count = static_cast<double>(seconds.size());
    const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / count;
    double squares = 0;
    for (const double value : seconds) squares += (value - mean) * (value - mean);
    summary.mean = mean * kMs;
    summary.std = std::sqrt(squares / count) * kMs;
    summary.median = Percentile(seconds, 50) * kMs;
  }
  for (const double percent : percentiles) {
    summary.percentiles.emplace_back(percent, Percentile(seconds, percent) * kMs);
  }
  return summary;
}

double TimePerOutputToken(const BenchOutcome& outcome) {
  if (outcome.output_tokens < 2) return 0;
  return (outcome.latency - outcome.ttft) / static_cast<double>(outcome.output_tokens - 1);
}

bool IsGood(const BenchOutcome& outcome, const std::map<std::string, double>& goodput) {
  return std::all_of(goodput.begin(), goodput.end(), [&](const auto& limit) {
    const double value = limit.first == "ttft"   ? outcome.ttft
                         : limit.first == "tpot" ? TimePerOutputToken(outcome)
                                                 : outcome.latency;
    return value * kMs <= limit.second;
  });
}

// Events with tokens in the best second, counted from the first request's start.
double BestSecond(const std::vector<const BenchOutcome*>& outcomes) {
  double begin = INFINITY;
  for (const BenchOutcome* outcome : outcomes) begin = std::min(begin, outcome->start);
  std::map<int64_t, int64_t> events;
  for (const BenchOutcome* outcome : outcomes) {
    double time = outcome->start + outcome->ttft - begin;
    ++events[static_cast<int64_t>(time)];
    for (const double step : outcome->itl) ++events[static_cast<int64_t>(time += step)];
  }
  int64_t best = 0;
  for (const auto& [second, count] : events) best = std::max(best, count);
  return static_cast<double>(best);
}

int64_t MostAtOnce(const std::vector<const BenchOutcome*>& outcomes) {
  std::vector<std::pair<double, int>> changes;
  for (const BenchOutcome* outcome : outcomes) {
    changes.emplace_back(outcome->start, 1);
    changes.emplace_back(outcome->start + outcome->latency, -1);
  }
  std::sort(changes.begin(), changes.end());  // an end goes before a start at the same time
  int64_t now = 0;
  int64_t most = 0;
  for (const auto& [time, change] : changes) most = std::max(most, now += change);
  return most;
}

std::string Title(std::string_view title, char fill) {
  return fmt::format(fmt::runtime(fill == '=' ? "{:=^50}\n" : "{:-^50}\n"), title);
}

std::string Line(std::string_view name, double value) {
  return fmt::format("{:<40} {:<10.2f}\n", name, value);
}

std::string Line(std::string_view name, int64_t value) {
  return fmt::format("{:<40} {:<10}\n", name, value);
}

// "99", "99.9".
std::string PercentName(double percent) { return fmt::format("{:g}", percent); }

std::string RenderSummary(std::string_view title, std::string_view name,
                          const BenchSummary& summary) {
  std::string text = Title(title, '-');
  text += Line(fmt::format("Mean {} (ms):", name), summary.mean);
  text += Line(fmt::format("Median {} (ms):", name), summary.median);
  for (const auto& [percent, value] : summary.percentiles) {
    text += Line(fmt::format("P{} {} (ms):", PercentName(percent), name), value);
  }
  return text;
}

void AddSummary(std::string_view name, const BenchSummary& summary, Json* json) {
  (*json)[fmt::format("mean_{}_ms", name)] = summary.mean;
  (*json)[fmt::format("median_{}_ms", name)] = summary.median;
  (*json)[fmt::format("std_{}_ms", name)] = summary.std;
  for (const auto& [percent, value] : summary.percentiles) {
    (*json)[fmt::format("p{}_{}_ms", PercentName(percent), name)] = value;
  }
}

void AddDetails(const BenchRun& run, Json* json) {
  const auto list = [&](const char* key, const auto& of) {
    Json values = Json::array();
    for (const BenchOutcome& outcome : run.outcomes) values.push_back(of(outcome));
    (*json)[key] = std::move(values);
  };
  list("input_lens", [](const BenchOutcome& o) { return o.input_tokens; });
  list("output_lens", [](const BenchOutcome& o) { return o.success ? o.output_tokens : 0; });
  list("ttfts", [](const BenchOutcome& o) { return o.ttft; });
  list("itls", [](const BenchOutcome& o) { return o.itl; });
  list("latencies", [](const BenchOutcome& o) { return o.latency; });
  list("start_times", [](const BenchOutcome& o) { return o.start; });
  list("queue_times", [](const BenchOutcome& o) { return o.queued; });
  list("generated_texts", [](const BenchOutcome& o) { return o.text; });
  list("errors", [](const BenchOutcome& o) { return o.error; });
}

}  // namespace

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = percent / 100 * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(rank);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (rank - std::floor(rank));
}

absl::StatusOr<std::map<std::string, double>> ParseGoodput(const std::vector<std::string>& pairs) {
  std::map<std::string, double> limits;
  for (const std::string& pair : pairs) {
    const size_t colon = pair.find(':');
    const std::string name = pair.substr(0, colon);
    char* end = nullptr;
    const double value =
        colon == std::string::npos ? -1 : std::strtod(pair.c_str() + colon + 1, &end);
    if ((name != "ttft" && name != "tpot" && name != "e2el") || !(value >= 0) || end == nullptr ||
        *end != '\0' || end == pair.c_str() + colon + 1) {
      return InvalidArgument(
          "--goodput '{}': expected ttft, tpot or e2el and milliseconds, as in ttft:500", pair);
    }
    limits[name] = value;
  }
  return limits;
}

BenchMetrics MeasureBench(const BenchRun& run, const std::map<std::string, double>& goodput,
                          const std::vector<double>& percentiles) {
  BenchMetrics metrics;
  std::vector<const BenchOutcome*> good;
  std::vector<double> ttft;
  std::vector<double> tpot;
  std::vector<double> itl;
  std::vector<double> e2el;
  int64_t within = 0;
  for (const BenchOutcome& outcome : run.outcomes) {
    if (!outcome.success) {
      ++metrics.failed;
      continue;
    }
    good.push_back(&outcome);
    metrics.input_tokens += outcome.input_tokens;
    metrics.output_tokens += outcome.output_tokens;
    ttft.push_back(outcome.ttft);
    if (outcome.output_tokens > 1) tpot.push_back(TimePerOutputToken(outcome));
    itl.insert(itl.end(), outcome.itl.begin(), outcome.itl.end());
    e2el.push_back(outcome.latency);
    if (!goodput.empty() && IsGood(outcome, goodput)) ++within;
  }
  metrics.completed = static_cast<int64_t>(good.size());
  const auto per_second = [&](int64_t count) {
    return run.seconds > 0 ? static_cast<double>(count) / run.seconds : 0;
  };
  metrics.request_throughput = per_second(metrics.completed);
  metrics.request_goodput = per_second(within);
  metrics.output_throughput = per_second(metrics.output_tokens);
  metrics.total_token_throughput = per_second(metrics.input_tokens + metrics.output_tokens);
  metrics.max_output_tokens_per_s = good.empty() ? 0 : BestSecond(good);
  metrics.max_concurrent_requests = MostAtOnce(good);
  metrics.ttft = Summarize(ttft, percentiles);
  metrics.tpot = Summarize(tpot, percentiles);
  metrics.itl = Summarize(itl, percentiles);
  metrics.e2el = Summarize(e2el, percentiles);
  return metrics;
}

std::string RenderBench(const BenchMetrics& metrics, const BenchRun& run, const BenchLoad& load,
                        bool with_goodput) {
  std::string text = Title(" Serving Benchmark Result ", '=');
  text += Line("Successful requests:", metrics.completed);
  text += Line("Failed requests:", metrics.failed);
  if (load.max_concurrency > 0) text += Line("Maximum request concurrency:", load.max_concurrency);
  if (!std::isinf(load.request_rate)) {
    text += Line("Request rate configured (RPS):", load.request_rate);
  }
  text += Line("Benchmark duration (s):", run.seconds);
  text += Line("Total input tokens:", metrics.input_tokens);
  text += Line("Total generated tokens:", metrics.output_tokens);
  text += Line("Request throughput (req/s):", metrics.request_throughput);
  if (with_goodput) text += Line("Request goodput (req/s):", metrics.request_goodput);
  text += Line("Output token throughput (tok/s):", metrics.output_throughput);
  text += Line("Peak output token throughput (tok/s):", metrics.max_output_tokens_per_s);
  text += Line("Peak concurrent requests:", metrics.max_concurrent_requests);
  text += Line("Total token throughput (tok/s):", metrics.total_token_throughput);
  text += RenderSummary("Time to First Token", "TTFT", metrics.ttft);
  text += RenderSummary("Time per Output Token (excl. 1st token)", "TPOT", metrics.tpot);
  text += RenderSummary("Inter-token Latency", "ITL", metrics.itl);
  text += RenderSummary("End-to-end Latency", "E2EL", metrics.e2el);
  return text + std::string(50, '=') + "\n";
}

Json BenchJson(const BenchMetrics& metrics, const BenchRun& run, const BenchLoad& load,
               bool with_goodput, bool detailed) {
  Json json;
  json["model_id"] = load.model;
  json["num_prompts"] = run.outcomes.size();
  json["request_rate"] = std::isinf(load.request_rate) ? Json("inf") : Json(load.request_rate);
  json["burstiness"] = load.burstiness;
  json["max_concurrency"] = load.max_concurrency > 0 ? Json(load.max_concurrency) : Json(nullptr);
  json["duration"] = run.seconds;
  json["completed"] = metrics.completed;
  json["failed"] = metrics.failed;
  json["total_input_tokens"] = metrics.input_tokens;
  json["total_output_tokens"] = metrics.output_tokens;
  json["request_throughput"] = metrics.request_throughput;
  json["request_goodput"] = with_goodput ? Json(metrics.request_goodput) : Json(nullptr);
  json["output_throughput"] = metrics.output_throughput;
  json["total_token_throughput"] = metrics.total_token_throughput;
  if (detailed) AddDetails(run, &json);
  json["max_output_tokens_per_s"] = metrics.max_output_tokens_per_s;
  json["max_concurrent_requests"] = metrics.max_concurrent_requests;
  AddSummary("ttft", metrics.ttft, &json);
  AddSummary("tpot", metrics.tpot, &json);
  AddSummary("itl", metrics.itl, &json);
  AddSummary("e2el", metrics.e2el, &json);
  return json;
}

}  // namespace folkmoot
