// SPDX-License-Identifier: Apache-2.0
// How the ranks of a job share a model: by experts, each with sequences of its own, or tensor by
// tensor, all on the same sequences (docs/adr/0016-tensor-parallel-by-output-columns.md).
#pragma once

#include "launch/engine_options.h"
#include "parallel/communicator.h"
#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

struct Parallelism {
  bool tensor = false;  // else by experts; of one rank there is no difference
  bool spin = false;    // every compute thread of this host has a core of its own
};

// What can be said without the other ranks: combinations of flags that mean nothing.
absl::Status CheckParallelism(const EngineOptions& options, bool on_gpu);

// Decides as options.parallelism says; `auto`: tensor when all ranks are on this host, on the CPU,
// each has key-value heads, and no flag says anything about experts. Collective; the same on all
// ranks, but for `spin`. `threads`: compute threads of this rank.
absl::StatusOr<Parallelism> ChooseParallelism(const EngineOptions& options,
                                              const ModelConfig& config, bool on_gpu, int threads,
                                              Communicator& world);

// "expert" or "tensor", as users know it.
const char* ParallelismName(bool tensor);

}  // namespace folkmoot
