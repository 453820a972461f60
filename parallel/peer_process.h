// SPDX-License-Identifier: Apache-2.0
// Is the process of another rank still alive? Known at once and without MPI when it runs on this
// host: MPI itself does not tell (Open MPI 4.1 waits for a dead peer for ever).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// Who a process is, on which machine. `machine` is equal for two processes only when they can look
// each other up by pid: same boot and same pid namespace.
struct ProcessIdentity {
  std::string host;
  std::string machine;
  int pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot; with the pid it never repeats

  static ProcessIdentity Own();
  std::string Encode() const;
  static absl::StatusOr<ProcessIdentity> Decode(const std::string& text);
  // "pid 4711 on node3".
  std::string Name() const;
};

// Watches one process. Cheap to ask (one system call); allocates nothing. Move-only.
class PeerProcess {
 public:
  // A process of another machine, or this process itself, is never found gone.
  PeerProcess(const ProcessIdentity& identity, const ProcessIdentity& own);
  ~PeerProcess();
  PeerProcess(PeerProcess&& other) noexcept;
  PeerProcess& operator=(PeerProcess&&) = delete;
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  bool local() const { return local_; }
  // True once the process has ended (also when it is a zombie); then true for ever.
  bool Gone();

 private:
  int pid_;
  uint64_t start_time_;
  bool local_;
  bool gone_ = false;
  int pidfd_ = -1;
};

// The processes of all ranks of a group, as one rank sees them.
class PeerProcesses {
 public:
  PeerProcesses() = default;
  // encoded[r]: ProcessIdentity::Encode of rank r.
  static absl::StatusOr<PeerProcesses> Create(const std::vector<std::string>& encoded,
                                              const ProcessIdentity& own);

  bool empty() const { return identities_.empty(); }
  // This process included.
  int on_this_host() const { return on_this_host_; }
  bool Gone(int rank) { return processes_[static_cast<size_t>(rank)].Gone(); }
  // The lowest rank whose process is gone, -1 when there is none. One system call per local peer.
  int FirstGone();
  // "rank 2 (pid 4711 on node3)"; "rank 2" before the peers are known.
  std::string Name(int rank) const;

 private:
  std::vector<ProcessIdentity> identities_;
  std::vector<PeerProcess> processes_;
  int on_this_host_ = 1;
};

}  // namespace folkmoot
