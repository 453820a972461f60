// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/listening_sockets.h"

#include <arpa/inet.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

#include "launch/supervisor/process.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

struct ProcessEntry {
  pid_t parent = 0;
  std::string program;
};

constexpr std::array<std::string_view, 7> kLaunchers = {"mpirun",  "mpiexec", "orterun", "orted",
                                                        "prterun", "prted",   "srun"};

std::map<pid_t, ProcessEntry> AllProcesses() {
  std::map<pid_t, ProcessEntry> processes;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t process = 0;
    std::from_chars(name.data(), name.data() + name.size(), process);
    std::ifstream file(entry.path() / "comm");
    std::string program;
    if (process == 0 || !std::getline(file, program)) continue;
    processes[process] = {.parent = ParentOf(process), .program = std::move(program)};
  }
  return processes;
}

bool StartedBy(const std::map<pid_t, ProcessEntry>& processes, pid_t process, pid_t root) {
  // At most as many steps as there are processes: the table is of several moments.
  for (size_t i = 0; i < processes.size() && process != root; ++i) {
    const auto found = processes.find(process);
    if (found == processes.end()) return false;
    process = found->second.parent;
  }
  return process == root;
}

// "socket:[INODE]" -> the process that has it.
void AddSockets(pid_t process, std::map<std::string, pid_t>* owners) {
  std::error_code error;
  const fs::path folder = fs::path("/proc") / std::to_string(process) / "fd";
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string target = fs::read_symlink(entry.path(), error).string();
    if (target.starts_with("socket:[")) owners->emplace(target, process);
  }
}

// As the kernel writes it: words of 32 bits in the machine's order, then the port.
void ReadTableAddress(std::string_view text, ListeningSocket* socket) {
  const size_t digits = std::min(text.find(':'), size_t{32});
  std::array<uint32_t, 4> words{};
  for (size_t i = 0; 8 * i < digits; ++i) {
    std::from_chars(text.data() + 8 * i, text.data() + 8 * i + 8, words[i], 16);
  }
  int port = 0;
  std::from_chars(text.data() + digits + 1, text.data() + text.size(), port, 16);
  std::array<char, INET6_ADDRSTRLEN> name{};
  const bool six = digits > 8;
  inet_ntop(six ? AF_INET6 : AF_INET, words.data(), name.data(), name.size());
  socket->address = fmt::format(fmt::runtime(six ? "[{}]:{}" : "{}:{}"), name.data(), port);
  const std::string_view host(name.data());
  socket->loopback = host == "::1" || host.starts_with("127.") || host.starts_with("::ffff:127.");
}

}  // namespace

std::vector<ListeningSocket> ListeningSocketsOf(pid_t root) {
  const std::map<pid_t, ProcessEntry> processes = AllProcesses();
  std::map<std::string, pid_t> owners;
  for (const auto& [process, entry] : processes) {
    if (StartedBy(processes, process, root)) AddSockets(process, &owners);
  }
  std::vector<ListeningSocket> sockets;
  for (const char* const table : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);  // names of the columns
    while (std::getline(file, line)) {
      std::istringstream words(line);
      std::array<std::string, 10> word;  // number, address, peer, state ... inode
      for (std::string& next : word) words >> next;
      const auto owner = owners.find("socket:[" + word[9] + "]");
      if (word[3] != "0A" || owner == owners.end()) continue;
      ListeningSocket& socket = sockets.emplace_back();
      socket.process = owner->second;
      socket.program = processes.at(owner->second).program;
      ReadTableAddress(word[1], &socket);
    }
  }
  return sockets;
}

void WarnOfListeners(const KnownListeners& known) {
  for (const ListeningSocket& socket : ListeningSocketsOf(known.supervisor)) {
    const bool own = socket.process == known.supervisor || socket.process == known.front_end;
    const bool launcher =
        std::find(kLaunchers.begin(), kLaunchers.end(), socket.program) != kLaunchers.end();
    if (own || launcher || socket.loopback) continue;
    spdlog::warn(
        "{} (pid {}) listens at {}, where nothing protects it; ranks of one host need no port: is "
        "a transport of MPI or NCCL chosen by a variable? See SECURITY.md",
        socket.program, socket.process, socket.address);
  }
}

}  // namespace folkmoot
