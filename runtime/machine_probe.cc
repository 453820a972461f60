// SPDX-License-Identifier: Apache-2.0
#include "runtime/machine_probe.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <vector>

#include "runtime/cpu/probe.h"
#include "runtime/cpu/tile_registers.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

std::string ModelName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

}  // namespace

CpuFeatures DetectCpu() {
  CpuFeatures cpu;
  cpu.model = ModelName();
  cpu.kernels = cpu::KernelTarget() + (cpu::HasTileRegisters() ? " and AMX" : "");
  cpu.fused = cpu::HasFusedMultiplyAdd();
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cpu.allowed_cores = CPU_COUNT(&set);
  cpu.memory_bytes = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGE_SIZE);
  return cpu;
}

std::string Describe(const CpuFeatures& cpu) {
  return fmt::format("{}, {} core{} allowed, {:.1f} GiB, kernels for {}{}", cpu.model,
                     cpu.allowed_cores, cpu.allowed_cores == 1 ? "" : "s",
                     static_cast<double>(cpu.memory_bytes) / 1073741824.0, cpu.kernels,
                     cpu.fused ? ""
                               : " (no AVX2 with FMA here: results are right but very slow; use a "
                                 "machine with AVX2 and FMA, or one with NEON)");
}

double MeasureReadBandwidth(ThreadPool& pool) {
  constexpr int64_t kBytes = int64_t{512} << 20;
  constexpr int64_t kPage = 4096;
  constexpr double kSeconds = 0.25;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return 0.0;
  (void)madvise(memory, kBytes, MADV_HUGEPAGE);
  auto* data = static_cast<std::byte*>(memory);
  // Written first: pages that were never written are all the same page of zeros.
  pool.ParallelFor(kBytes / kPage, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t page = begin; page < end; ++page) data[page * kPage] = std::byte{1};
  });
  std::vector<double> rates;
  std::atomic<uint32_t> words{0};
  const auto start = Clock::now();
  while (rates.size() < 5 || Seconds(start) < kSeconds) {
    const auto pass = Clock::now();
    pool.ParallelFor(kBytes / kPage, 1, [&](int64_t begin, int64_t end, int) {
      words += cpu::SumWords(data + begin * kPage, (end - begin) * kPage);
    });
    rates.push_back(static_cast<double>(kBytes) / Seconds(pass));
  }
  (void)munmap(memory, kBytes);
  std::nth_element(rates.begin(), rates.begin() + static_cast<int64_t>(rates.size() / 2),
                   rates.end());
  return rates[rates.size() / 2];
}

const char* ProductKindName(ProductKind kind) {
  switch (kind) {
    case ProductKind::kIntegers:
      return "16-bit integers";
    case ProductKind::kBytes:
      return "8-bit integers";
    case ProductKind::kBfloat16:
    case ProductKind::kBfloat16Tiles:
      return "bfloat16";
    case ProductKind::kFloatTiles:
      return "float32 by bfloat16";
    default:
      return "float32";
  }
}

ProductKind ProductsOf(bool codes, DType plain, const ProductRules& rules) {
  const bool reduced = rules.activations == ActivationPrecision::kReduced;
  if (codes) return reduced ? ProductKind::kBytes : ProductKind::kIntegers;
  if (plain != DType::kBF16) return ProductKind::kFloats;
  if (rules.order == SumOrder::kNative && cpu::HasTileRegisters()) {
    return reduced ? ProductKind::kBfloat16Tiles : ProductKind::kFloatTiles;
  }
  return reduced ? ProductKind::kBfloat16 : ProductKind::kFloats;
}

std::string NativeSumOrder() { return cpu::HasTileRegisters() ? "AMX" : "portable"; }

double MeasurePeak(ThreadPool& pool, ProductKind kind) {
  constexpr int kRuns = 5;
  constexpr int64_t kRounds = 4'000'000;
  double best = 0.0;
  for (int i = 0; i < kRuns; ++i) {
    std::atomic<int64_t> operations{0};
    const auto start = Clock::now();
    pool.ParallelFor(pool.threads(), 1, [&](int64_t, int64_t, int) {
      float sink = 0.5f;
      operations += cpu::RunProducts(kind, kRounds, &sink);
    });
    best = std::max(best, static_cast<double>(operations.load()) / Seconds(start));
  }
  return best;
}

}  // namespace folkmoot
