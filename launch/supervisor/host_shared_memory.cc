// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/host_shared_memory.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

constexpr char kSharedMemory[] = "/dev/shm";

}  // namespace

std::string SharedMemoryDirectory(const std::string& directory, int64_t epoch) {
  return fmt::format("{}/{}-{}", kSharedMemory, fs::path(directory).filename().string(), epoch);
}

void RemoveSharedMemory(const std::string& directory, const std::string& but) {
  const std::string server = fs::path(directory).filename().string() + "-";
  std::error_code error;
  for (fs::directory_iterator entry(kSharedMemory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    std::error_code ignored;
    if (name.starts_with(server) && entry->path() != but) fs::remove_all(entry->path(), ignored);
  }
}

void UseSharedMemoryDirectory(const std::string& directory, int64_t epoch) {
  const std::string mine = SharedMemoryDirectory(directory, epoch);
  RemoveSharedMemory(directory, mine);
  // Another rank of this host may have made it. Without it MPI's own place does.
  mkdir(mine.c_str(), S_IRWXU);
  std::error_code error;
  if (fs::is_directory(mine, error)) {
    setenv("OMPI_MCA_btl_vader_backing_directory", mine.c_str(), /*overwrite=*/0);
  }
}

void UnlinkSharedMemory(const std::string& directory, int64_t epoch) {
  const fs::path mine = SharedMemoryDirectory(directory, epoch);
  const fs::path empty = mine / fmt::format(".{}", getpid());
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(mine, error)) {
    if (entry.path().filename().string().starts_with('.')) continue;
    // At once, so that the other ranks of this host may do the same.
    if (std::ofstream(empty)) fs::rename(empty, entry.path(), error);
  }
}

void LeaveSharedMemoryDirectory(const std::string& directory, int64_t epoch) {
  rmdir(SharedMemoryDirectory(directory, epoch).c_str());
}

}  // namespace folkmoot
