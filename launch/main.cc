// SPDX-License-Identifier: Apache-2.0
// folkmoot: parses the command line and runs one command. Results go to stdout, everything else to
// stderr. Exit status: 0 done, 1 failed, 2 wrong usage.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "launch/command.h"
#include "launch/commands/commands.h"
#include "launch/config_file.h"
#include "launch/flag_help.h"
#include "launch/flag_reference.h"
#include "launch/version.h"
#include "parallel/mpi_environment.h"

namespace {

constexpr auto kFirstSpeaks = std::chrono::seconds(5);

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// What is wrong before the ranks meet, such as a misspelt flag, is mostly wrong on all of them: the
// first one says it, and the launcher ends the others while they wait. One that it leaves alone is
// the only one in trouble, and speaks too.
void Complain(std::string_view text) {
  if (!folkmoot::IsFirstRank()) std::this_thread::sleep_for(kFirstSpeaks);
  fmt::print(stderr, "folkmoot: {}\n", text);
}

int Run(int argc, char** argv) {
  using namespace folkmoot;  // NOLINT: main's own scope
  CLI::App app("Folkmoot: serves mixture-of-experts language models, alone or under mpirun.");
  app.set_version_flag("--version", BuildVersion());
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  const std::vector<Command> commands = {MakeGenerateCommand(app), MakeScoreCommand(app),
                                         MakeRouteCommand(app),    MakeInspectCommand(app),
                                         MakeServeCommand(app),    MakeVerifyCommand(app),
                                         MakeBenchCommand(app),    MakeDoctorCommand(app),
                                         MakePackCommand(app),     MakeQuantizeCommand(app)};
  for (const Command& command : commands) AddEnvironmentAndConfig(*command.app);
  if (argc > 1 && std::string_view(argv[1]) == "help") {
    const bool markdown = argc > 2 && std::string_view(argv[2]) == "--markdown";
    fmt::print("{}", markdown ? FlagReference(app) : app.help());
    return 0;
  }
  absl::StatusOr<std::vector<std::string>> arguments =
      ExpandConfigFile(app, {argv + 1, argv + argc});
  if (!arguments.ok()) {
    Complain(Message(arguments.status()));
    return kWrongUsage;
  }
  try {
    std::reverse(arguments->begin(), arguments->end());  // as CLI11 wants vectors
    app.parse(*std::move(arguments));
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    Complain(ExplainParseError(app, error));
    return kWrongUsage;
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const absl::Status status = command.run();
    if (status.ok()) return 0;
    if (!status.message().empty()) {  // empty: it has been said
      Complain(fmt::format("error: {}", Message(status)));
    }
    return IsUsageError(status) ? kWrongUsage : kFailed;
  }
  return kWrongUsage;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // of libraries: out of memory, broken streams
    std::fprintf(stderr, "folkmoot: error: %s\n", error.what());
    return kFailed;
  }
}
