// SPDX-License-Identifier: Apache-2.0
#include "launch/config_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "CLI/CLI.hpp"
#include "launch/command.h"
#include "runtime/nearest.h"

namespace folkmoot {
namespace {

// The value of --config in the arguments or the environment; empty when there is none.
std::string ConfigPath(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--config" && i + 1 < arguments.size()) return arguments[i + 1];
    if (arguments[i].starts_with("--config=")) return arguments[i].substr(9);
  }
  const char* variable = std::getenv("FOLKMOOT_CONFIG");
  return variable == nullptr ? "" : variable;
}

bool Given(const std::vector<std::string>& arguments, const CLI::Option& option) {
  for (const std::string& name : option.get_lnames()) {
    const std::string flag = "--" + name;
    for (const std::string& argument : arguments) {
      if (argument == flag || argument.starts_with(flag + "=")) return true;
    }
  }
  return std::getenv(option.get_envname().c_str()) != nullptr;
}

// The command that the first arguments name, "bench throughput" included; null when there is none.
const CLI::App* NamedCommand(const CLI::App& app, const std::vector<std::string>& arguments) {
  const CLI::App* command = nullptr;
  for (const std::string& argument : arguments) {
    const CLI::App* next = nullptr;
    for (const CLI::App* candidate : (command ? *command : app).get_subcommands(nullptr)) {
      if (candidate->get_name() == argument) next = candidate;
    }
    if (next == nullptr) return command;
    command = next;
  }
  return command;
}

absl::StatusOr<const CLI::Option*> OptionOf(const CLI::App& command, const std::string& path,
                                            std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (name == key) return option;
      known.push_back(name);
    }
  }
  const std::string* nearest = Nearest(key, known);
  return UsageError(fmt::format("{}: '{}' is not a flag of folkmoot {}{}", path, key,
                                command.get_name(),
                                nearest ? fmt::format(": did you mean '{}'?", *nearest) : ""));
}

absl::Status AppendSetting(const std::string& path, const CLI::Option& option,
                           const YAML::Node& value, std::vector<std::string>* arguments) {
  const std::string flag = "--" + option.get_lnames().front();
  if (!value.IsScalar()) {
    return UsageError(fmt::format("{}: '{}' must have a single value", path, flag.substr(2)));
  }
  arguments->push_back(fmt::format("{}={}", flag, value.Scalar()));
  return absl::OkStatus();
}

}  // namespace

std::string VariableOf(const std::string& flag) {
  std::string name = "FOLKMOOT_" + flag;
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

void AddEnvironmentAndConfig(CLI::App& command) {
  for (CLI::App* nested : command.get_subcommands(nullptr)) AddEnvironmentAndConfig(*nested);
  for (CLI::Option* option : command.get_options()) {
    const auto& names = option->get_lnames();
    if (!names.empty() && names.front() != "help") option->envname(VariableOf(names.front()));
  }
  // Only listed here, for --help; ExpandConfigFile has read it by then.
  command.add_option("--config", "YAML file with flags as keys")->expected(1);
}

absl::StatusOr<std::vector<std::string>> ExpandConfigFile(const CLI::App& app,
                                                          std::vector<std::string> arguments) {
  const std::string path = ConfigPath(arguments);
  if (path.empty() || arguments.empty()) return arguments;
  const CLI::App* command = NamedCommand(app, arguments);
  if (command == nullptr) return arguments;  // the parser explains
  YAML::Node root;
  try {
    root = YAML::LoadFile(path);
  } catch (const YAML::Exception& error) {
    return UsageError(fmt::format("--config {}: {}", path, error.what()));
  }
  if (root.IsNull()) return arguments;
  if (!root.IsMap())
    return UsageError(fmt::format("--config {}: expected 'flag: value' lines", path));
  const std::vector<std::string> given = arguments;
  for (const auto& entry : root) {
    FM_ASSIGN_OR_RETURN(const CLI::Option* option, OptionOf(*command, path, entry.first.Scalar()));
    if (Given(given, *option)) continue;
    FM_RETURN_IF_ERROR(AppendSetting(path, *option, entry.second, &arguments));
  }
  return arguments;
}

}  // namespace folkmoot
