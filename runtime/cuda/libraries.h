// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries that are loaded when they are needed, not linked: the program starts without
// them.
#pragma once

#include <string>
#include <vector>

namespace folkmoot::cuda {

// A library that was found, with its version, or why not.
struct GpuLibrary {
  std::string name;     // "NCCL"
  std::string version;  // "2.28.9"; empty: it cannot be loaded
  std::string detail;   // the file, or what the loader said
};

// NCCL, cuBLASLt and cuDNN (which nothing uses yet), in this order, searched as
// runtime/shared_library.h says. Loads them.
std::vector<GpuLibrary> FindGpuLibraries();

}  // namespace folkmoot::cuda
