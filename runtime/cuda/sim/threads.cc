// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/sim/threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "runtime/check.h"
#include "runtime/cuda/sim/block_runner.h"

namespace folkmoot::cuda::sim {
namespace {

BlockRunner& Runner() {
  BlockRunner& runner = BlockRunner::OfThisThread();
  FM_CHECK(runner.running());  // device code was called outside a kernel
  return runner;
}

template <typename Visit>
void ForEachBlock(const dim3& grid, const Visit& visit) {
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        if (!visit(uint3{x, y, z})) return;
      }
    }
  }
}

// Every block on an OS thread of its own. The first error wins; it stops blocks that spin.
std::string RunTogether(const GridLaunch& launch) {
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::string error;
  std::vector<std::thread> threads;
  ForEachBlock(launch.grid, [&](uint3 block) {
    threads.emplace_back([&, block] {
      const std::string text = BlockRunner::OfThisThread().Run(launch, block, &stop);
      if (text.empty()) return;
      const std::lock_guard<std::mutex> lock(mutex);
      if (!stop.exchange(true)) error = text;
    });
    return true;
  });
  for (std::thread& thread : threads) thread.join();
  return error;
}

}  // namespace

std::string RunGrid(const GridLaunch& launch) {
  if (launch.cooperative) return RunTogether(launch);
  std::string error;
  BlockRunner& runner = BlockRunner::OfThisThread();
  ForEachBlock(launch.grid, [&](uint3 block) {
    error = runner.Run(launch, block, nullptr);
    return error.empty();
  });
  return error;
}

std::string KernelName(const void* kernel) {
  static const bool kReady = [] {
    absl::InitializeSymbolizer("/proc/self/exe");
    return true;
  }();
  std::array<char, 512> name{};
  if (!kReady || !absl::Symbolize(kernel, name.data(), static_cast<int>(name.size()))) {
    return fmt::format("{}", kernel);
  }
  std::string text = name.data();
  for (const char* prefix : {"folkmoot::cuda::", "(anonymous namespace)::"}) {
    if (text.starts_with(prefix)) text.erase(0, std::strlen(prefix));
  }
  return text.substr(0, text.find('('));
}

void WarpCollective(const char* name, WarpOperation operation, void* payload, const Place& place) {
  Runner().WarpWait(kLanes, name, operation, payload, place);
}

void WarpgroupCollective(const char* name, WarpOperation operation, void* payload,
                         const Place& place) {
  Runner().WarpWait(kWarpgroup, name, operation, payload, place);
}

int Barrier(const BarrierUse& use, int number, const Place& place) {
  return Runner().BarrierWait(use, number, place);
}

void SpinPause() { Runner().Pause(); }
void FailThread(const std::string& what) { Runner().Fail(what); }
void PoisonOnce(void* data, size_t bytes) { Runner().PoisonOnce(data, bytes); }

void CpAsync(void* to, const void* from, int bytes, int valid) {
  if (reinterpret_cast<uintptr_t>(to) % static_cast<unsigned>(bytes) != 0 ||
      (valid > 0 && reinterpret_cast<uintptr_t>(from) % static_cast<unsigned>(bytes) != 0)) {
    FailThread(fmt::format("cp.async of {} bytes from {} to {}: not aligned", bytes, from, to));
  }
  std::memset(to, kPoisonByte, static_cast<size_t>(bytes));
  Runner().thread().copies.push_back(
      {static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), bytes, valid});
}

void CpAsyncCommit() {
  SimThread& thread = Runner().thread();
  thread.groups.push_back(thread.copies.size());
}

void CpAsyncWait(int newest) {
  SimThread& thread = Runner().thread();
  const size_t keep = std::min(thread.groups.size(), static_cast<size_t>(newest));
  const size_t groups = thread.groups.size() - keep;
  if (groups == 0) return;
  const size_t end = thread.groups[groups - 1];
  for (size_t i = 0; i < end; ++i) {
    const SimCopy& copy = thread.copies[i];
    const auto valid = static_cast<size_t>(copy.valid);
    if (valid > 0) std::memcpy(copy.to, copy.from, valid);
    std::memset(copy.to + valid, 0, static_cast<size_t>(copy.bytes) - valid);
  }
  using Difference = std::vector<SimCopy>::difference_type;
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<Difference>(end));
  thread.groups.erase(thread.groups.begin(),
                      thread.groups.begin() + static_cast<Difference>(groups));
  for (size_t& group : thread.groups) group -= end;
}

}  // namespace folkmoot::cuda::sim
