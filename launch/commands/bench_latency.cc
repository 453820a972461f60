// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/bench_latency.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "CLI/CLI.hpp"
#include "launch/launcher.h"
#include "launch/progress_bar.h"
#include "launch/table.h"
#include "launch/terminal.h"
#include "nlohmann/json.hpp"
#include "runtime/random.h"

namespace folkmoot {
namespace {

constexpr int kPercentiles[] = {10, 25, 50, 75, 90, 99};

struct LatencyOptions {
  EngineOptions engine;
  int64_t input_len = 32;
  int64_t output_len = 128;
  int64_t batch_size = 8;
  int warm_up = 2;
  int iterations = 10;
  uint64_t seed = 0;
  bool json = false;
};

Request RandomRequest(const LatencyOptions& options, int64_t vocab, int64_t index) {
  Request request;
  for (int64_t t = 0; t < options.input_len; ++t) {
    const DrawKey key = {.seed = options.seed,
                         .stream = static_cast<uint64_t>(index),
                         .position = static_cast<uint32_t>(t)};
    const auto token = static_cast<int32_t>(DrawUniform(key, 0) * static_cast<float>(vocab));
    request.prompt.push_back(std::min(token, static_cast<int32_t>(vocab - 1)));
  }
  request.max_tokens = options.output_len;
  request.sampling.temperature = 0;
  request.prefix_cache = false;
  return request;
}

absl::StatusOr<double> OneBatch(const LatencyOptions& options, Engine& engine, int64_t vocab) {
  std::string error;
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < options.batch_size; ++i) {
    FM_RETURN_IF_ERROR(engine.Submit(RandomRequest(options, vocab, i)).status());
  }
  FM_RETURN_IF_ERROR(engine.Drain([&](const RequestEvent& event) {
    if (event.result != nullptr && !event.result->error.empty()) error = event.result->error;
  }));
  if (!error.empty()) return DataLoss("a request failed: {}", error);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Between the nearest two, as numpy does.
double Percentile(const std::vector<double>& sorted, double percent) {
  const double at = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}

void Print(const LatencyOptions& options, std::vector<double> seconds) {
  const double average =
      std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
  const std::vector<double> as_measured = seconds;
  std::sort(seconds.begin(), seconds.end());
  if (options.json) {
    nlohmann::ordered_json out = {{"avg_latency", average}, {"latencies", as_measured}};
    for (const int p : kPercentiles) {
      out["percentiles"][std::to_string(p)] = Percentile(seconds, p);
    }
    fmt::print("{}\n", out.dump());
    return;
  }
  KeyValues table;
  table.Add("requests at once", FormatCount(options.batch_size));
  table.Add("tokens in, out", fmt::format("{}, {} each", options.input_len, options.output_len));
  table.Add("average latency", FormatSeconds(average));
  for (const int p : kPercentiles) {
    table.Add(fmt::format("{} % percentile", p), FormatSeconds(Percentile(seconds, p)));
  }
  fmt::print("{}", table.Render(DetectTerminal(STDOUT_FILENO)));
}

absl::Status Run(const LatencyOptions& options) {
  return RunWithEngine(options.engine, [&](Engine& engine, LoadedRank& rank) -> absl::Status {
    std::vector<double> seconds;
    ProgressBar bar(
        {.label = "Measuring", .total = options.warm_up + options.iterations, .unit = "batches"},
        DetectTerminal(STDERR_FILENO));
    for (int i = 0; i < options.warm_up + options.iterations; ++i) {
      FM_ASSIGN_OR_RETURN(const double s, OneBatch(options, engine, rank.config().vocab));
      if (i >= options.warm_up) seconds.push_back(s);
      bar.Update(i + 1);
    }
    bar.Finish();
    Print(options, seconds);
    return absl::OkStatus();
  });
}

}  // namespace

Command MakeBenchLatency(CLI::App& bench) {
  auto options = std::make_shared<LatencyOptions>();
  CLI::App* app = bench.add_subcommand("latency", "time of a batch of requests, start to end");
  AddEngineFlags(*app, &options->engine);
  app->add_option("--input-len", options->input_len, "tokens of each prompt")
      ->check(CLI::PositiveNumber);
  app->add_option("--output-len", options->output_len, "tokens to generate for each")
      ->check(CLI::PositiveNumber);
  app->add_option("--batch-size", options->batch_size, "requests at once")
      ->check(CLI::PositiveNumber);
  app->add_option("--num-iters-warmup", options->warm_up, "batches before the measured ones")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--num-iters", options->iterations, "measured batches")
      ->check(CLI::PositiveNumber);
  app->add_option("--seed", options->seed, "of the random prompts");
  app->add_flag("--json", options->json, "one JSON object with vLLM's keys");
  return {.app = app, .run = [options] { return Run(*options); }};
}

}  // namespace folkmoot
