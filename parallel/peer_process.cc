// SPDX-License-Identifier: Apache-2.0
#include "parallel/peer_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <climits>
#include <span>
#include <utility>
#include <vector>

namespace folkmoot {
namespace {

struct ProcessState {
  char state = 0;  // as in /proc/<pid>/stat; 0: no such process
  uint64_t start_time = 0;
};

// Reads a small file of /proc into `buffer`; returns the bytes read, 0 on failure.
size_t ReadSmallFile(const char* path, std::span<char> buffer) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t bytes = read(fd, buffer.data(), buffer.size());
  close(fd);
  return bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

// The state and start time of /proc/<pid>/stat: fields 3 and 22, counted after the command name,
// which is in parentheses and may itself contain any character.
ProcessState ReadState(int pid) {
  std::array<char, 64> path{};
  fmt::format_to_n(path.data(), path.size() - 1, "/proc/{}/stat", pid);
  std::array<char, 1024> text{};
  const size_t bytes = ReadSmallFile(path.data(), text);
  const std::string_view line(text.data(), bytes);
  const size_t name_end = line.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 >= line.size()) return {};
  ProcessState result;
  result.state = line[name_end + 2];
  size_t at = name_end + 2;
  for (int field = 3; field < 22; ++field) {
    at = line.find(' ', at);
    if (at == std::string_view::npos) return {};
    ++at;
  }
  std::from_chars(line.data() + at, line.data() + line.size(), result.start_time);
  return result;
}

std::string MachineName() {
  std::array<char, 64> boot{};
  const size_t boot_bytes = ReadSmallFile("/proc/sys/kernel/random/boot_id", boot);
  std::array<char, 64> space{};
  const ssize_t space_bytes = readlink("/proc/self/ns/pid", space.data(), space.size());
  // Without either nothing is known, and an empty name equals no other.
  if (boot_bytes == 0 || space_bytes <= 0) return "";
  return std::string(boot.data(), boot_bytes - 1) + " " +
         std::string(space.data(), static_cast<size_t>(space_bytes));
}

}  // namespace

ProcessIdentity ProcessIdentity::Own() {
  ProcessIdentity own;
  std::array<char, HOST_NAME_MAX + 1> host{};
  if (gethostname(host.data(), host.size() - 1) == 0) own.host = host.data();
  own.machine = MachineName();
  own.pid = getpid();
  own.start_time = ReadState(own.pid).start_time;
  return own;
}

std::string ProcessIdentity::Encode() const {
  return fmt::format("{}\n{}\n{}\n{}", host, machine, pid, start_time);
}

absl::StatusOr<ProcessIdentity> ProcessIdentity::Decode(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == '\n') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  ProcessIdentity identity;
  const auto parse = [](const std::string& digits, auto* value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *value);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  if (parts.size() != 4 || !parse(parts[2], &identity.pid) ||
      !parse(parts[3], &identity.start_time)) {
    return DataLoss("'{}' does not describe a process; do all ranks run the same build?", text);
  }
  identity.host = parts[0];
  identity.machine = parts[1];
  return identity;
}

std::string ProcessIdentity::Name() const { return fmt::format("pid {} on {}", pid, host); }

PeerProcess::PeerProcess(const ProcessIdentity& identity, const ProcessIdentity& own)
    : pid_(identity.pid),
      start_time_(identity.start_time),
      local_(!own.machine.empty() && identity.machine == own.machine && identity.pid != own.pid &&
             identity.start_time != 0) {
  if (!local_) return;
#ifdef SYS_pidfd_open
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
#endif
  // The descriptor names whoever has the pid now; only the start time tells that it is the peer.
  const ProcessState state = ReadState(pid_);
  gone_ = state.start_time != start_time_ || state.state == 'Z' || state.state == 'X';
}

PeerProcess::~PeerProcess() {
  if (pidfd_ >= 0) close(pidfd_);
}

PeerProcess::PeerProcess(PeerProcess&& other) noexcept
    : pid_(other.pid_),
      start_time_(other.start_time_),
      local_(other.local_),
      gone_(other.gone_),
      pidfd_(std::exchange(other.pidfd_, -1)) {}

bool PeerProcess::Gone() {
  if (!local_ || gone_) return gone_;
  if (pidfd_ >= 0) {
    pollfd entry{pidfd_, POLLIN, 0};
    gone_ = poll(&entry, 1, 0) == 1;
    return gone_;
  }
  const ProcessState state = ReadState(pid_);
  gone_ = state.start_time != start_time_ || state.state == 'Z' || state.state == 'X';
  return gone_;
}

absl::StatusOr<PeerProcesses> PeerProcesses::Create(const std::vector<std::string>& encoded,
                                                    const ProcessIdentity& own) {
  PeerProcesses peers;
  peers.processes_.reserve(encoded.size());
  for (const std::string& text : encoded) {
    FM_ASSIGN_OR_RETURN(const ProcessIdentity identity, ProcessIdentity::Decode(text));
    peers.identities_.push_back(identity);
    peers.processes_.emplace_back(identity, own);
    if (peers.processes_.back().local()) ++peers.on_this_host_;
  }
  return peers;
}

int PeerProcesses::FirstGone() {
  for (size_t r = 0; r < processes_.size(); ++r) {
    if (processes_[r].Gone()) return static_cast<int>(r);
  }
  return -1;
}

std::string PeerProcesses::Name(int rank) const {
  if (identities_.empty()) return fmt::format("rank {}", rank);
  return fmt::format("rank {} ({})", rank, identities_[static_cast<size_t>(rank)].Name());
}

}  // namespace folkmoot
