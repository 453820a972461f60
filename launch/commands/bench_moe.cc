// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/bench_moe.h"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "CLI/CLI.hpp"
#include "launch/gpu/gpu_bench.h"
#include "launch/table.h"
#include "launch/terminal.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

// Of one layer of published models.
std::vector<MoeBenchShape> KnownShapes() {
  std::vector<MoeBenchShape> shapes(3);
  shapes[0] = {.name = "mixtral-8x7b", .hidden = 4096, .intermediate = 14336};
  shapes[1] = {.name = "qwen3-30b-a3b", .hidden = 2048, .intermediate = 768};
  shapes[2] = {
      .name = "deepseek-v3", .hidden = 7168, .intermediate = 2048, .shared_intermediate = 2048};
  shapes[0].gate.num_experts = 8;
  shapes[0].gate.top_k = 2;
  shapes[1].gate.num_experts = 128;
  shapes[1].gate.top_k = 8;
  for (size_t i : {size_t{0}, size_t{1}}) shapes[i].gate.normalize = Normalize::kBeforeDrop;
  GateConfig& deepseek = shapes[2].gate;
  deepseek.num_experts = 256;
  deepseek.top_k = 8;
  deepseek.score_fn = ScoreFn::kSigmoid;
  deepseek.n_group = 8;
  deepseek.topk_group = 4;
  deepseek.group_score = GroupScore::kSumTop2;
  deepseek.normalize = Normalize::kBeforeDrop;
  deepseek.scale = 2.5;
  deepseek.shared = true;
  return shapes;
}

struct BenchMoeFlags {
  std::string device = "cuda";
  std::string shape = "qwen3-30b-a3b";
  std::vector<int> tokens = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
  std::string dtype = "bfloat16";
  double seconds = 0.2;
  bool fp8_experts = false;
  bool batch_invariant = false;
  bool json = false;
};

// The time that weights and rows take to be read, or the products to be computed, at the rates that
// were measured.
double BestMoeSeconds(const MoeBenchReport& report, const MoeBenchPoint& point) {
  return std::max(point.bytes / report.read_bytes_per_second,
                  point.flops / report.flops_per_second);
}

nlohmann::json ToJson(const BenchMoeFlags& flags, const MoeBenchReport& report) {
  nlohmann::json json = {{"shape", flags.shape},
                         {"device", report.device},
                         {"dtype", flags.dtype},
                         {"fp8_experts", flags.fp8_experts},
                         {"batch_invariant", flags.batch_invariant},
                         {"layers_measured", report.layers},
                         {"read_bytes_per_second", report.read_bytes_per_second},
                         {"flops_per_second", report.flops_per_second},
                         {"points", nlohmann::json::array()}};
  for (const MoeBenchPoint& point : report.points) {
    json["points"].push_back({{"tokens", point.tokens},
                              {"seconds", point.seconds},
                              {"best_seconds", BestMoeSeconds(report, point)},
                              {"experts_touched", point.touched},
                              {"bytes", point.bytes},
                              {"flops", point.flops},
                              {"kernels_per_layer", point.kernels}});
  }
  return json;
}

std::string ToTable(const BenchMoeFlags& flags, const MoeBenchReport& report) {
  Table table({{"tokens", Align::kRight},
               {"time", Align::kRight},
               {"best", Align::kRight},
               {"of best", Align::kRight},
               {"experts", Align::kRight},
               {"GB/s", Align::kRight},
               {"TFLOP/s", Align::kRight},
               {"kernels", Align::kRight}});
  for (const MoeBenchPoint& point : report.points) {
    const double best = BestMoeSeconds(report, point);
    table.AddRow({fmt::format("{}", point.tokens), fmt::format("{:.1f} us", point.seconds * 1e6),
                  fmt::format("{:.1f} us", best * 1e6),
                  fmt::format("{:.0f} %", 100 * best / point.seconds),
                  fmt::format("{:.1f}", point.touched),
                  fmt::format("{:.0f}", point.bytes / point.seconds * 1e-9),
                  fmt::format("{:.1f}", point.flops / point.seconds * 1e-12),
                  fmt::format("{:.1f}", point.kernels)});
  }
  return fmt::format(
      "{} on {}, {}{}: norm, router, gate, experts and combine of one layer ({} measured in turn)\n"
      "best: weights and rows once at {:.0f} GB/s, as reading reaches here, or the products at "
      "{:.1f} "
      "TFLOP/s, the rate of its matrix units\n{}",
      flags.shape, report.device, flags.dtype, flags.fp8_experts ? ", experts in FP8" : "",
      report.layers, report.read_bytes_per_second * 1e-9, report.flops_per_second * 1e-12,
      table.Render(DetectTerminal(STDOUT_FILENO)));
}

absl::Status RunBenchMoe(const BenchMoeFlags& flags) {
  if (flags.device == "cpu") {
    return UsageError("bench moe measures GPUs; `bench throughput` measures a model on the CPU");
  }
  MoeBenchOptions options;
  const std::vector<MoeBenchShape> shapes = KnownShapes();
  options.shape = *std::find_if(shapes.begin(), shapes.end(), [&](const MoeBenchShape& shape) {
    return shape.name == flags.shape;
  });
  if (flags.fp8_experts && flags.dtype == "float32") {
    return UsageError("--fp8-experts: products of codes have inputs of 16 bits: --dtype bfloat16");
  }
  options.tokens = flags.tokens;
  options.dtype = flags.dtype == "float32"   ? DType::kF32
                  : flags.dtype == "float16" ? DType::kF16
                                             : DType::kBF16;
  options.fp8_experts = flags.fp8_experts;
  options.batch_invariant = flags.batch_invariant;
  options.seconds = flags.seconds;
  FM_ASSIGN_OR_RETURN(const MoeBenchReport report, BenchGpuMoe(options));
  fmt::print("{}\n", flags.json ? ToJson(flags, report).dump() : ToTable(flags, report));
  return absl::OkStatus();
}

}  // namespace

Command MakeBenchMoe(CLI::App& bench) {
  auto flags = std::make_shared<BenchMoeFlags>();
  CLI::App* command =
      bench.add_subcommand("moe", "one MoE layer of a published shape on the GPU, random weights");
  command->add_option("--device", flags->device, "where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  std::vector<std::string> names;
  for (const MoeBenchShape& shape : KnownShapes()) names.push_back(shape.name);
  command->add_option("--shape", flags->shape, "whose layer")->check(CLI::IsMember(names));
  command->add_option("--tokens", flags->tokens, "tokens per step, one line each: 1,8,64")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--dtype", flags->dtype, "type of the weights")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  command->add_flag("--fp8-experts", flags->fp8_experts,
                    "weights of experts as FP8 codes; the others as --dtype says");
  command->add_option("--seconds", flags->seconds, "of measurement per line, about")
      ->check(CLI::PositiveNumber);
  command->add_flag("--batch-invariant", flags->batch_invariant,
                    "only kernels whose results do not depend on the other rows of a step");
  command->add_flag("--json", flags->json, "print one JSON object");
  return {.app = command, .run = [flags] { return RunBenchMoe(*flags); }};
}

}  // namespace folkmoot
