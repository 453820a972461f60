// SPDX-License-Identifier: Apache-2.0
// How far the computing thread of a rank has come, for another thread to read at any time.
#pragma once

#include <atomic>
#include <cstdint>

#include "parallel/communicator.h"

namespace folkmoot {

class Progress {
 public:
  struct View {
    uint64_t count = 0;  // grows with every exchange that begins or ends, and with GetOn
    WaitLabel label;     // of the exchange that it is in, or was in last
    bool waiting = false;
  };

  void Begin(const WaitLabel& label) {
    phase_.store(label.phase, std::memory_order_relaxed);
    layer_.store(label.layer, std::memory_order_relaxed);
    step_.store(label.step, std::memory_order_relaxed);
    waiting_.store(true, std::memory_order_relaxed);
    Count();
  }
  void End() {
    waiting_.store(false, std::memory_order_relaxed);
    Count();
  }

  // Outside of exchanges.
  void GetOn() { Count(); }

  // The parts may be of two moments; `count` is then still growing.
  View Read() const {
    return {.count = count_.load(std::memory_order_acquire),
            .label = {.phase = phase_.load(std::memory_order_relaxed),
                      .layer = layer_.load(std::memory_order_relaxed),
                      .step = step_.load(std::memory_order_relaxed)},
            .waiting = waiting_.load(std::memory_order_relaxed)};
  }

 private:
  void Count() { count_.fetch_add(1, std::memory_order_release); }

  std::atomic<uint64_t> count_{0};
  std::atomic<const char*> phase_{"start"};
  std::atomic<int> layer_{-1};
  std::atomic<int64_t> step_{-1};
  std::atomic<bool> waiting_{false};
};

}  // namespace folkmoot
