// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries that are loaded when they are needed, not linked: the program starts without
// them.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace folkmoot::cuda {

// A library that was found, with its version, or why not.
struct GpuLibrary {
  std::string name;     // "NCCL"
  std::string version;  // "2.28.9"; empty: it cannot be loaded
  std::string detail;   // the file, or what the loader said
};

// NCCL, cuBLASLt and cuDNN, in this order. Loads them.
std::vector<GpuLibrary> FindGpuLibraries();

// dlopen of the first of the names that can be loaded, by the loader's own search and then in the
// usual folder of the toolkit. The handle stays open for the life of the process: these libraries
// do not bear being closed. NotFound names what was tried.
absl::StatusOr<void*> OpenGpuLibrary(std::initializer_list<const char*> names);

}  // namespace folkmoot::cuda
