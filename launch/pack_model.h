// SPDX-License-Identifier: Apache-2.0
// A model directory whose weights are laid out for the kernels of the CPU (runtime/checkpoint/
// panel_file.h): loading it is mapping a file.
#pragma once

#include <functional>
#include <string>

#include "launch/engine_options.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// Writes the weights of options.model, with its --dtype and --quantization (dummy ones with
// --load-format dummy), to `path`; returns the bytes written. Holds one matrix at a time.
// progress(done, total): bytes read.
absl::StatusOr<int64_t> PackModel(const EngineOptions& options, const std::string& path,
                                  ThreadPool& pool,
                                  const std::function<void(int64_t, int64_t)>& progress);

}  // namespace folkmoot
