// SPDX-License-Identifier: Apache-2.0
// Runs the threads of one block as fibers; one per OS thread, used again for block after block.
#pragma once

#include <array>
#include <atomic>
#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cuda/sim/fiber_stack.h"
#include "runtime/cuda/sim/threads.h"

namespace folkmoot::cuda::sim {

constexpr unsigned kLanes = 32;
constexpr unsigned kWarpgroup = 128;
constexpr int kBarriers = 16;

struct SimCopy {
  unsigned char* to;
  const unsigned char* from;
  int bytes;
  int valid;
};

// A product of a warpgroup that was started (wgmma_sim.cc), from the view of one of its threads.
struct SimWgmma {
  float* d = nullptr;
  int n = 0;
  uint64_t a = 0;  // descriptors
  uint64_t b = 0;
  bool accumulate = true;
  bool bf16 = true;
  bool b_trans = false;
  bool a_in_registers = false;
  std::array<uint32_t, 4> a_registers{};
  bool has_before = false;  // the first product under way into d keeps what was in it
  std::vector<float> before;
};

enum class SimThreadState : uint8_t { kNotStarted, kReady, kWaits, kDone };

struct SimThread {
  uint3 position;
  unsigned linear = 0;
  SimThreadState state = SimThreadState::kNotStarted;
  FiberContext fiber;
  const char* waits_in = nullptr;
  Place waits_at;
  void* payload = nullptr;
  // cp.async: copies in order, and where each committed group ends in them.
  std::vector<SimCopy> copies;
  std::vector<size_t> groups;
  // wgmma: the same.
  std::vector<SimWgmma> wgmma;
  std::vector<size_t> wgmma_groups;
  bool wgmma_fenced = false;
};

// Lanes that wait for each other: a warp (32) or a warpgroup (128).
struct SimCollective {
  unsigned arrived = 0;
  WarpOperation operation = nullptr;
  unsigned first = 0;  // thread that came first
};

struct SimBarrier {
  unsigned arrived = 0;
  unsigned expected = 0;
  int sum = 0;
  int result = 0;
  Place place;
  unsigned first = 0;
  std::vector<SimThread*> waiting;
};

class BlockRunner {
 public:
  static BlockRunner& OfThisThread();

  // Runs one block; empty, or what went wrong. `launch` is being run by others too when `stop` is
  // not null: it tells this block to give up.
  std::string Run(const GridLaunch& launch, uint3 block, const std::atomic<bool>* stop);

  void WarpWait(unsigned lanes, const char* name, WarpOperation operation, void* payload,
                const Place& place);
  int BarrierWait(const BarrierUse& use, int number, const Place& place);
  void Pause();
  [[noreturn]] void Fail(const std::string& text);
  void PoisonOnce(void* data, size_t bytes);
  SimThread& thread() { return threads_[current.linear]; }
  bool running() const { return launch_ != nullptr; }

 private:
  void Prepare(const GridLaunch& launch, uint3 block);
  static void Enter(boost::context::detail::transfer_t transfer);
  void RunThreads(FiberStack* stack);
  // Leaves the running thread, which is in `save` (null: it has ended).
  void SwitchAway(FiberContext* save);
  // The next thread to run: one that waited and may go on, or null: start a new one.
  SimThread* PickReady();
  void MakeReady(SimThread* thread);
  void Wait(const char* name, const Place& place);
  void MakeCurrent(const SimThread& thread);
  std::string Deadlock() const;
  std::string Who(unsigned linear) const;
  bool GuardIsIntact() const;
  uint64_t Random();

  const GridLaunch* launch_ = nullptr;
  const std::atomic<bool>* stop_ = nullptr;
  std::string error_;
  unsigned count_ = 0;  // threads of the block
  unsigned started_ = 0;
  unsigned done_ = 0;
  bool depth_first_ = true;
  bool shuffled_ = false;
  uint64_t random_ = 0;
  int64_t spinning_since_ = 0;
  FiberContext main_;
  FiberStack* next_stack_ = nullptr;  // of the fiber that is being started
  std::vector<SimThread> threads_;
  std::vector<unsigned> order_;
  std::vector<SimThread*> ready_;  // a ring of a power of two places
  size_t ready_begin_ = 0;
  size_t ready_count_ = 0;
  std::vector<SimCollective> warps_;
  std::vector<SimCollective> warpgroups_;
  std::array<SimBarrier, kBarriers> barriers_;
  std::vector<std::pair<void*, size_t>> poisoned_;
  struct FreeMemory {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<unsigned char, FreeMemory> shared_;
  size_t shared_bytes_ = 0;
  StackPool stacks_;
};

}  // namespace folkmoot::cuda::sim
