// SPDX-License-Identifier: Apache-2.0
// Each call of ParallelFor is one generation. A range belongs to one slot, and whoever first moves
// the slot's `claimed` word to the generation runs it: the slot's own thread, or the caller when
// that thread has not woken up by the time the caller is free. So a thread that the operating
// system keeps waiting costs its share of speed and never a stall.
#include "runtime/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "runtime/check.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;
using Body = absl::FunctionRef<void(int64_t, int64_t, int)>;

constexpr auto kSpin = std::chrono::microseconds(40);
constexpr auto kYield = std::chrono::microseconds(200);

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `word` differs from `old`: spins, then yields the core, then sleeps.
uint32_t AwaitChange(const std::atomic<uint32_t>& word, uint32_t old) {
  for (int i = 0; i < 64; ++i) {
    const uint32_t now = word.load(std::memory_order_acquire);
    if (now != old) return now;
    Pause();
  }
  const auto start = Clock::now();
  while (true) {
    for (int i = 0; i < 16; ++i) {
      const uint32_t now = word.load(std::memory_order_acquire);
      if (now != old) return now;
      Pause();
    }
    const auto waited = Clock::now() - start;
    if (waited > kSpin + kYield) break;
    if (waited > kSpin) std::this_thread::yield();
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

std::vector<int> AllowedCores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<size_t>(core), &set)) cores.push_back(core);
  }
  return cores;
}

void BindTo(pthread_t thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(core), &set);
  // A refusal (a container's policy) leaves the thread unbound, which is correct if slower.
  (void)pthread_setaffinity_np(thread, sizeof(set), &set);
}

}  // namespace

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): threads share no line on purpose
struct ThreadPool::Impl {
  struct alignas(64) Slot {
    std::atomic<uint32_t> claimed{0};
    int64_t begin = 0;
    int64_t end = 0;
  };

  explicit Impl(int count) : slots(static_cast<size_t>(count)) {}

  // Runs the range of `slot` unless somebody else has taken it.
  void TryRun(size_t slot, uint32_t now) {
    Slot& s = slots[slot];
    uint32_t expected = now - 1;
    if (!s.claimed.compare_exchange_strong(expected, now, std::memory_order_acq_rel)) return;
    (*body)(s.begin, s.end, static_cast<int>(slot));
    if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
  }

  void WorkerLoop(size_t slot) {
    uint32_t seen = 0;
    while (true) {
      seen = AwaitChange(generation, seen);
      if (stop.load(std::memory_order_acquire)) return;
      TryRun(slot, seen);
    }
  }

  std::vector<Slot> slots;  // slot 0 is the caller's
  alignas(64) std::atomic<uint32_t> generation{0};
  std::atomic<bool> stop{false};
  const Body* body = nullptr;
  alignas(64) std::atomic<uint32_t> pending{0};
  std::vector<std::thread> workers;
  cpu_set_t caller_cores = {};  // restored at the end when the caller was bound
  bool caller_bound = false;
};

ThreadPool::ThreadPool(int threads, bool pin) : impl_(std::make_unique<Impl>(threads)) {
  FM_CHECK(threads >= 1);
  for (int slot = 1; slot < threads; ++slot) {
    impl_->workers.emplace_back(
        [impl = impl_.get(), slot] { impl->WorkerLoop(static_cast<size_t>(slot)); });
  }
  const std::vector<int> cores = pin ? AllowedCores() : std::vector<int>();
  if (cores.size() < static_cast<size_t>(threads)) return;
  CPU_ZERO(&impl_->caller_cores);
  impl_->caller_bound = pthread_getaffinity_np(pthread_self(), sizeof(impl_->caller_cores),
                                               &impl_->caller_cores) == 0;
  BindTo(pthread_self(), cores[0]);
  for (size_t slot = 1; slot < impl_->slots.size(); ++slot) {
    BindTo(impl_->workers[slot - 1].native_handle(), cores[slot]);
  }
}

ThreadPool::~ThreadPool() {
  impl_->stop.store(true, std::memory_order_release);
  impl_->generation.fetch_add(1, std::memory_order_acq_rel);
  impl_->generation.notify_all();
  for (std::thread& worker : impl_->workers) worker.join();
  if (impl_->caller_bound) {
    (void)pthread_setaffinity_np(pthread_self(), sizeof(impl_->caller_cores), &impl_->caller_cores);
  }
}

int ThreadPool::threads() const { return static_cast<int>(impl_->slots.size()); }

void ThreadPool::ParallelFor(int64_t items, int64_t grain, Body body) {
  if (items <= 0) return;
  Impl& impl = *impl_;
  const auto slots = static_cast<int64_t>(impl.slots.size());
  const int64_t ranges = std::clamp<int64_t>(items / std::max<int64_t>(grain, 1), 1, slots);
  if (ranges == 1) {
    body(0, items, 0);
    return;
  }
  impl.body = &body;
  impl.pending.store(static_cast<uint32_t>(ranges - 1), std::memory_order_relaxed);
  const uint32_t now = impl.generation.load(std::memory_order_relaxed) + 1;
  for (int64_t slot = 1; slot < slots; ++slot) {
    Impl::Slot& s = impl.slots[static_cast<size_t>(slot)];
    s.begin = items * slot / ranges;
    s.end = items * (slot + 1) / ranges;
    if (slot >= ranges) s.claimed.store(now, std::memory_order_relaxed);  // nothing to run
  }
  impl.generation.store(now, std::memory_order_release);
  impl.generation.notify_all();
  body(0, items / ranges, 0);
  for (int64_t slot = 1; slot < ranges; ++slot) impl.TryRun(static_cast<size_t>(slot), now);
  uint32_t pending = impl.pending.load(std::memory_order_acquire);
  while (pending != 0) pending = AwaitChange(impl.pending, pending);
}

}  // namespace folkmoot
