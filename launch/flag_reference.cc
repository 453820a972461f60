// SPDX-License-Identifier: Apache-2.0
#include "launch/flag_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"

namespace folkmoot {
namespace {

constexpr char kIntroduction[] = R"(# Configuration

Every flag of every command. This page is made by the program; a test fails when it is not what
`folkmoot help --markdown` prints.

A setting comes from the command line (`--max-num-seqs 8`), else from the environment
(`FOLKMOOT_MAX_NUM_SEQS=8`), else from a YAML file named by `--config` or `FOLKMOOT_CONFIG`, whose keys
are the long flags without their dashes:

```yaml
max-num-seqs: 8
port: 8000
```

An unknown key or flag is an error that names the nearest known one. Under `mpirun` every rank must see
the same settings; ranks that disagree say so before anything is loaded.
)";

// Fewer commands than this, and a flag is listed with each of them.
constexpr size_t kShared = 3;

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string Code(std::string_view text) {
  return text.empty() ? "" : fmt::format("`{}`", Escaped(text));
}

std::string NamesOf(const CLI::Option& option) {
  std::string names;
  const auto add = [&names](const std::string& name) {
    names += (names.empty() ? "" : ", ") + Code(name);
  };
  const std::string positional = option.get_name(/*positional=*/true);
  if (!positional.empty()) add(positional);
  for (const std::string& name : option.get_snames()) add("-" + name);
  for (const std::string& name : option.get_lnames()) add("--" + name);
  return names;
}

// "INT:INT in [0 - 5]" -> "INT in [0 - 5]"; a flag has none.
std::string TypeOf(const CLI::Option& option) {
  if (option.get_type_size() == 0) return "";
  std::string type = option.get_type_name();
  const size_t colon = type.find(':');
  if (colon != std::string::npos) {
    const std::string check = type.substr(colon + 1);
    const std::string base = type.substr(0, colon);
    if (check.starts_with(base) || check.starts_with('{')) {
      type = check;
    } else {
      std::string lower = check;
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      type = base + ", " + lower;
    }
  }
  if (option.get_items_expected_max() > 1) type += " ...";
  return Escaped(type);
}

std::string RowOf(const CLI::Option& option) {
  std::string fallback = option.get_required() ? "required" : Code(option.get_default_str());
  if (fallback == "`\"\"`" || fallback == "`[]`") fallback.clear();
  return fmt::format("| {} | {} | {} | {} | {} |\n", NamesOf(option), TypeOf(option), fallback,
                     Code(option.get_envname()), Escaped(option.get_description()));
}

bool Listed(const CLI::Option& option) {
  const std::vector<std::string>& names = option.get_lnames();
  return names.empty() || (names.front() != "help" && names.front() != "config");
}

std::string Table(const std::vector<std::string>& rows) {
  std::string text =
      "| flag | value | default | variable | meaning |\n| --- | --- | --- | --- | --- |\n";
  for (const std::string& row : rows) text += row;
  return text;
}

struct CommandFlags {
  std::string name;  // "bench throughput"
  std::string description;
  std::vector<std::string> rows;
};

void Collect(const CLI::App& app, const std::string& prefix, std::vector<CommandFlags>* out) {
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    const std::string name = prefix + command->get_name();
    if (command->get_subcommands(nullptr).empty()) {
      out->push_back({name, command->get_description(), {}});
      for (const CLI::Option* option : command->get_options()) {
        if (Listed(*option)) out->back().rows.push_back(RowOf(*option));
      }
    }
    Collect(*command, name + " ", out);
  }
}

}  // namespace

std::string FlagReference(const CLI::App& app) {
  std::vector<CommandFlags> commands;
  Collect(app, "", &commands);
  std::map<std::string, std::vector<std::string>> users;  // of a row
  std::vector<std::string> order;
  for (const CommandFlags& command : commands) {
    for (const std::string& row : command.rows) {
      if (users[row].empty()) order.push_back(row);
      users[row].push_back(command.name);
    }
  }
  std::string text = kIntroduction;
  std::map<std::string, std::vector<std::string>> shared;  // who -> rows
  for (const std::string& row : order) {
    if (users[row].size() < kShared) continue;
    std::string who;
    for (const std::string& name : users[row]) who += (who.empty() ? "" : ", ") + Code(name);
    shared[who].push_back(row);
  }
  for (const auto& [who, rows] : shared) {
    text += fmt::format("\n## Shared by {}\n\n{}", who, Table(rows));
  }
  for (const CommandFlags& command : commands) {
    std::vector<std::string> own;
    std::copy_if(command.rows.begin(), command.rows.end(), std::back_inserter(own),
                 [&](const std::string& row) { return users[row].size() < kShared; });
    text += fmt::format("\n## folkmoot {}\n\n{}.\n", command.name, Escaped(command.description));
    if (!own.empty()) text += "\n" + Table(own);
  }
  return text;
}

}  // namespace folkmoot
