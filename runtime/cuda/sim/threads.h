// SPDX-License-Identifier: Apache-2.0
// How the simulator runs a grid: blocks one after another on the calling thread, each thread of a
// block as a fiber that runs until it waits. A block in which nobody waits costs one switch.
//
// Order: the threads of a block start, and waiting threads continue, in an order drawn from the
// seed (SimOptions::seed, FOLKMOOT_SIM_SEED) and the block, so that a missing barrier gives wrong
// numbers for most seeds. Seed 0 is the natural order.
//
// Errors: waits that can never end (a barrier that a thread does not reach, a warp collective
// without all lanes) end the launch with a text that names kernel, block and threads. The fibers
// that still wait are dropped without unwinding: kernels own nothing. (The thread that found the
// mistake is unwound by an exception that never leaves the simulator.)
//
// Threads: any number of OS threads may run grids at the same time. A cooperative launch gives each
// block an OS thread of its own, so that blocks may wait for each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "runtime/cuda/sim/types.h"

// What the running thread of a kernel sees.
// NOLINTBEGIN(readability-identifier-naming, cppcoreguidelines-avoid-non-const-global-variables):
// the names are CUDA's, and each thread of a kernel has its own.
extern constinit thread_local uint3 threadIdx;
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim;
extern constinit thread_local dim3 gridDim;
// NOLINTEND(readability-identifier-naming, cppcoreguidelines-avoid-non-const-global-variables)

namespace folkmoot::cuda::sim {

// A line of a kernel. (std::source_location is not in clang 14.)
struct Place {
  const char* file = "";
  int line = 0;
  static constexpr Place Current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

struct CurrentThread {
  unsigned char* shared = nullptr;  // dynamic shared memory of the block
  size_t shared_bytes = 0;
  unsigned linear = 0;  // index of the thread in its block
};
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables)
extern constinit thread_local CurrentThread current;

// One launch. `body` calls the kernel with its arguments.
struct GridLaunch {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  bool cooperative = false;
  const void* kernel = nullptr;  // for its name
  std::function<void()> body;
};
// Runs it; empty, or what went wrong.
std::string RunGrid(const GridLaunch& launch);
// From the symbol table, without arguments; an address where there is none.
std::string KernelName(const void* kernel);

// Called by running threads, through CUDA's names.
//
// All 32 lanes of a warp hand in a payload; the last one applies the operation to all of them.
using WarpOperation = void (*)(void* const* payloads);
void WarpCollective(const char* name, WarpOperation operation, void* payload, const Place& place);
// Barrier `id` < 16 over `threads` threads (0: all of the block); `number` is added up, and the sum
// returned to everybody. Arrival without waiting returns 0.
struct BarrierUse {
  const char* name;
  int id = 0;
  unsigned threads = 0;
  bool wait = true;
  bool same_place = false;  // all must come from one line
};
int Barrier(const BarrierUse& use, int number, const Place& place);
// 4 warps that start at a multiple of 4: as WarpCollective, with 128 payloads.
void WarpgroupCollective(const char* name, WarpOperation operation, void* payload,
                         const Place& place);
// In a loop that waits for memory: lets other threads and blocks run, and ends the launch when it
// has waited longer than SimOptions::spin_seconds.
void SpinPause();
// Ends the launch with an error of the running thread.
[[noreturn]] void FailThread(const std::string& what);

// Fills static shared memory with kPoisonByte when a block comes to it first. By FM_SHARED.
void PoisonOnce(void* data, size_t bytes);

// cp.async: the copy is made when the thread waits for its group, and not a moment earlier; until
// then the target holds kPoisonByte. `valid` of the `bytes` come from `from`, the rest is zero.
void CpAsync(void* to, const void* from, int bytes, int valid);
void CpAsyncCommit();
void CpAsyncWait(int newest);  // for all groups but the `newest` last ones

constexpr int kPoisonByte = 0xff;  // NaN in every float type, -1 in every integer

}  // namespace folkmoot::cuda::sim
