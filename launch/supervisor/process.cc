// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "launch/supervisor/frame_channel.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

// What every child begins with. False: the parent is gone already.
bool BecomeChild(pid_t parent) {
  setpgid(0, 0);  // signals of the terminal reach the supervisor, which passes them on in its way
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return getppid() == parent;
}

// A descriptor from which `input` can be read, and then the end.
absl::StatusOr<FileDescriptor> InputOf(std::string_view input) {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) return Unavailable("pipe: {}", std::strerror(errno));
  FileDescriptor output(pair[0]);
  const FileDescriptor filling(pair[1]);
  FM_CHECK(input.size() <= PIPE_BUF);  // a pipe has room for that: nobody is waited for
  if (write(filling.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size())) {
    return Unavailable("pipe: {}", std::strerror(errno));
  }
  return output;
}

}  // namespace

absl::StatusOr<pid_t> StartProgram(const std::vector<std::string>& command,
                                   const EnvironmentChanges& environment, std::string_view input) {
  FM_ASSIGN_OR_RETURN(const FileDescriptor standard_input, InputOf(input));
  std::vector<char*> words;
  words.reserve(command.size() + 1);
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return Unavailable("fork: {}", std::strerror(errno));
  if (child > 0) return child;
  if (!BecomeChild(parent)) _exit(1);
  for (const auto& [name, value] : environment) {
    if (value) {
      setenv(name.c_str(), value->c_str(), 1);
    } else {
      unsetenv(name.c_str());
    }
  }
  dup2(standard_input.get(), STDIN_FILENO);
  execvp(words[0], words.data());
  std::fprintf(stderr, "folkmoot: error: %s: %s\n", words[0], std::strerror(errno));
  _exit(127);
}

absl::StatusOr<pid_t> StartCopy(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return Unavailable("fork: {}", std::strerror(errno));
  if (child > 0) return child;
  if (!BecomeChild(parent)) _exit(1);
  const int status = body();
  std::fflush(nullptr);
  _exit(status);
}

pid_t ParentOf(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("PPid:")) return std::atoi(line.c_str() + 5);
  }
  return 0;
}

std::string DescribeExit(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    return fmt::format("was killed by signal {} ({})", signal, strsignal(signal));
  }
  return fmt::format("exited with status {}", WEXITSTATUS(wait_status));
}

absl::StatusOr<std::vector<std::string>> OwnCommandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) return NotFound("/proc/self/cmdline cannot be read: is /proc mounted?");
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

}  // namespace folkmoot
