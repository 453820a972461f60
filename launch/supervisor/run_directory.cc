// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/run_directory.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/supervisor/host_shared_memory.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "folkmoot-";
constexpr size_t kNameBytes = kPrefix.size() + 6;  // of mkdtemp

std::string LockOf(const std::string& directory) { return directory + "/lock"; }

// A directory of ours in which nobody lives any more. One without a lock is being made, or is none
// of ours.
bool IsDeserted(const fs::path& path) {
  const std::string name = path.filename();
  struct stat status = {};
  if (!name.starts_with(kPrefix) || name.size() != kNameBytes) return false;
  if (lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return false;
  if (status.st_uid != geteuid()) return false;
  const FileDescriptor lock(open(LockOf(path).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return lock.open() && flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
}

std::vector<fs::path> EntriesOf(const std::string& directory) {
  std::vector<fs::path> entries;
  std::error_code ignored;
  for (fs::directory_iterator entry(directory, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    entries.push_back(entry->path());
  }
  return entries;
}

void RemoveDeserted(const std::string& base) {
  for (const fs::path& path : EntriesOf(base)) {
    if (!IsDeserted(path)) continue;
    RemoveSharedMemory(path);
    RemoveAll(path);
    spdlog::warn("removed {}, which a killed server had left", path.string());
  }
}

// Locked before it has its name, so that nobody takes it for deserted in between.
absl::StatusOr<FileDescriptor> Lock(const std::string& directory) {
  const std::string early = LockOf(directory) + ".new";
  FileDescriptor lock(open(early.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (lock.open() && flock(lock.get(), LOCK_EX | LOCK_NB) == 0 &&
      rename(early.c_str(), LockOf(directory).c_str()) == 0) {
    return lock;
  }
  return Unavailable("{}: cannot be locked: {}", directory, std::strerror(errno));
}

}  // namespace

void RemoveAll(const std::string& path) {
  std::error_code ignored;
  if (!path.empty()) fs::remove_all(path, ignored);
}

absl::StatusOr<RunDirectory> RunDirectory::Create() {
  const char* const tmpdir = std::getenv("TMPDIR");
  const std::string base = tmpdir != nullptr ? tmpdir : "/tmp";
  RemoveDeserted(base);
  std::string path = fmt::format("{}/{}XXXXXX", base, kPrefix);
  if (mkdtemp(path.data()) == nullptr) {
    return Unavailable("cannot make a directory like {}: {}; set TMPDIR to where there is room",
                       path, std::strerror(errno));
  }
  RunDirectory directory;
  directory.path_ = path;
  FM_ASSIGN_OR_RETURN(directory.lock_, Lock(path));
  return directory;
}

RunDirectory::RunDirectory(RunDirectory&& other) noexcept
    : path_(std::exchange(other.path_, std::string())), lock_(std::move(other.lock_)) {}

RunDirectory::~RunDirectory() { RemoveAll(path_); }

}  // namespace folkmoot
