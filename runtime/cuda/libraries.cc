// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/libraries.h"

#include <dlfcn.h>
#include <fmt/ranges.h>

#include <cstddef>

namespace folkmoot::cuda {
namespace {

// ncclGetVersion, which takes an int*; the others return a size_t.
std::string NcclVersion(void* symbol) {
  int version = 0;
  if (reinterpret_cast<int (*)(int*)>(symbol)(&version) != 0) return "unknown";
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

std::string PlainVersion(void* symbol) {
  const auto version = reinterpret_cast<size_t (*)()>(symbol)();
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

GpuLibrary Find(const char* name, std::initializer_list<const char*> files, const char* symbol,
                std::string (*version)(void*)) {
  GpuLibrary library;
  library.name = name;
  const absl::StatusOr<void*> handle = OpenGpuLibrary(files);
  if (!handle.ok()) {
    library.detail = Message(handle.status());
    return library;
  }
  void* function = dlsym(*handle, symbol);
  if (function == nullptr) {
    library.detail = fmt::format("{} has no {}", *files.begin(), symbol);
    return library;
  }
  library.version = version(function);
  Dl_info where{};
  if (dladdr(function, &where) != 0 && where.dli_fname != nullptr) library.detail = where.dli_fname;
  return library;
}

}  // namespace

std::vector<GpuLibrary> FindGpuLibraries() {
  return {Find("NCCL", {"libnccl.so.2"}, "ncclGetVersion", &NcclVersion),
          Find("cuBLASLt", {"libcublasLt.so.13", "libcublasLt.so.12"}, "cublasLtGetVersion",
               &PlainVersion),
          Find("cuDNN", {"libcudnn.so.9"}, "cudnnGetVersion", &PlainVersion)};
}

absl::StatusOr<void*> OpenGpuLibrary(std::initializer_list<const char*> names) {
  std::string why;
  for (const char* folder : {"", "/usr/local/cuda/lib64/"}) {
    for (const char* name : names) {
      const std::string path = fmt::format("{}{}", folder, name);
      if (void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
      if (why.empty()) why = dlerror();
    }
  }
  return NotFound("{} cannot be loaded: {}", fmt::join(names, ", "), why);
}

}  // namespace folkmoot::cuda
