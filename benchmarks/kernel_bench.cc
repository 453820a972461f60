// SPDX-License-Identifier: Apache-2.0
// One kernel at a time. Weights rotate over 192 MiB, as the experts of a model do, so that they
// come from memory.
#include <benchmark/benchmark.h>

#include <map>

#include "benchmarks/bench_model.h"
#include "runtime/cpu/tile_registers.h"
#include "runtime/machine_probe.h"

namespace folkmoot {
namespace {

constexpr int64_t kColdBytes = int64_t{192} << 20;

// What `threads` threads of this machine can do, measured once per process.
struct Rates {
  double bytes;
  std::map<ProductKind, double> operations;
};
const Rates& RatesOf(int threads) {
  static std::map<int, Rates> all;
  const auto found = all.find(threads);
  if (found != all.end()) return found->second;
  ThreadPool pool(threads, true);
  Rates rates = {MeasureReadBandwidth(pool), {}};
  for (const ProductKind kind :
       {ProductKind::kFloats, ProductKind::kIntegers, ProductKind::kBytes, ProductKind::kBfloat16,
        ProductKind::kBfloat16Tiles, ProductKind::kFloatTiles}) {
    rates.operations[kind] = MeasurePeak(pool, kind);
  }
  return all.emplace(threads, rates).first->second;
}

// range: rows, threads. of_peak: the least time that reading or multiplying takes, over the time.
void BM_Gemm(benchmark::State& state, const char* weights, int64_t n, int64_t k,
             const ProductRules& rules = {}) {
  const auto threads = static_cast<int>(state.range(1));
  const Rates& rates = RatesOf(threads);
  const WeightKind kind = WeightKind::Named(weights);
  ThreadPool pool(threads, true);
  std::vector<PackedMatrix> copies;
  const double weight_bytes = kind.bytes() * static_cast<double>(n * k);
  const auto count = static_cast<int64_t>(static_cast<double>(kColdBytes) / weight_bytes) + 1;
  for (int64_t i = 0; i < count; ++i) {
    copies.push_back(RandomPacked(pool, kind, n, k, 1));
    copies.back().set_rules(rules);
  }
  const int64_t rows = state.range(0);
  std::vector<float> x(static_cast<size_t>(rows * k), 0.5f), out(static_cast<size_t>(rows * n));
  Workspace workspace;
  size_t next = 0;
  for (auto _ : state) {
    Gemm(pool, {x.data(), rows, k}, copies[next], {}, workspace, {out.data(), rows, n});
    next = (next + 1) % copies.size();
  }
  const double operations = 2.0 * static_cast<double>(rows * n * k);
  const double best =
      std::max(weight_bytes / rates.bytes, operations / rates.operations.at(kind.products(rules)));
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount * static_cast<double>(state.iterations()),
                              benchmark::Counter::kIsRate);
  };
  state.counters["Gop"] = rate(1e-9 * operations);
  state.counters["GB"] = rate(1e-9 * weight_bytes);
  state.counters["of_peak"] = rate(best);
}

// The same as on machines without tile registers.
void BM_GemmNoTiles(benchmark::State& state, const char* weights, int64_t n, int64_t k,
                    const ProductRules& rules) {
  cpu::AllowTileRegisters(false);
  BM_Gemm(state, weights, n, k, rules);
  cpu::AllowTileRegisters(true);
}

void BM_Attention(benchmark::State& state) {  // range: rows, context, threads
  ThreadPool pool(static_cast<int>(state.range(2)), true);
  constexpr int64_t kHeads = 16, kKvHeads = 4, kDim = 64;
  const int64_t rows = state.range(0), context = state.range(1);
  KvCache cache({.layers = 1,
                 .blocks = context / 16 + 1,
                 .block_size = 16,
                 .kv_heads = kKvHeads,
                 .head_dim = kDim});
  std::vector<int32_t> pages(static_cast<size_t>(context / 16 + 1));
  std::iota(pages.begin(), pages.end(), 0);
  const std::vector<float> kv(static_cast<size_t>(context * kKvHeads * kDim), 0.1f);
  const std::vector<float> q(static_cast<size_t>(rows * kHeads * kDim), 0.1f);
  std::vector<float> out(q.size());
  const AttentionSequence all{0, context, 0, pages};
  const ConstMatrix kv_matrix(kv.data(), context, kKvHeads * kDim);
  StoreKv(pool, 0, {&all, 1}, kv_matrix, kv_matrix, cache);
  Workspace workspace;
  const AttentionSequence step{0, rows, context - rows, pages};
  for (auto _ : state) {
    PagedAttention(pool, {.layer = 0, .heads = kHeads, .scale = 0.125f, .window = 0}, {&step, 1},
                   {q.data(), rows, kHeads * kDim}, cache, workspace,
                   {out.data(), rows, kHeads * kDim});
  }
  const double seen = static_cast<double>(rows) *
                      (static_cast<double>(context - rows) + 0.5 * static_cast<double>(rows + 1));
  state.counters["GFLOPs"] =
      benchmark::Counter(4e-9 * seen * kHeads * kDim * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

void BM_LogSumExp(benchmark::State& state) {
  const std::vector<float> logits(32000, 0.5f);
  for (auto _ : state) benchmark::DoNotOptimize(LogSumExp(logits));
}

void BM_EmptyParallelFor(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)), true);
  for (auto _ : state) pool.ParallelFor(state.range(0), 1, [](int64_t, int64_t, int) {});
}

void GemmArgs(benchmark::internal::Benchmark* bench) {
  for (const int64_t rows : {1, 2, 4, 8, 12, 16, 32, 64, 256}) bench->Args({rows, 2});
  bench->Args({1, 1})->Args({16, 1})->Args({256, 1})->UseRealTime();
}
constexpr ProductRules kReduced = {.activations = ActivationPrecision::kReduced};
constexpr ProductRules kNative = {.order = SumOrder::kNative};
constexpr ProductRules kReducedNative = {ActivationPrecision::kReduced, SumOrder::kNative};
BENCHMARK_CAPTURE(BM_Gemm, f32, "f32", 1792, 1024)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, bf16, "bf16", 1792, 1024)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, bf16_reduced, "bf16", 1792, 1024, kReduced)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, bf16_native, "bf16", 1792, 1024, kNative)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, bf16_reduced_native, "bf16", 1792, 1024, kReducedNative)
    ->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, f16, "f16", 1792, 1024)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, q8_0, "q8_0", 1792, 1024)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, q8_0_reduced, "q8_0", 1792, 1024, kReduced)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, q4_0, "q4_0", 1792, 1024)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, q4_0_reduced, "q4_0", 1792, 1024, kReduced)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, mxfp4, "mxfp4", 1792, 1024)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, mxfp4_reduced, "mxfp4", 1792, 1024, kReduced)->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_GemmNoTiles, q8_0, "q8_0", 1792, 1024, ProductRules())->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_GemmNoTiles, q4_0, "q4_0", 1792, 1024, ProductRules())->Apply(GemmArgs);
BENCHMARK_CAPTURE(BM_Gemm, fp8, "fp8", 1792, 1024)->Apply(GemmArgs);
BENCHMARK(BM_Attention)->Args({1, 64, 2})->Args({1, 4096, 2})->Args({512, 512, 2})->UseRealTime();
BENCHMARK(BM_LogSumExp);
BENCHMARK(BM_EmptyParallelFor)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
}  // namespace folkmoot
