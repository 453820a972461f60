// SPDX-License-Identifier: Apache-2.0
// Is a thread getting on? Read by another one at any time.
#pragma once

#include <pthread.h>

#include <atomic>
#include <ctime>

#include "parallel/progress.h"

namespace folkmoot {

struct ThreadPulse {
  Progress progress;

  // The calling thread is the one.
  void Adopt() {
    clockid_t id = 0;
    if (pthread_getcpuclockid(pthread_self(), &id) == 0) clock_.store(id);
  }
  // Processor time that it has used; 0 before Adopt, and when it has ended.
  double cpu_seconds() const {
    timespec time = {};
    const clockid_t id = clock_.load();
    if (id == CLOCK_REALTIME || clock_gettime(id, &time) != 0) return 0;
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }

 private:
  std::atomic<clockid_t> clock_{CLOCK_REALTIME};
};

}  // namespace folkmoot
