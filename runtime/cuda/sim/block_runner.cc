// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/sim/block_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <new>
#include <string_view>
#include <thread>
#include <tuple>

#include "runtime/check.h"
#include "runtime/cuda/sim/options.h"

constinit thread_local uint3 threadIdx = {0, 0, 0};
constinit thread_local uint3 blockIdx = {0, 0, 0};
constinit thread_local dim3 blockDim;
constinit thread_local dim3 gridDim;

namespace folkmoot::cuda::sim {
namespace {

// Behind the shared memory of a block. AddressSanitizer does better.
constexpr size_t kGuardBytes = kAddressSanitizer ? 0 : 4096;

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string At(const Place& place) {
  std::string_view file = place.file;
  if (const size_t slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  return fmt::format("{}:{}", file, place.line);
}

// Unwinds the thread that found a mistake, so that its strings are freed.
struct ThreadFailed {};

std::string Triple(uint3 v) { return fmt::format("({},{},{})", v.x, v.y, v.z); }

}  // namespace

constinit thread_local CurrentThread current;

BlockRunner& BlockRunner::OfThisThread() {
  static thread_local BlockRunner runner;
  return runner;
}

uint64_t BlockRunner::Random() {  // splitmix64
  random_ += 0x9e3779b97f4a7c15u;
  uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void BlockRunner::Prepare(const GridLaunch& launch, uint3 block) {
  launch_ = &launch;
  error_.clear();
  count_ = launch.block.x * launch.block.y * launch.block.z;
  started_ = done_ = 0;
  spinning_since_ = 0;
  ready_begin_ = ready_count_ = 0;
  poisoned_.clear();
  if (ready_.empty()) ready_.resize(2048);
  if (threads_.size() < count_) threads_.resize(count_);
  const unsigned warps = (count_ + kLanes - 1) / kLanes;
  warps_.assign(warps, {});
  warpgroups_.assign((count_ + kWarpgroup - 1) / kWarpgroup, {});
  for (SimBarrier& barrier : barriers_) {
    barrier.arrived = 0;
    barrier.waiting.clear();
  }
  for (unsigned i = 0; i < count_; ++i) {
    SimThread& thread = threads_[i];
    thread.position = {i % launch.block.x, i / launch.block.x % launch.block.y,
                       i / launch.block.x / launch.block.y};
    thread.linear = i;
    thread.state = SimThreadState::kNotStarted;
    thread.copies.clear();
    thread.groups.clear();
    thread.wgmma.clear();
    thread.wgmma_groups.clear();
    thread.wgmma_fenced = false;
  }

  const uint64_t seed = Options().seed;
  shuffled_ = seed != 0;
  random_ = seed ^ (uint64_t{block.x} << 40 ^ uint64_t{block.y} << 20 ^ block.z);
  depth_first_ = !shuffled_ || Random() % 2 == 0;
  order_.resize(count_);
  std::array<unsigned, kLanes> warp_order{};
  for (unsigned w = 0; w < warps; ++w) {
    warp_order[w] = w;
    if (shuffled_) std::swap(warp_order[w], warp_order[Random() % (w + 1)]);
  }
  size_t next = 0;
  for (unsigned w = 0; w < warps; ++w) {
    const uint64_t random = shuffled_ ? Random() : 0;
    const auto step = static_cast<unsigned>(random % kLanes) | 1u;  // odd: visits every lane
    const auto first = static_cast<unsigned>(random >> 32);
    for (unsigned i = 0; i < kLanes; ++i) {
      const unsigned linear = warp_order[w] * kLanes + (first + i * step) % kLanes;
      if (linear < count_) order_[next++] = linear;
    }
  }

  if (shared_bytes_ != launch.shared_bytes) {
    void* memory = nullptr;
    if (launch.shared_bytes > 0) {
      FM_CHECK(posix_memalign(&memory, 1024, launch.shared_bytes + kGuardBytes) == 0);
    }
    shared_.reset(static_cast<unsigned char*>(memory));
    shared_bytes_ = launch.shared_bytes;
  }
  if (shared_) std::memset(shared_.get(), kPoisonByte, shared_bytes_ + kGuardBytes);
  blockIdx = block;
  blockDim = launch.block;
  gridDim = launch.grid;
  current.shared = shared_.get();
  current.shared_bytes = launch.shared_bytes;
}

std::string BlockRunner::Run(const GridLaunch& launch, uint3 block, const std::atomic<bool>* stop) {
  FM_CHECK(launch_ == nullptr);  // kernels start no kernels
  stop_ = stop;
  Prepare(launch, block);
  main_ = {};  // the stack of the OS thread
  FiberContext fiber;
  next_stack_ = stacks_.Take();
  MakeFiber(*next_stack_, &BlockRunner::Enter, &fiber);
  SwitchFiber(&main_, &fiber);
  if (error_.empty() && !GuardIsIntact()) {
    error_ = fmt::format("kernel {}, block {}: wrote behind its {} bytes of shared memory",
                         KernelName(launch.kernel), Triple(block), shared_bytes_);
  }
  launch_ = nullptr;
  if (!error_.empty()) stacks_.GiveAll();
  return error_;
}

bool BlockRunner::GuardIsIntact() const {
  if (!shared_) return true;
  const unsigned char* guard = shared_.get() + shared_bytes_;
  return std::all_of(guard, guard + kGuardBytes,
                     [](unsigned char byte) { return byte == kPoisonByte; });
}

void BlockRunner::Enter(boost::context::detail::transfer_t transfer) {
  BeginFiber(transfer);
  BlockRunner& runner = OfThisThread();
  runner.RunThreads(runner.next_stack_);
}

void BlockRunner::RunThreads(FiberStack* stack) {
  while (true) {
    SimThread& started = threads_[order_[started_++]];
    started.state = SimThreadState::kReady;
    MakeCurrent(started);
    bool failed = false;
    try {
      launch_->body();
    } catch (const ThreadFailed&) {
      failed = true;
    }
    if (failed) SwitchFiber(nullptr, &main_);
    started.state = SimThreadState::kDone;
    ++done_;
    spinning_since_ = 0;
    if (ready_count_ > 0 && (depth_first_ || started_ == count_)) {
      stacks_.Give(stack);
      SwitchFiber(nullptr, &PickReady()->fiber);
    }
    if (started_ == count_) {
      if (done_ < count_) error_ = Deadlock();
      stacks_.Give(stack);
      SwitchFiber(nullptr, &main_);
    }
  }
}

void BlockRunner::MakeCurrent(const SimThread& thread) {
  threadIdx = thread.position;
  current.linear = thread.linear;
}

SimThread* BlockRunner::PickReady() {
  SimThread* thread = nullptr;
  const size_t mask = ready_.size() - 1;
  if (shuffled_ && (Random() & 1) != 0) {
    thread = ready_[(ready_begin_ + ready_count_ - 1) & mask];
  } else {
    thread = ready_[ready_begin_ & mask];
    ++ready_begin_;
  }
  --ready_count_;
  return thread;
}

void BlockRunner::MakeReady(SimThread* thread) {
  thread->state = SimThreadState::kReady;
  ready_[(ready_begin_ + ready_count_) & (ready_.size() - 1)] = thread;
  ++ready_count_;
}

void BlockRunner::SwitchAway(FiberContext* save) {
  if (ready_count_ > 0 && (depth_first_ || started_ == count_)) {
    FiberContext* next = &PickReady()->fiber;
    if (next != save) SwitchFiber(save, next);
  } else if (started_ < count_) {
    FiberContext fiber;
    next_stack_ = stacks_.Take();
    MakeFiber(*next_stack_, &BlockRunner::Enter, &fiber);
    SwitchFiber(save, &fiber);
  } else {
    error_ = Deadlock();
    SwitchFiber(nullptr, &main_);
  }
}

void BlockRunner::Wait(const char* name, const Place& place) {
  SimThread& self = thread();
  self.state = SimThreadState::kWaits;
  self.waits_in = name;
  self.waits_at = place;
  SwitchAway(&self.fiber);
  MakeCurrent(self);
}

void BlockRunner::WarpWait(unsigned lanes, const char* name, WarpOperation operation, void* payload,
                           const Place& place) {
  const unsigned group = current.linear / lanes;
  const unsigned first = group * lanes;
  if (first + lanes > count_) {
    Fail(fmt::format("{} at {} needs {} threads together; the block has {}", name, At(place), lanes,
                     count_));
  }
  SimCollective& collective = lanes == kLanes ? warps_[group] : warpgroups_[group];
  if (collective.arrived == 0) {
    collective.operation = operation;
    collective.first = current.linear;
  } else if (collective.operation != operation) {
    const SimThread& other = threads_[collective.first];
    Fail(fmt::format("{} at {}, but thread {} of the same {} waits in {} at {}", name, At(place),
                     Triple(other.position), lanes == kLanes ? "warp" : "warpgroup", other.waits_in,
                     At(other.waits_at)));
  }
  thread().payload = payload;
  if (++collective.arrived < lanes) {
    Wait(name, place);
    return;
  }
  collective.arrived = 0;
  spinning_since_ = 0;
  std::array<void*, kWarpgroup> payloads;
  for (unsigned i = 0; i < lanes; ++i) payloads[i] = threads_[first + i].payload;
  operation(payloads.data());
  const unsigned start = shuffled_ ? static_cast<unsigned>(Random() % lanes) : 0;
  for (unsigned i = 0; i < lanes; ++i) {
    const unsigned linear = first + (start + i) % lanes;
    if (linear != current.linear) MakeReady(&threads_[linear]);
  }
}

int BlockRunner::BarrierWait(const BarrierUse& use, int number, const Place& place) {
  FM_CHECK(use.id >= 0 && use.id < kBarriers);
  SimBarrier& barrier = barriers_[static_cast<size_t>(use.id)];
  const unsigned expected = use.threads == 0 ? count_ : use.threads;
  if (barrier.arrived == 0) {
    barrier.expected = expected;
    barrier.first = current.linear;
    barrier.place = place;
    barrier.sum = 0;
  } else if (barrier.expected != expected) {
    Fail(fmt::format("{} {} at {} is for {} threads, but thread {} came to it for {} at {}",
                     use.name, use.id, At(place), expected,
                     Triple(threads_[barrier.first].position), barrier.expected,
                     At(barrier.place)));
  } else if (use.same_place && barrier.place.line != place.line) {
    Fail(fmt::format(
        "{} at {}, but thread {} waits in the one at {}: all threads of a block must "
        "come to the same one",
        use.name, At(place), Triple(threads_[barrier.first].position), At(barrier.place)));
  }
  barrier.sum += number;
  if (++barrier.arrived < expected) {
    if (!use.wait) return 0;
    barrier.waiting.push_back(&thread());
    Wait(use.name, place);
    return barrier.result;
  }
  barrier.arrived = 0;
  barrier.result = barrier.sum;
  spinning_since_ = 0;
  for (SimThread* waiting : barrier.waiting) MakeReady(waiting);
  barrier.waiting.clear();
  return barrier.result;
}

void BlockRunner::Pause() {
  if (stop_ != nullptr && stop_->load(std::memory_order_relaxed)) Fail("given up");
  const int64_t now = Now();
  if (spinning_since_ == 0) spinning_since_ = now;
  if (now - spinning_since_ > Options().spin_seconds) {
    Fail(fmt::format("waits for memory in a loop for more than {} s", Options().spin_seconds));
  }
  if (ready_count_ > 0 || started_ < count_) {
    SimThread& self = thread();
    MakeReady(&self);
    SwitchAway(&self.fiber);
    MakeCurrent(self);
  }
  std::this_thread::yield();
}

void BlockRunner::Fail(const std::string& text) {
  error_ = fmt::format("{}: {}", Who(current.linear), text);
  throw ThreadFailed();
}

std::string BlockRunner::Who(unsigned linear) const {
  return fmt::format("kernel {}, block {}, thread {}", KernelName(launch_->kernel),
                     Triple(blockIdx), Triple(threads_[linear].position));
}

// Who waits where, by place, and who has left.
std::string BlockRunner::Deadlock() const {
  struct Group {
    unsigned threads = 0;
    unsigned first = 0;
  };
  std::map<std::string, Group> groups;
  for (unsigned i = 0; i < count_; ++i) {
    const SimThread& thread = threads_[i];
    const std::string where =
        thread.state == SimThreadState::kDone
            ? std::string("left the kernel")
            : fmt::format("wait in {} at {}", thread.waits_in, At(thread.waits_at));
    Group& group = groups[where];
    if (group.threads++ == 0) group.first = i;
  }
  std::string text = fmt::format(
      "kernel {}, block {}: no thread can go on:", KernelName(launch_->kernel), Triple(blockIdx));
  const char* separator = " ";
  for (const auto& [where, group] : groups) {
    text += fmt::format("{}{} of {} threads {} (first: thread {})", separator, group.threads,
                        count_, where, Triple(threads_[group.first].position));
    separator = "; ";
  }
  return text;
}

void BlockRunner::PoisonOnce(void* data, size_t bytes) {
  for (const auto& known : poisoned_) {
    if (known.first == data) return;
  }
  poisoned_.emplace_back(data, bytes);
  std::memset(data, kPoisonByte, bytes);
}

}  // namespace folkmoot::cuda::sim
