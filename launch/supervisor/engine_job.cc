// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_job.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <string_view>
#include <utility>

#include "launch/config_file.h"
#include "launch/supervisor/host_shared_memory.h"
#include "launch/supervisor/process.h"
#include "launch/supervisor/run_directory.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

// A flag whose values ranks must not see.
struct SupervisorsFlag {
  std::string_view name;
  bool many = false;  // values up to the next flag
};
constexpr std::array<SupervisorsFlag, 9> kSupervisorsFlags = {{{"ranks"},
                                                               {"launcher"},
                                                               {"api-key", true},
                                                               {"api-key-file"},
                                                               {"journal"},
                                                               {"hosts"},
                                                               {"hostfile"},
                                                               {"control-host"},
                                                               {"control-port"}}};

// The flag that a word of the command line is, with its value behind '=' or without; null: none.
const SupervisorsFlag* FlagOf(std::string_view word) {
  if (!word.starts_with("--")) return nullptr;
  const std::string_view name = word.substr(2, word.find('=') - 2);
  for (const SupervisorsFlag& flag : kSupervisorsFlags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

// The same flags as variables.
EnvironmentChanges WithoutSupervisorsVariables() {
  EnvironmentChanges changes;
  for (const SupervisorsFlag& flag : kSupervisorsFlags) {
    changes.emplace_back(VariableOf(std::string(flag.name)), std::nullopt);
  }
  return changes;
}

std::string OwnProgram() {
  std::error_code error;
  const fs::path path = fs::read_symlink("/proc/self/exe", error);
  return error ? "folkmoot" : path.string();
}

}  // namespace

std::vector<std::string> RankCommand(const std::vector<std::string>& words) {
  std::vector<std::string> kept = {OwnProgram()};
  for (size_t i = 1; i < words.size(); ++i) {
    const SupervisorsFlag* const flag = FlagOf(words[i]);
    if (flag == nullptr) {
      kept.push_back(words[i]);
      continue;
    }
    if (words[i].find('=') != std::string::npos) continue;
    ++i;  // its value
    while (flag->many && i + 1 < words.size() && !words[i + 1].starts_with('-')) ++i;
  }
  return kept;
}

EngineJob::EngineJob(EngineJobOptions options, std::string directory)
    : options_(std::move(options)), directory_(std::move(directory)) {}

EngineJob::~EngineJob() {
  Kill();
  Ended();
}

std::vector<std::string> EngineJob::Command(int64_t epoch, const std::string& control) const {
  std::vector<std::string> command = WordsOf(options_.launcher);
  const auto add = [&command](const std::vector<std::string>& words) {
    command.insert(command.end(), words.begin(), words.end());
  };
  add({"-n", std::to_string(options_.ranks + options_.spares)});
  if (IsOpenMpiLauncher(options_.launcher)) {
    // As many ranks as were asked for, whatever the cores; a dead rank ends the job at once, or not
    // at all.
    add({"--oversubscribe", "--mca", "odls_base_sigkill_timeout", "0"});
    if (options_.spares > 0) add({"--enable-recovery"});
    if (geteuid() == 0) add({"--allow-run-as-root"});
    if (control.empty()) {
      add({"--mca", "orte_tmpdir_base", scratch_});
      if (!shared_.empty()) add({"--mca", "btl_vader_backing_directory", shared_});
    } else {
      add(LauncherWords(options_.hosts, WithoutSupervisorsVariables()));
    }
  }
  add(options_.rank_command);
  add({"--supervised", directory_, "--epoch", std::to_string(epoch)});
  if (!control.empty()) add({"--control", control});
  return command;
}

absl::Status EngineJob::Start(int64_t epoch, const std::string& control, const std::string& token) {
  std::error_code error;
  scratch_ = fmt::format("{}/{}", directory_, epoch);
  fs::create_directories(scratch_, error);
  if (error) return Unavailable("cannot make {}: {}", scratch_, error.message());
  shared_ = SharedMemoryDirectory(directory_, epoch);
  if (mkdir(shared_.c_str(), S_IRWXU) != 0) shared_.clear();
  EnvironmentChanges changes = WithoutSupervisorsVariables();
  // In place of orte_tmpdir_base, which would be a directory of this host on the others too.
  if (!control.empty()) changes.emplace_back("TMPDIR", scratch_);
  FM_ASSIGN_OR_RETURN(launcher_, StartProgram(Command(epoch, control), changes,
                                              token.empty() ? token : token + '\n'));
  return absl::OkStatus();
}

void EngineJob::Kill() {
  if (launcher_ <= 0) return;
  const bool at_once = IsOpenMpiLauncher(options_.launcher) || std::exchange(asked_, true);
  kill(-launcher_, at_once ? SIGKILL : SIGTERM);
}

void EngineJob::Ended() {
  launcher_ = -1;
  asked_ = false;
  RemoveAll(std::exchange(scratch_, std::string()));
  RemoveAll(std::exchange(shared_, std::string()));
}

}  // namespace folkmoot
