// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_hosts.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "launch/supervisor/tcp_socket.h"

namespace folkmoot {
namespace {

constexpr std::string_view kNameCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
constexpr std::string_view kOurVariables = "FOLKMOOT_";

// A name goes to the launcher and on to ssh: it must not look like a flag or a command there.
absl::Status AddHost(std::string_view name, const std::string& source, EngineHosts* hosts) {
  if (name.empty() || name.starts_with('-') ||
      name.find_first_not_of(kNameCharacters) != std::string_view::npos) {
    return InvalidArgument("{}: '{}' is no name of a host", source, name);
  }
  if (std::find(hosts->names.begin(), hosts->names.end(), name) == hosts->names.end()) {
    hosts->names.emplace_back(name);
  }
  return absl::OkStatus();
}

absl::Status ReadList(EngineHosts* hosts) {
  std::istringstream parts(hosts->list);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t colon = part.find(':');
    FM_RETURN_IF_ERROR(AddHost(std::string_view(part).substr(0, colon), "--hosts", hosts));
    if (colon == std::string::npos) continue;
    const std::string_view slots = std::string_view(part).substr(colon + 1);
    if (slots.empty() || slots.find_first_not_of("0123456789") != std::string_view::npos) {
      return InvalidArgument("--hosts: '{}': a number of ranks goes behind the ':'", part);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadHostfile(EngineHosts* hosts) {
  std::ifstream lines(hosts->file);
  if (!lines) return NotFound("--hostfile {}: it cannot be read", hosts->file);
  const std::string source = "--hostfile " + hosts->file;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string name;
    if (words >> name) FM_RETURN_IF_ERROR(AddHost(name, source, hosts));
  }
  if (hosts->names.empty()) return InvalidArgument("{}: no host stands there", source);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EngineHosts> ReadHosts(const std::string& list, const std::string& file) {
  EngineHosts hosts;
  hosts.list = list;
  hosts.file = file;
  if (!list.empty() && !file.empty()) {
    return InvalidArgument("--hosts and --hostfile say the same: give one of them");
  }
  if (!list.empty()) FM_RETURN_IF_ERROR(ReadList(&hosts));
  if (!file.empty()) FM_RETURN_IF_ERROR(ReadHostfile(&hosts));
  return hosts;
}

std::vector<std::string> WordsOf(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(std::move(word));
  return words;
}

bool IsOpenMpiLauncher(const std::string& launcher) {
  const std::vector<std::string> words = WordsOf(launcher);
  if (words.empty()) return false;
  const std::string program = std::filesystem::path(words.front()).filename();
  return program == "mpirun" || program == "mpiexec" || program == "orterun";
}

std::vector<std::string> LauncherWords(const EngineHosts& hosts,
                                       const EnvironmentChanges& without) {
  std::vector<std::string> words;
  if (!hosts.list.empty()) words = {"--host", hosts.list};
  if (!hosts.file.empty()) words = {"--hostfile", hosts.file};
  for (const char* const setting : {"time", "intvl", "probes"}) {
    const bool probes = std::string_view(setting) == "probes";
    words.insert(words.end(),
                 {"--mca", fmt::format("oob_tcp_keepalive_{}", setting), probes ? "2" : "1"});
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    const std::string name(text.substr(0, text.find('=')));
    const bool ours = name.starts_with(kOurVariables) &&
                      std::none_of(without.begin(), without.end(),
                                   [&](const auto& change) { return change.first == name; });
    if (ours) words.insert(words.end(), {"-x", name});
  }
  return words;
}

std::string MissingHosts(const std::vector<std::string>& names,
                         const std::vector<std::string>& seen) {
  std::string missing;
  for (const std::string& name : names) {
    const bool here = std::any_of(seen.begin(), seen.end(),
                                  [&](const std::string& host) { return SameHost(host, name); });
    if (!here) missing += (missing.empty() ? "" : ", ") + name;
  }
  return missing.empty() ? "" : "; none from " + missing;
}

}  // namespace folkmoot
