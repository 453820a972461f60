// SPDX-License-Identifier: Apache-2.0
#include "runtime/shared_library.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> SplitPath(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(':'), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// Folders of Python packages under `prefix`, the newest Python first.
std::vector<fs::path> PackageFolders(const std::string& prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(fs::path(prefix) / "lib", error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename().string().rfind("python3", 0) != 0) continue;
    found.push_back(at->path() / "site-packages");
    found.push_back(at->path() / "dist-packages");
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

std::string PathOf(void* handle, const std::string& candidate) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && map->l_name[0] != '\0') {
    return map->l_name;
  }
  return candidate;
}

}  // namespace

LibrarySearch LibrarySearch::FromEnvironment() {
  LibrarySearch search;
  if (const char* path = std::getenv("FOLKMOOT_LIBRARY_PATH")) search.folders = SplitPath(path);
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) search.program_folder = program.parent_path().string();
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const char* prefix = std::getenv(variable)) search.python_prefixes.emplace_back(prefix);
  }
  if (const char* home = std::getenv("HOME")) {
    search.python_prefixes.push_back(std::string(home) + "/.local");
  }
  search.python_prefixes.insert(search.python_prefixes.end(), {"/usr/local", "/usr"});
  search.toolkit_folders = {"/usr/local/cuda/lib64", "/usr/local/cuda/lib"};
  return search;
}

std::vector<std::string> LibrarySearch::Candidates(
    std::string_view file, const std::vector<std::string>& package_folders) const {
  std::vector<std::string> candidates;
  const auto add = [&](const fs::path& folder) { candidates.push_back(folder / file); };
  for (const std::string& folder : folders) add(folder);
  if (!program_folder.empty()) add(program_folder);
  candidates.emplace_back(file);  // without a slash: the loader's own path
  for (const std::string& prefix : python_prefixes) {
    for (const fs::path& packages : PackageFolders(prefix)) {
      for (const std::string& folder : package_folders) add(packages / folder);
    }
  }
  for (const std::string& folder : toolkit_folders) add(folder);
  return candidates;
}

absl::StatusOr<SharedLibrary> SharedLibrary::Open(std::string_view file,
                                                  const std::vector<std::string>& candidates) {
  std::string failures;
  for (const std::string& candidate : candidates) {
    const bool by_loader = candidate.find('/') == std::string::npos;
    std::error_code error;
    if (!by_loader && !fs::exists(candidate, error)) continue;
    // Lazy: a library whose own needs are not met fails here all the same, by name.
    if (void* handle = dlopen(candidate.c_str(), RTLD_LAZY | RTLD_LOCAL)) {
      return SharedLibrary(handle, PathOf(handle, candidate));
    }
    const char* reason = dlerror();
    if (!by_loader && reason != nullptr) failures += fmt::format("; {}", reason);
  }
  return NotFound(
      "{} was not found{}; install it, or name its folder in the environment variable "
      "FOLKMOOT_LIBRARY_PATH (looked in the program's folder, the loader's path, the NVIDIA Python "
      "packages and the CUDA toolkit)",
      file, failures);
}

void* SharedLibrary::Symbol(const char* name) const { return dlsym(handle_, name); }

}  // namespace folkmoot
