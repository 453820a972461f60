// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_job.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <utility>

#include "launch/config_file.h"
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
constexpr std::array<SupervisorsFlag, 5> kSupervisorsFlags = {
    {{"ranks"}, {"launcher"}, {"api-key", true}, {"api-key-file"}, {"journal"}}};

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

std::vector<std::string> WordsOf(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(std::move(word));
  return words;
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

std::vector<std::string> EngineJob::Command(int64_t epoch) const {
  std::vector<std::string> command = WordsOf(options_.launcher);
  const std::string program = fs::path(command.front()).filename();
  command.insert(command.end(), {"-n", std::to_string(options_.ranks)});
  if (program == "mpirun" || program == "mpiexec" || program == "orterun") {
    // As many ranks as were asked for, whatever the cores; a dead rank ends the job at once.
    command.insert(command.end(), {"--oversubscribe", "--mca", "odls_base_sigkill_timeout", "0",
                                   "--mca", "orte_tmpdir_base", scratch_});
    if (!shared_.empty()) {
      command.insert(command.end(), {"--mca", "btl_vader_backing_directory", shared_});
    }
    if (geteuid() == 0) command.emplace_back("--allow-run-as-root");
  }
  command.insert(command.end(), options_.rank_command.begin(), options_.rank_command.end());
  command.insert(command.end(), {"--supervised", directory_, "--epoch", std::to_string(epoch)});
  return command;
}

absl::Status EngineJob::Start(int64_t epoch) {
  std::error_code error;
  scratch_ = fmt::format("{}/{}", directory_, epoch);
  fs::create_directories(scratch_, error);
  if (error) return Unavailable("cannot make {}: {}", scratch_, error.message());
  shared_ = SharedMemoryOf(directory_, epoch);
  if (mkdir(shared_.c_str(), S_IRWXU) != 0) shared_.clear();
  FM_ASSIGN_OR_RETURN(launcher_, StartProgram(Command(epoch), WithoutSupervisorsVariables()));
  return absl::OkStatus();
}

void EngineJob::Kill() {
  if (launcher_ > 0) kill(-launcher_, SIGKILL);
}

void EngineJob::Ended() {
  launcher_ = -1;
  RemoveAll(std::exchange(scratch_, std::string()));
  RemoveAll(std::exchange(shared_, std::string()));
}

}  // namespace folkmoot
