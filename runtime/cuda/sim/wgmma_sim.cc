// SPDX-License-Identifier: Apache-2.0
// Emulation of wgmma from its matrix descriptors and fragment layouts (PTX ISA 9.0, 9.7.15).
#include "runtime/cuda/sim/wgmma_sim.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "runtime/cuda/sim/block_runner.h"
#include "runtime/dtype.h"

namespace folkmoot::cuda::sim {
namespace {

constexpr int kM = 64;
constexpr int kK = 16;
constexpr int kMaxN = 256;
constexpr int kThreads = 128;

// Bit fields of a matrix descriptor; offsets are in units of 16 bytes.
struct Descriptor {
  uint32_t start;
  uint32_t leading;
  uint32_t stride;
  unsigned base_offset;
  unsigned swizzle;
};
Descriptor Decode(uint64_t bits) {
  const auto offset = [&](int at) { return static_cast<uint32_t>(bits >> at & 0x3fffu) << 4; };
  return {offset(0), offset(16), offset(32), static_cast<unsigned>(bits >> 49 & 7u),
          static_cast<unsigned>(bits >> 62)};
}

// `bytes`: from the first to the last 8 rows that the operand takes.
void CheckDescriptor(uint64_t bits, uint32_t bytes) {
  const Descriptor d = Decode(bits);
  if (d.swizzle != 1 || d.base_offset != 0) {
    FailThread("wgmma: the simulator knows operands with the 128-byte swizzle and base offset 0");
  }
  if (d.start % 1024 >= 128 || d.start % 32 != 0) {
    FailThread(fmt::format("wgmma: the operand at {} is not 1024-byte aligned plus 32 i", d.start));
  }
  const uint32_t end = d.start / 1024 * 1024 + bytes + 1024;
  if (end > current.shared_bytes) {
    FailThread(fmt::format("wgmma: the operand ends at byte {} of {} in shared memory", end,
                           current.shared_bytes));
  }
}

// Operands with rows of 64 k, and B with rows of 64 n.
void CheckRows(uint64_t bits, int rows) {
  CheckDescriptor(bits, static_cast<uint32_t>(rows / 8 - 1) * Decode(bits).stride);
}
void CheckTransposed(uint64_t bits, int n) {
  const Descriptor d = Decode(bits);
  if (d.start % 1024 != 0 || d.leading % 1024 != 0 || n % 64 != 0) {
    FailThread(fmt::format("wgmma: B at {} has rows of k that are not 1024-byte aligned", d.start));
  }
  CheckDescriptor(bits, static_cast<uint32_t>(n / 64 - 1) * d.leading + (kK / 8 - 1) * d.stride);
}

float Value(uint16_t bits, bool bf16) { return bf16 ? BF16ToFloat(bits) : F16ToFloat(bits); }

// Element [row][column] of an operand whose rows of 64 columns are contiguous. The swizzle works on
// address bits: 4 to 6 are xor-ed with 7 to 9.
float Load(uint64_t descriptor, int row, int column, bool bf16) {
  const Descriptor d = Decode(descriptor);
  uint32_t address =
      d.start + static_cast<uint32_t>(row / 8) * d.stride + static_cast<uint32_t>(row % 8) * 128 +
      static_cast<uint32_t>(column / 64) * d.leading + static_cast<uint32_t>(column % 64) * 2;
  address ^= (address >> 7 & 7u) << 4;
  uint16_t bits;
  std::memcpy(&bits, current.shared + address, sizeof(bits));
  return Value(bits, bf16);
}

void Poison(SimWgmma* product) {
  product->before.assign(product->d, product->d + product->n / 2);
  product->has_before = true;
  std::fill_n(product->d, product->n / 2, std::numeric_limits<float>::quiet_NaN());
}

// One product of all threads: their i-th pending one.
void Multiply(SimThread* const* threads, size_t i) {
  const SimWgmma& first = threads[0]->wgmma[i];
  static thread_local std::array<std::array<float, kK>, kM> a;
  static thread_local std::array<std::array<double, kMaxN>, kK> b;
  for (int t = 0; t < kThreads && first.a_in_registers; ++t) {
    const int row = t / 32 * 16 + t % 32 / 4;
    for (int r = 0; r < 4; ++r) {
      const uint32_t pair = threads[t]->wgmma[i].a_registers[static_cast<size_t>(r)];
      for (int half = 0; half < 2; ++half) {
        const int m = row + r % 2 * 8;
        const int k = t % 4 * 2 + r / 2 * 8 + half;
        a[static_cast<size_t>(m)][static_cast<size_t>(k)] =
            Value(static_cast<uint16_t>(pair >> (16 * half)), first.bf16);
      }
    }
  }
  for (int k = 0; k < kK; ++k) {
    for (int row = 0; row < kM && !first.a_in_registers; ++row) {
      a[static_cast<size_t>(row)][static_cast<size_t>(k)] = Load(first.a, row, k, first.bf16);
    }
    for (int n = 0; n < first.n; ++n) {
      b[static_cast<size_t>(k)][static_cast<size_t>(n)] =
          double{first.b_trans ? Load(first.b, k, n, first.bf16) : Load(first.b, n, k, first.bf16)};
    }
  }
  for (int row = 0; row < kM; ++row) {
    std::array<double, kMaxN> sum{};
    for (size_t k = 0; k < kK; ++k) {
      const double x = a[static_cast<size_t>(row)][k];
      for (int n = 0; n < first.n; ++n)
        sum[static_cast<size_t>(n)] += x * b[k][static_cast<size_t>(n)];
    }
    for (int n = 0; n < first.n; ++n) {
      const int t = row / 16 * 32 + row % 8 * 4 + n % 8 / 2;
      SimWgmma& mine = threads[t]->wgmma[i];
      float& d = mine.d[n / 8 * 4 + row % 16 / 8 * 2 + n % 2];
      const double before = mine.accumulate ? double{d} : 0.0;
      d = static_cast<float>(before + sum[static_cast<size_t>(n)]);
    }
  }
}

struct WaitLane {
  SimThread* thread;
  int newest;
};

void CheckTogether(SimThread* const* threads, size_t count) {
  for (int t = 1; t < kThreads; ++t) {
    if (threads[t]->wgmma_groups != threads[0]->wgmma_groups) {
      FailThread(
          fmt::format("wgmma: thread {} of the warpgroup has not started the same products", t));
    }
    for (size_t i = 0; i < count; ++i) {
      const SimWgmma& x = threads[0]->wgmma[i];
      const SimWgmma& y = threads[t]->wgmma[i];
      if (x.n != y.n || x.a != y.a || x.b != y.b || x.bf16 != y.bf16 || x.b_trans != y.b_trans ||
          x.a_in_registers != y.a_in_registers || x.accumulate != y.accumulate) {
        FailThread(fmt::format(
            "wgmma: thread {} of the warpgroup has other descriptors than the first", t));
      }
    }
  }
}

void WaitAll(void* const* payloads) {
  std::array<SimThread*, kThreads> threads;
  for (size_t t = 0; t < kThreads; ++t) threads[t] = static_cast<WaitLane*>(payloads[t])->thread;
  const auto newest = static_cast<size_t>(static_cast<WaitLane*>(payloads[0])->newest);
  std::vector<size_t>& groups = threads[0]->wgmma_groups;
  const size_t done = groups.size() - std::min(groups.size(), newest);
  const size_t count = done == 0 ? 0 : groups[done - 1];
  CheckTogether(threads.data(), count);
  for (size_t i = 0; i < count; ++i) {
    for (SimThread* thread : threads) {
      SimWgmma& product = thread->wgmma[i];
      if (product.has_before) std::copy(product.before.begin(), product.before.end(), product.d);
    }
    Multiply(threads.data(), i);
  }
  using Difference = std::vector<size_t>::difference_type;
  for (SimThread* thread : threads) {
    auto& products = thread->wgmma;
    products.erase(products.begin(), products.begin() + static_cast<Difference>(count));
    thread->wgmma_groups.erase(thread->wgmma_groups.begin(),
                               thread->wgmma_groups.begin() + static_cast<Difference>(done));
    for (size_t& group : thread->wgmma_groups) group -= count;
    // What is still under way keeps its registers.
    for (size_t i = 0; i < products.size(); ++i) {
      const bool started =
          std::any_of(products.begin(), products.begin() + static_cast<Difference>(i),
                      [&](const SimWgmma& p) { return p.d == products[i].d; });
      if (!started && !products[i].has_before) Poison(&products[i]);
    }
  }
}

SimThread& Thread() { return BlockRunner::OfThisThread().thread(); }

}  // namespace

void Wgmma(const WgmmaUse& use) {
  SimThread& thread = Thread();
  if (!thread.wgmma_fenced) FailThread("wgmma without a WgmmaFence() since the last wait");
  if (use.a_registers == nullptr) CheckRows(use.a, kM);
  use.b_trans ? CheckTransposed(use.b, use.n) : CheckRows(use.b, use.n);
  SimWgmma product;
  product.d = use.d;
  product.n = use.n;
  product.a = use.a;
  product.b = use.b;
  product.accumulate = use.accumulate;
  product.bf16 = use.bf16;
  product.b_trans = use.b_trans;
  product.a_in_registers = use.a_registers != nullptr;
  if (product.a_in_registers) std::copy_n(use.a_registers, 4, product.a_registers.begin());
  const bool under_way = std::any_of(thread.wgmma.begin(), thread.wgmma.end(),
                                     [&](const SimWgmma& p) { return p.d == use.d; });
  if (!under_way) Poison(&product);
  thread.wgmma.push_back(std::move(product));
}

void FenceWgmma() { Thread().wgmma_fenced = true; }

void CommitWgmma() {
  SimThread& thread = Thread();
  thread.wgmma_groups.push_back(thread.wgmma.size());
}

void WaitWgmma(int newest, const Place& place) {
  WaitLane lane{&Thread(), newest};
  lane.thread->wgmma_fenced = false;
  WarpgroupCollective("wgmma.wait_group", &WaitAll, &lane, place);
}

}  // namespace folkmoot::cuda::sim
