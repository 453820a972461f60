// SPDX-License-Identifier: Apache-2.0
// step_bench [threads] [f32|bf16|f16|q8_0|q4_0|mxfp4|fp8] [sequences] [rows] [context] [rounds]
//
// Runs the kernels of a decode step (rows = 1) or prefill (one sequence, rows > 1), interleaved
// with the read-bandwidth and multiply-add probes, so that both see the same state of the machine.
// Prints medians: tokens/s, weight bytes read per second as a fraction of the probe, operations as
// a fraction of the peak of their kind.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "benchmarks/bench_model.h"
#include "runtime/machine_probe.h"

namespace folkmoot {
namespace {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Multiply-adds of the matrices for one token (the head apart), times two.
double OperationsPerToken() {
  using M = BenchModel;
  const double attention =
      static_cast<double>(M::kHidden) * M::kHeadDim * (2 * M::kHeads + 2 * M::kKvHeads);
  const double experts = 3.0 * M::kTopK * M::kHidden * M::kInner;
  return 2.0 * M::kLayers * (attention + experts);
}

void Run(int threads, const std::string& weights, int64_t sequences, int64_t rows, int64_t context,
         int rounds) {
  const std::string machine = Describe(DetectCpu());  // before the pool binds this thread
  ThreadPool pool(threads, true);
  const WeightKind kind = WeightKind::Named(weights);
  const ProductKind products = kind.products();
  const std::string unit = fmt::format("Gop/s of {}", ProductKindName(products));
  BenchModel model(pool, kind, sequences, context);
  std::vector<double> step_s, read, peak;
  int64_t bytes = model.Step(rows);
  const int64_t allocations = model.allocations();
  for (int round = 0; round < rounds; ++round) {
    read.push_back(MeasureReadBandwidth(pool));
    peak.push_back(MeasurePeak(pool, products));
    for (int i = 0; i < (rows > 1 ? 2 : 12); ++i) {
      const auto start = std::chrono::steady_clock::now();
      bytes = model.Step(rows);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      step_s.push_back(took.count());
    }
  }
  const double step = Median(step_s);
  const double best = *std::min_element(step_s.begin(), step_s.end());
  const double tokens = static_cast<double>(sequences * rows);
  const double operations = tokens * OperationsPerToken() + 2.0 * static_cast<double>(sequences) *
                                                                BenchModel::kVocab *
                                                                BenchModel::kHidden;
  fmt::print("{}\n", machine);
  fmt::print("threads {}  weights {}  sequences {}  rows {}  context {}\n", threads, weights,
             sequences, rows, context);
  fmt::print("probe: read {:.1f} GB/s (best {:.1f}), multiply-add {:.0f} {}\n", Median(read) / 1e9,
             *std::max_element(read.begin(), read.end()) / 1e9, Median(peak) / 1e9, unit);
  fmt::print("step: median {:.2f} ms, best {:.2f} ms; {:.1f} tokens/s (best {:.1f})\n", step * 1e3,
             best * 1e3, tokens / step, tokens / best);
  fmt::print(
      "weights {:.0f} MB: {:.1f} GB/s, {:.2f} of the probe (best over best {:.2f}); "
      "{:.0f} {}, {:.2f} of the peak; {} allocations in the loop\n",
      static_cast<double>(bytes) / 1e6, static_cast<double>(bytes) / step / 1e9,
      static_cast<double>(bytes) / step / Median(read),
      static_cast<double>(bytes) / best / *std::max_element(read.begin(), read.end()),
      operations / step / 1e9, unit, operations / step / Median(peak),
      model.allocations() - allocations);
}

}  // namespace
}  // namespace folkmoot

int main(int argc, char** argv) {
  const auto number = [&](int i, int fallback) { return argc > i ? std::atoi(argv[i]) : fallback; };
  const std::string name = argc > 2 ? argv[2] : "bf16";
  const int rows = number(4, 1);
  folkmoot::Run(number(1, 2), name, number(3, 1), rows, number(5, std::max(64, rows)),
                number(6, 8));
  return 0;
}
