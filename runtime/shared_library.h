// SPDX-License-Identifier: Apache-2.0
// Libraries that the program can do without (NCCL, cuBLASLt): looked for when they are wanted, and
// missing by name when they are not there.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// Where to look, in this order: the folders given, the folder of the program, the loader's own path
// (an empty folder name below), then well-known places.
struct LibrarySearch {
  std::vector<std::string> folders;  // of the user
  std::string program_folder;
  std::vector<std::string> python_prefixes;  // trees that have lib/python3.*/
  std::vector<std::string> toolkit_folders;

  // The user's folders from FOLKMOOT_LIBRARY_PATH (separated by ':'), Python trees from VIRTUAL_ENV
  // and CONDA_PREFIX beside the usual ones.
  static LibrarySearch FromEnvironment();

  // Full names to try for the library `file` ("libnccl.so.2"), which a Python package may hold in
  // one of `package_folders` ("nvidia/nccl/lib").
  std::vector<std::string> Candidates(std::string_view file,
                                      const std::vector<std::string>& package_folders) const;
};

// A loaded library. Copies share it. It is never unloaded: its threads may outlive us.
class SharedLibrary {
 public:
  // The first candidate that loads. NotFound lists what was tried, and why a file that exists did
  // not load.
  static absl::StatusOr<SharedLibrary> Open(std::string_view file,
                                            const std::vector<std::string>& candidates);

  // nullptr when the library does not have it.
  void* Symbol(const char* name) const;
  // As the loader knows it.
  const std::string& path() const { return path_; }

 private:
  SharedLibrary(void* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  void* handle_;
  std::string path_;
};

// Answers nullptr for what a library does not have.
using SymbolSource = std::function<void*(const char*)>;

// Fills pointers to functions, or std::functions that tests replace, and remembers what was
// missing. `source` must outlive it.
class SymbolTable {
 public:
  explicit SymbolTable(const SymbolSource& source) : source_(source) {}

  template <typename Result, typename... Args>
  void Optional(const char* name, Result (*&function)(Args...)) {
    function = reinterpret_cast<Result (*)(Args...)>(source_(name));
  }
  template <typename Result, typename... Args>
  void Optional(const char* name, std::function<Result(Args...)>& function) {
    Result (*address)(Args...) = nullptr;
    Optional(name, address);
    if (address != nullptr) function = address;
  }
  template <typename Function>
  void Required(const char* name, Function& function) {
    Optional(name, function);
    if (!function) missing_ += (missing_.empty() ? "" : ", ") + std::string(name);
  }
  const std::string& missing() const { return missing_; }

 private:
  const SymbolSource& source_;
  std::string missing_;
};

}  // namespace folkmoot
