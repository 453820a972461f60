// SPDX-License-Identifier: Apache-2.0
#include "launch/flag_help.h"

#include "CLI/CLI.hpp"
#include "runtime/nearest.h"
#include "runtime/status.h"

namespace folkmoot {
namespace {

const CLI::App& ParsedApp(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : ParsedApp(*parsed.front());
}

std::vector<std::string> FlagNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// "bench throughput " for that command, nothing for the program itself.
std::string PathOf(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? "" : PathOf(*parent) + app.get_name() + " ";
}

std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

}  // namespace

std::string ExplainParseError(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& parsed = ParsedApp(app);
  const std::string hint = fmt::format("; see folkmoot {}--help", PathOf(parsed));
  const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
  if (extras.empty()) return error.what() + hint;
  const std::string culprit = extras.front().substr(0, extras.front().find('='));
  const bool flag = culprit.starts_with("-");
  const std::vector<std::string> known = flag ? FlagNames(parsed) : CommandNames(parsed);
  std::string text = fmt::format("unknown {} '{}'",
                                 flag            ? "flag"
                                 : known.empty() ? "argument"
                                                 : "command",
                                 culprit);
  if (const std::string* nearest = Nearest(culprit, known)) {
    text += fmt::format(": did you mean '{}'?", *nearest);
  }
  return text + hint;
}

}  // namespace folkmoot
