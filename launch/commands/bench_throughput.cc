// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/bench_throughput.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <utility>

#include "CLI/CLI.hpp"
#include "launch/gpu/gpu_bench.h"
#include "launch/launcher.h"
#include "launch/parallelism.h"
#include "launch/roofline.h"
#include "launch/table.h"
#include "launch/terminal.h"
#include "nlohmann/json.hpp"
#include "runtime/machine_probe.h"
#include "runtime/quant/round_to_nearest.h"

namespace folkmoot {
namespace {

struct ThroughputOptions {
  EngineOptions engine;
  std::vector<int64_t> prefill = {64, 512};
  std::vector<int64_t> decode = {1, 8, 32};
  int64_t decode_tokens = 32;
  int64_t decode_context = 32;
  int repetitions = 3;
  bool json = false;
};

struct Measurement {
  std::string phase;  // "prefill" or "decode"
  int64_t size = 0;   // prompt length, or batch
  double tokens_per_second = 0;
  double spread = 0;         // (greatest - least) / median of the repetitions
  double fraction = 0;       // of the roofline measured in the same run
  double read_fraction = 0;  // weights and cache read per second over the measured bandwidth
  double overhead = 0;       // of the time of its steps, spent outside the model
  SpeculationCounts guesses;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// Runs requests and yardsticks in turn, so that both see the same machine.
class ThroughputBench {
 public:
  ThroughputBench(const ThroughputOptions& options, Engine& engine, LoadedRank& rank)
      : options_(options), engine_(engine), rank_(rank) {
    const DType dtype = WeightDType(options.engine).value_or(rank.config().dtype);
    weights_ = DTypeName(dtype);
    step_weights_.bytes_per_weight = static_cast<double>(DTypeBytes(dtype));
    DType plain = dtype;
    bool integers = false;
    if (rank.stored_codes() && !WeightDType(options.engine)) {
      weights_ = rank.stored_codes()->type;
      step_weights_.bytes_per_weight = rank.stored_codes()->bytes_per_weight;
      integers = rank.stored_codes()->integers;
      plain = DType::kF32;
    }
    if (const auto spec = CodeSpecNamed(options.engine.quantization)) {
      weights_ = options.engine.quantization;
      step_weights_.bytes_per_weight = BytesPerWeight(*spec);
      integers = spec->type != CodeType::kFp8;
      plain = DType::kF32;
    }
    if (rank.gpu()) return;
    products_ = ProductsOf(integers, plain, RulesOf(options.engine));
  }

  absl::Status Run() {
    FM_ASSIGN_OR_RETURN(step_weights_.dense, DenseWeights(rank_.config()));
    FM_RETURN_IF_ERROR(WarmUp());
    const size_t cells = options_.prefill.size() + options_.decode.size();
    std::vector<std::vector<double>> seconds(cells);
    spent_.assign(cells, {});
    for (int r = 0; r < options_.repetitions; ++r) {
      FM_RETURN_IF_ERROR(MeasureMachine());
      size_t cell = 0;
      for (const int64_t length : options_.prefill) {
        FM_ASSIGN_OR_RETURN(const double s, Timed(cell, 1, length, 1));
        seconds[cell++].push_back(s);
      }
      for (const int64_t batch : options_.decode) {
        FM_ASSIGN_OR_RETURN(const double s,
                            Timed(cell, batch, options_.decode_context, options_.decode_tokens));
        seconds[cell++].push_back(s);
      }
      fmt::print(stderr, "bench: repetition {} of {} done\n", r + 1, options_.repetitions);
    }
    size_t cell = 0;
    for (const int64_t length : options_.prefill) {
      Add("prefill", length, seconds[cell], cell);
      ++cell;
    }
    for (const int64_t batch : options_.decode) {
      Add("decode", batch, seconds[cell], cell);
      ++cell;
    }
    return absl::OkStatus();
  }

  void Print() const {
    if (options_.json) {
      nlohmann::ordered_json rows = nlohmann::ordered_json::array();
      for (const Measurement& m : measurements_) {
        rows.push_back({{"phase", m.phase},
                        {"size", m.size},
                        {"tokens_per_second", m.tokens_per_second},
                        {"spread", m.spread},
                        {"roofline_fraction", m.fraction},
                        {"read_bandwidth_fraction", m.read_fraction},
                        {"engine_overhead", m.overhead}});
        if (!engine_.scheduler().speculates()) continue;
        rows.back()["speculation"] = {{"drafted", m.guesses.drafted},
                                      {"accepted", m.guesses.accepted}};
      }
      const nlohmann::ordered_json out = {{"model", options_.engine.model},
                                          {"device", rank_.gpu() ? rank_.gpu()->name : "cpu"},
                                          {"weights", weights_},
                                          {"ranks", rank_.ranks()},
                                          {"parallelism", ParallelismName(rank_.tensor_parallel())},
                                          {"threads", rank_.pool().threads()},
                                          {"read_bytes_per_second", Median(bandwidth_)},
                                          {"fma_flops_per_second", Median(peak_)},
                                          {"products", ProductKindName(products_)},
                                          {"product_ops_per_second", Median(product_peak_)},
                                          {"measurements", rows}};
      fmt::print("{}\n", out.dump());
      return;
    }
    fmt::print(
        "weights {}, {} rank(s){} x {}; this machine in the same run: read {}/s, {} {} "
        "GFLOP/s{}\n\n",
        weights_, rank_.ranks(), rank_.tensor_parallel() ? " tensor-parallel" : "",
        rank_.gpu() ? rank_.gpu()->name : fmt::format("{} thread(s)", rank_.pool().threads()),
        FormatBytes(Median(bandwidth_)), rank_.gpu() ? "matrix units" : "fma",
        FormatNumber(Median(peak_) / 1e9),
        products_ == ProductKind::kFloats ? ""
                                          : fmt::format(", {} {} Gop/s", ProductKindName(products_),
                                                        FormatNumber(Median(product_peak_) / 1e9)));
    Table table({{"phase"},
                 {"size", Align::kRight},
                 {"tokens/s", Align::kRight},
                 {"spread", Align::kRight},
                 {"of roofline", Align::kRight},
                 {"of read bandwidth", Align::kRight},
                 {"outside the model", Align::kRight}});
    for (const Measurement& m : measurements_) {
      table.AddRow({m.phase, FormatCount(m.size), FormatNumber(m.tokens_per_second),
                    fmt::format("{:.0f} %", 100 * m.spread), fmt::format("{:.2f}", m.fraction),
                    m.phase == "decode" ? fmt::format("{:.2f}", m.read_fraction) : "-",
                    fmt::format("{:.2f} %", 100 * m.overhead)});
    }
    fmt::print("{}", table.Render(DetectTerminal(STDOUT_FILENO)));
    if (!engine_.scheduler().speculates()) return;
    for (const Measurement& m : measurements_) {
      if (m.phase != "decode") continue;
      fmt::print("decode {}: {} of {} guesses accepted\n", FormatCount(m.size),
                 FormatCount(m.guesses.accepted), FormatCount(m.guesses.drafted));
    }
  }

 private:
  // The largest steps once, so that none of those measured takes memory from the system.
  absl::Status WarmUp() {
    const auto largest = [](const std::vector<int64_t>& sizes) {
      return sizes.empty() ? 1 : *std::max_element(sizes.begin(), sizes.end());
    };
    FM_RETURN_IF_ERROR(Seconds(1, largest(options_.prefill), 1).status());
    return Seconds(largest(options_.decode), options_.decode_context, 3).status();
  }

  absl::Status MeasureMachine() {
    if (!rank_.gpu()) {
      bandwidth_.push_back(MeasureReadBandwidth(rank_.pool()));
      peak_.push_back(MeasurePeak(rank_.pool(), ProductKind::kFloats));
      product_peak_.push_back(
          products_ == ProductKind::kFloats ? peak_.back() : MeasurePeak(rank_.pool(), products_));
      return absl::OkStatus();
    }
    FM_ASSIGN_OR_RETURN(const GpuRates rates, MeasureGpu());
    bandwidth_.push_back(rates.read_bytes_per_second);
    peak_.push_back(rates.flops_per_second);
    product_peak_.push_back(rates.flops_per_second);
    return absl::OkStatus();
  }

  // Seconds that steps took, and those of them outside the model.
  struct Spent {
    double total = 0;
    double outside = 0;
    SpeculationCounts guesses;
  };

  absl::StatusOr<double> Timed(size_t cell, int64_t batch, int64_t prompt, int64_t max_tokens) {
    const StepSeconds before = engine_.stats().seconds;
    const SpeculationCounts guesses = engine_.scheduler().speculation();
    FM_ASSIGN_OR_RETURN(const double seconds, Seconds(batch, prompt, max_tokens));
    const StepSeconds& after = engine_.stats().seconds;
    const double total = after.total - before.total;
    spent_[cell].total += total;
    spent_[cell].outside += total - (after.model - before.model);
    const SpeculationCounts& now = engine_.scheduler().speculation();
    spent_[cell].guesses.drafted += now.drafted - guesses.drafted;
    spent_[cell].guesses.accepted += now.accepted - guesses.accepted;
    return seconds;
  }

  // Seconds of a median step that computes one token for each of `batch` sequences, or, with
  // max_tokens 1, of the whole prefill. With guesses, where steps give different numbers of tokens,
  // seconds of all steps for as many tokens as that.
  absl::StatusOr<double> Seconds(int64_t batch, int64_t prompt, int64_t max_tokens) {
    for (int64_t i = 0; i < batch; ++i) {
      Request request;
      for (int64_t t = 0; t < prompt; ++t) {
        request.prompt.push_back(
            static_cast<int32_t>(random_() % static_cast<uint64_t>(rank_.config().vocab)));
      }
      request.max_tokens = max_tokens;
      request.sampling.temperature = 0;
      FM_RETURN_IF_ERROR(engine_.Submit(std::move(request)).status());
    }
    std::vector<double> steps;
    double prefill = 0;
    double decode = 0;
    int64_t decoded = 0;
    while (!engine_.idle()) {
      int64_t sampled = 0;
      int64_t sequences = 0;
      int64_t last = -1;
      const auto begin = std::chrono::steady_clock::now();
      FM_RETURN_IF_ERROR(engine_.Step([&](const RequestEvent& event) {
        if (event.result->token < 0) return;
        ++sampled;
        sequences += std::exchange(last, event.id) == event.id ? 0 : 1;
      }));
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      prefill += seconds;
      if (sequences != batch) continue;
      decode += steps.empty() ? 0 : seconds;  // the first ends the prefill
      decoded += steps.empty() ? 0 : sampled;
      steps.push_back(seconds);
    }
    if (max_tokens == 1) return prefill;
    if (engine_.scheduler().speculates() && decoded > 0) {
      return decode / static_cast<double>(decoded) * static_cast<double>(batch);
    }
    if (steps.size() > 1) steps.erase(steps.begin());  // ends the prefill
    return steps.empty() ? prefill : Median(steps);
  }

  void Add(const char* phase, int64_t size, const std::vector<double>& seconds, size_t cell) {
    const bool decode = std::string_view(phase) == "decode";
    const SequenceBytes kept = {.per_token = rank_.cache_bytes_per_token(),
                                .state = rank_.state_bytes_per_sequence()};
    const StepCost cost =
        decode ? CostOfDecode(rank_.config(), step_weights_, kept, size, options_.decode_context)
               : CostOfPrefill(rank_.config(), step_weights_, size);
    const MachineRates rates = {
        .bytes = Median(bandwidth_), .operations = Median(product_peak_), .flops = Median(peak_)};
    const double median = Median(seconds);
    const auto [least, greatest] = std::minmax_element(seconds.begin(), seconds.end());
    measurements_.push_back({.phase = phase,
                             .size = size,
                             .tokens_per_second = static_cast<double>(size) / median,
                             .spread = (*greatest - *least) / median,
                             .fraction = BestSeconds(cost, rates) / median,
                             .read_fraction = cost.bytes / median / Median(bandwidth_),
                             .overhead = spent_[cell].outside / spent_[cell].total,
                             .guesses = spent_[cell].guesses});
  }

  const ThroughputOptions& options_;
  Engine& engine_;
  LoadedRank& rank_;
  std::string weights_;  // what is in memory: "BF16", "q8_0"
  StepWeights step_weights_;
  ProductKind products_ = ProductKind::kFloats;
  std::mt19937 random_{1};
  std::vector<double> bandwidth_;
  std::vector<double> peak_;
  std::vector<double> product_peak_;  // of products_
  std::vector<Spent> spent_;          // by cell
  std::vector<Measurement> measurements_;
};

absl::Status Throughput(const ThroughputOptions& options) {
  return RunWithEngine(options.engine, [&](Engine& engine, LoadedRank& rank) -> absl::Status {
    ThroughputBench bench(options, engine, rank);
    FM_RETURN_IF_ERROR(bench.Run());
    bench.Print();
    return absl::OkStatus();
  });
}

}  // namespace

Command MakeBenchThroughput(CLI::App& bench) {
  auto options = std::make_shared<ThroughputOptions>();
  CLI::App* command = bench.add_subcommand("throughput", "tokens per second of prefill and decode");
  AddEngineFlags(*command, &options->engine);
  command->add_option("--prefill", options->prefill, "prompt lengths: 64,512")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  command->add_option("--decode", options->decode, "batch sizes: 1,8,32")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  command->add_option("--decode-tokens", options->decode_tokens, "tokens per sequence")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20));
  command->add_option("--decode-context", options->decode_context, "prompt of those sequences")
      ->check(CLI::PositiveNumber);
  command->add_option("--repetitions", options->repetitions, "of the whole set, interleaved")
      ->check(CLI::Range(1, 1000));
  command->add_flag("--json", options->json, "print one JSON object");
  return {.app = command, .run = [options] { return Throughput(*options); }};
}

}  // namespace folkmoot
