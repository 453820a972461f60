// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/bench_serve.h"

#include <fmt/chrono.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>

#include "CLI/CLI.hpp"
#include "launch/commands/bench_serve_load.h"
#include "launch/commands/bench_serve_prompts.h"
#include "launch/commands/bench_serve_report.h"
#include "launch/progress_bar.h"
#include "launch/terminal.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

constexpr size_t kShownErrors = 10;

struct ServeBenchOptions {
  BenchDataset dataset;
  BenchLoad load;
  std::string backend = "openai";
  std::string base_url;
  std::string host = "127.0.0.1";
  uint16_t port = 8000;
  std::string api_key;
  std::vector<std::string> headers;
  std::string request_rate = "inf";
  std::vector<std::string> goodput;
  std::vector<double> percentiles = {99};
  int64_t warm_ups = 0;
  bool json = false;
  bool save_result = false;
  bool save_detailed = false;
  std::string result_dir;
  std::string result_filename;
};

absl::StatusOr<double> ParseRate(const std::string& text) {
  char* end = nullptr;
  const double rate = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(rate > 0)) {
    return UsageError(fmt::format("--request-rate '{}': expected 'inf' or more than 0", text));
  }
  return rate;
}

// Fills load.server, headers and model from the flags and, for the model, from the server.
absl::Status Complete(ServeBenchOptions& options) {
  BenchLoad& load = options.load;
  const bool v6 = options.host.find(':') != std::string::npos;
  FM_ASSIGN_OR_RETURN(
      load.server,
      ParseHttpUrl(options.base_url.empty()
                       ? fmt::format(fmt::runtime(v6 ? "http://[{}]:{}" : "http://{}:{}"),
                                     options.host, options.port)
                       : options.base_url));
  FM_ASSIGN_OR_RETURN(load.request_rate, ParseRate(options.request_rate));
  for (const std::string& header : options.headers) {
    const size_t equals = header.find('=');
    if (equals == std::string::npos || header.find_first_of("\r\n") != std::string::npos) {
      return UsageError(fmt::format("--header '{}': expected KEY=VALUE", header));
    }
    load.headers.emplace_back(header.substr(0, equals), header.substr(equals + 1));
  }
  if (options.api_key.empty() && std::getenv("OPENAI_API_KEY") != nullptr) {
    options.api_key = std::getenv("OPENAI_API_KEY");
  }
  if (!options.api_key.empty()) {
    load.headers.emplace_back("Authorization", "Bearer " + options.api_key);
  }
  if (options.backend == "openai-chat" && !IsChat(load.endpoint)) {
    load.endpoint = "/v1/chat/completions";
  }
  options.dataset.as_text = IsChat(load.endpoint);
  load.seed = options.dataset.seed;
  if (load.model.empty()) {
    FM_ASSIGN_OR_RETURN(load.model, FirstModel(load));
  }
  return absl::OkStatus();
}

// One request that must succeed before the clock runs, and then as many as asked for.
absl::Status WarmUp(const ServeBenchOptions& options, const std::vector<BenchPrompt>& prompts) {
  const auto count = static_cast<size_t>(1 + options.warm_ups);
  std::vector<BenchPrompt> first;
  for (size_t i = 0; i < count; ++i) first.push_back(prompts[i % prompts.size()]);
  BenchLoad load = options.load;
  load.request_rate = INFINITY;
  load.max_concurrency = options.load.max_concurrency > 0 ? options.load.max_concurrency : 1;
  FM_ASSIGN_OR_RETURN(const BenchRun run, RunBenchLoad(load, first, [](int64_t) {}));
  if (run.outcomes[0].success) return absl::OkStatus();
  return Unavailable("the first request to {}:{}{} failed: {}", load.server.host, load.server.port,
                     load.endpoint, run.outcomes[0].error);
}

std::string ResultPath(const ServeBenchOptions& options, const std::string& date) {
  std::string name = options.result_filename;
  if (name.empty()) {
    const std::string model = options.load.model.substr(options.load.model.rfind('/') + 1);
    const std::string concurrency =
        options.load.max_concurrency > 0
            ? fmt::format("-concurrency{}", options.load.max_concurrency)
            : "";
    name = fmt::format("{}-{}qps{}-{}-{}.json", options.backend, options.request_rate, concurrency,
                       model, date);
  }
  return options.result_dir.empty() ? name
                                    : (std::filesystem::path(options.result_dir) / name).string();
}

absl::Status Save(const ServeBenchOptions& options, const nlohmann::ordered_json& result) {
  std::time_t now = std::time(nullptr);
  const std::string date = fmt::format("{:%Y%m%d-%H%M%S}", fmt::localtime(now));
  nlohmann::ordered_json all = {
      {"date", date}, {"backend", options.backend}, {"endpoint_type", options.backend}};
  all.update(result);
  if (!options.result_dir.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options.result_dir, error);
  }
  const std::string path = ResultPath(options, date);
  std::ofstream file(path);
  file << all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) return Unavailable("{}: cannot be written", path);
  fmt::print(stderr, "saved {}\n", path);
  return absl::OkStatus();
}

void ShowErrors(const BenchRun& run) {
  size_t shown = 0;
  for (const BenchOutcome& outcome : run.outcomes) {
    if (outcome.success || shown++ >= kShownErrors) continue;
    fmt::print(stderr, "failed request: {}\n", outcome.error);
  }
  if (shown > kShownErrors) fmt::print(stderr, "... and {} more\n", shown - kShownErrors);
}

absl::Status RunServeBench(ServeBenchOptions options) {
  FM_ASSIGN_OR_RETURN(const auto goodput, ParseGoodput(options.goodput));
  FM_RETURN_IF_ERROR(Complete(options));
  FM_ASSIGN_OR_RETURN(const auto prompts, MakeBenchPrompts(options.dataset));
  FM_RETURN_IF_ERROR(WarmUp(options, prompts));
  BenchRun run;
  {
    ProgressBar progress(
        {.label = "bench serve", .total = options.dataset.prompts, .unit = "requests"},
        DetectTerminal(STDERR_FILENO));
    FM_ASSIGN_OR_RETURN(
        run, RunBenchLoad(options.load, prompts, [&](int64_t done) { progress.Update(done); }));
    progress.Finish();
  }
  ShowErrors(run);
  const BenchMetrics metrics = MeasureBench(run, goodput, options.percentiles);
  if (options.json) {
    fmt::print("{}\n", BenchJson(metrics, run, options.load, !goodput.empty(), false).dump());
  } else {
    fmt::print("{}", RenderBench(metrics, run, options.load, !goodput.empty()));
  }
  if (options.save_result || !options.result_filename.empty()) {
    FM_RETURN_IF_ERROR(Save(
        options, BenchJson(metrics, run, options.load, !goodput.empty(), options.save_detailed)));
  }
  if (metrics.completed == 0) return Unavailable("no request of {} succeeded", metrics.failed);
  return absl::OkStatus();
}

void AddDatasetFlags(CLI::App& app, BenchDataset* dataset) {
  const auto positive = CLI::PositiveNumber;
  app.add_option("--dataset-name", dataset->name, "what to ask for")
      ->check(CLI::IsMember({"random", "prefix_repetition", "sharegpt", "custom"}));
  app.add_option("--dataset-path", dataset->path, "file of sharegpt (JSON) or custom (JSONL)");
  app.add_option("--num-prompts", dataset->prompts, "requests")->check(positive);
  app.add_option("--seed", dataset->seed, "of lengths, tokens and arrivals");
  app.add_option("--vocab-size", dataset->vocab, "random token ids stay below it")->check(positive);
  app.add_option("--random-input-len,--input-len", dataset->input_len, "tokens of random prompts")
      ->check(positive);
  app.add_option("--random-output-len,--output-len", dataset->output_len, "tokens asked for")
      ->check(positive);
  app.add_option("--random-prefix-len", dataset->prefix_len, "tokens that random prompts share")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--random-range-ratio", dataset->range_ratio, "lengths vary by this part")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--prefix-repetition-prefix-len", dataset->repetition_prefix_len, "tokens")
      ->check(positive);
  app.add_option("--prefix-repetition-suffix-len", dataset->repetition_suffix_len, "tokens")
      ->check(positive);
  app.add_option("--prefix-repetition-num-prefixes", dataset->repetition_prefixes, "prefixes")
      ->check(positive);
  app.add_option("--prefix-repetition-output-len", dataset->repetition_output_len, "tokens")
      ->check(positive);
  app.add_option("--sharegpt-output-len,--custom-output-len", dataset->file_output_len,
                 "tokens asked for, instead of the file's")
      ->check(positive);
}

void AddLoadFlags(CLI::App& app, ServeBenchOptions* options) {
  app.add_option("--backend", options->backend, "openai-chat: /v1/chat/completions")
      ->check(CLI::IsMember({"openai", "openai-chat", "vllm"}));
  app.add_option("--base-url", options->base_url, "http://host:port, instead of the next two");
  app.add_option("--host", options->host, "of the server");
  app.add_option("--port", options->port, "of the server");
  app.add_option("--endpoint", options->load.endpoint, "/v1/completions, /v1/chat/completions");
  app.add_option("--model", options->load.model, "default: the first of GET /v1/models");
  app.add_option("--api-key", options->api_key, "default: OPENAI_API_KEY of the environment");
  app.add_option("--header", options->headers, "KEY=VALUE, with every request");
  app.add_option("--extra-body", options->load.extra_body, "JSON object added to every request");
  app.add_flag("--ignore-eos", options->load.ignore_eos, "ask for exactly the output length");
  app.add_option("--request-rate", options->request_rate, "requests per second, or inf");
  app.add_option("--burstiness", options->load.burstiness, "1: Poisson; less: burstier")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-concurrency", options->load.max_concurrency, "requests under way")
      ->check(CLI::PositiveNumber);
  app.add_option("--num-warmups", options->warm_ups, "requests before the clock runs")
      ->check(CLI::NonNegativeNumber);
}

void AddReportFlags(CLI::App& app, ServeBenchOptions* options) {
  app.add_option("--goodput", options->goodput, "limits in ms: ttft:500 tpot:50 e2el:9000");
  app.add_option("--metric-percentiles", options->percentiles, "such as 50,90,99")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 100.0));
  app.add_flag("--json", options->json, "print one JSON object instead of the table");
  app.add_flag("--save-result", options->save_result, "write a JSON file");
  app.add_flag("--save-detailed", options->save_detailed, "with the times of every request");
  app.add_option("--result-dir", options->result_dir, "folder of the file");
  app.add_option("--result-filename", options->result_filename, "name of the file");
}

}  // namespace

Command MakeBenchServe(CLI::App& bench) {
  auto options = std::make_shared<ServeBenchOptions>();
  CLI::App* app =
      bench.add_subcommand("serve", "load on a running server, as vllm bench serve makes it");
  AddLoadFlags(*app, options.get());
  AddDatasetFlags(*app, &options->dataset);
  AddReportFlags(*app, options.get());
  return {.app = app, .run = [options] { return RunServeBench(*options); }};
}

}  // namespace folkmoot
