// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/libraries.h"

#include <fmt/format.h>

#include <cstddef>

#include "runtime/shared_library.h"

namespace folkmoot::cuda {
namespace {

struct Wanted {
  const char* name;
  std::vector<const char*> files;  // the best first
  std::vector<std::string> package_folders;
  const char* version_symbol;
  std::string (*version)(void*);
};

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

GpuLibrary Find(const Wanted& wanted, const LibrarySearch& search) {
  GpuLibrary found = {.name = wanted.name};
  for (const char* file : wanted.files) {
    const absl::StatusOr<SharedLibrary> library =
        SharedLibrary::Open(file, search.Candidates(file, wanted.package_folders));
    if (!library.ok()) {
      if (found.detail.empty()) found.detail = Message(library.status());
      continue;
    }
    void* function = library->Symbol(wanted.version_symbol);
    found.detail = library->path();
    if (function != nullptr) {
      found.version = wanted.version(function);
    } else {
      found.detail += fmt::format(" has no {}", wanted.version_symbol);
    }
    break;
  }
  return found;
}

}  // namespace

std::vector<GpuLibrary> FindGpuLibraries() {
  const LibrarySearch search = LibrarySearch::FromEnvironment();
  return {Find({.name = "NCCL",
                .files = {"libnccl.so.2"},
                .package_folders = {"nvidia/nccl/lib", "nvidia/cu13/lib", "nvidia/cu12/lib"},
                .version_symbol = "ncclGetVersion",
                .version = &NcclVersion},
               search),
          Find({.name = "cuBLASLt",
                .files = {"libcublasLt.so.13", "libcublasLt.so.12"},
                .package_folders = {"nvidia/cublas/lib", "nvidia/cu13/lib", "nvidia/cu12/lib"},
                .version_symbol = "cublasLtGetVersion",
                .version = &PlainVersion},
               search),
          Find({.name = "cuDNN",
                .files = {"libcudnn.so.9"},
                .package_folders = {"nvidia/cudnn/lib"},
                .version_symbol = "cudnnGetVersion",
                .version = &PlainVersion},
               search)};
}

}  // namespace folkmoot::cuda
