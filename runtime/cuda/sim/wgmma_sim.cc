// SPDX-License-Identifier: Apache-2.0
// Emulation of wgmma.m64n256k16 from its layouts (PTX ISA 9.0, 9.7.15). Products are exact, their
// sum is one of doubles, rounded to float once per instruction.
#include "runtime/cuda/sim/wgmma_sim.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/cuda/sim/block_runner.h"
#include "runtime/cuda/sim/ptx_sim.h"

namespace folkmoot::cuda {
namespace sim {
namespace {

constexpr int kM = 64;
constexpr int kN = 256;
constexpr int kK = 16;
constexpr int kSums = 128;  // of a thread
constexpr size_t kThreads = 128;

struct WaitingThread {
  SimThread* thread;
  size_t products;  // to carry out
  const unsigned char* shared;
};

// Element (row, k) of an operand: the swizzle exchanges bits of the address.
float ElementOf(const WaitingThread& thread, uint64_t operand, bool bf16, int row, int k) {
  const auto start = static_cast<size_t>(operand & 0x3fff) << 4;
  const auto groups = static_cast<size_t>(operand >> 32 & 0x3fff) << 4;
  size_t at = start + static_cast<size_t>(row / 8) * groups + static_cast<size_t>(row % 8) * 128 +
              static_cast<size_t>(k) * 2;
  at ^= at >> 3 & 0x70;
  uint16_t bits = 0;
  std::memcpy(&bits, thread.shared + at, sizeof(bits));
  return bf16 ? BF16ToFloat(bits) : F16ToFloat(bits);
}

void RunProduct(void* const* payloads, const SimProduct& product) {
  const auto& first = *static_cast<const WaitingThread*>(payloads[0]);
  static thread_local std::array<std::array<float, kK>, kM> a;
  static thread_local std::array<std::array<float, kK>, kN> b;
  const auto fill = [&](auto& rows, uint64_t operand) {
    for (size_t r = 0; r < rows.size(); ++r) {
      for (size_t k = 0; k < kK; ++k) {
        rows[r][k] =
            ElementOf(first, operand, product.bf16, static_cast<int>(r), static_cast<int>(k));
      }
    }
  };
  fill(a, product.a);
  fill(b, product.b);
  for (size_t t = 0; t < kThreads; ++t) {
    float* d = static_cast<const WaitingThread*>(payloads[t])->thread->product_values.data();
    for (size_t s = 0; s < kSums; ++s) {
      const auto& row = a[t / 32 * 16 + t % 32 / 4 + s / 2 % 2 * 8];
      const auto& column = b[s / 4 * 8 + t % 4 * 2 + s % 2];
      double sum = d[s];
      for (size_t k = 0; k < kK; ++k) sum += double{row[k]} * double{column[k]};
      d[s] = static_cast<float>(sum);
    }
  }
}

void RunProducts(void* const* payloads) {
  const auto& first = *static_cast<const WaitingThread*>(payloads[0]);
  for (size_t i = 0; i < first.products; ++i) RunProduct(payloads, first.thread->products[i]);
}

bool SameProducts(const SimThread& one, const SimThread& other) {
  if (one.products.size() != other.products.size()) return false;
  for (size_t i = 0; i < one.products.size(); ++i) {
    const SimProduct& p = one.products[i];
    const SimProduct& q = other.products[i];
    if (p.a != q.a || p.b != q.b || p.bf16 != q.bf16) return false;
  }
  return true;
}

void CheckAndRunProducts(void* const* payloads) {
  const auto& first = *static_cast<const WaitingThread*>(payloads[0]);
  for (size_t t = 1; t < kThreads; ++t) {
    const auto& other = *static_cast<const WaitingThread*>(payloads[t]);
    if (other.products != first.products || !SameProducts(*first.thread, *other.thread)) {
      FailThread("wgmma: the threads of a warpgroup ask for different products");
    }
  }
  RunProducts(payloads);
}

}  // namespace

void WgmmaStart(float (&d)[kSums], uint64_t a, uint64_t b, bool bf16, const Place&) {
  if ((a >> 62) != 1 || (b >> 62) != 1) FailThread("wgmma: an operand without 128-byte swizzle");
  SimThread& thread = BlockRunner::OfThisThread().thread();
  if (thread.products.empty()) {
    thread.product_sums = d;
    thread.product_values.assign(d, d + kSums);
    std::memset(d, kPoisonByte, sizeof(d));
  } else if (thread.product_sums != d) {
    FailThread("wgmma: the simulator knows one set of sums at a time");
  }
  thread.products.push_back({a, b, bf16});
}

void WgmmaCommit() {
  SimThread& thread = BlockRunner::OfThisThread().thread();
  thread.product_groups.push_back(thread.products.size());
}

void WgmmaWait(int newest, const Place& place) {
  SimThread& thread = BlockRunner::OfThisThread().thread();
  const size_t keep = std::min(thread.product_groups.size(), static_cast<size_t>(newest));
  const size_t groups = thread.product_groups.size() - keep;
  const size_t end = groups == 0 ? 0 : thread.product_groups[groups - 1];
  WaitingThread payload{&thread, end, current.shared};
  WarpgroupCollective("wgmma.wait_group", &CheckAndRunProducts, &payload, place);
  using Difference = std::vector<SimProduct>::difference_type;
  thread.products.erase(thread.products.begin(),
                        thread.products.begin() + static_cast<Difference>(end));
  thread.product_groups.erase(thread.product_groups.begin(),
                              thread.product_groups.begin() + static_cast<Difference>(groups));
  for (size_t& group : thread.product_groups) group -= end;
  if (end > 0 && thread.products.empty()) {
    std::memcpy(thread.product_sums, thread.product_values.data(), kSums * sizeof(float));
  }
}

}  // namespace sim

uint64_t WgmmaOperand(const void* shared) {
  return uint64_t{SharedAddress(shared) >> 4} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

}  // namespace folkmoot::cuda
