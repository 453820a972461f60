// SPDX-License-Identifier: Apache-2.0
// The threads of one rank. The calling thread takes part, so ThreadPool(1) starts none.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace folkmoot {

class ThreadPool {
 public:
  // `threads` >= 1. With `pin` and when the process may use at least that many cores, each thread
  // is bound to one core; otherwise threads stay unbound.
  explicit ThreadPool(int threads, bool pin = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(begin, end, thread) for consecutive ranges that cover [0, items), at most one range
  // per thread and at least `grain` items each, and returns when all are done. Not reentrant; one
  // caller at a time. Allocates nothing. Waiting threads spin briefly, then yield, then sleep, so
  // that shared cores are given up.
  void ParallelFor(int64_t items, int64_t grain,
                   absl::FunctionRef<void(int64_t begin, int64_t end, int thread)> body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace folkmoot
