// SPDX-License-Identifier: Apache-2.0
// The hosts of an engine, as the user names them and as the launcher is told.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/supervisor/process.h"
#include "runtime/status.h"

namespace folkmoot {

struct EngineHosts {
  std::string list;                // "a:2,b:2", as mpirun takes it
  std::string file;                // the same in a file, "a slots=2" a line
  std::vector<std::string> names;  // of either, each once; empty: nobody has said
};

// At most one of the two is given; errors name what cannot be read.
absl::StatusOr<EngineHosts> ReadHosts(const std::string& list, const std::string& file);

// "mpirun -x A" -> its words.
std::vector<std::string> WordsOf(const std::string& text);
// Is it one of Open MPI's names for its launcher? They take the words below.
bool IsOpenMpiLauncher(const std::string& launcher);
// Where Open MPI's launcher starts ranks, with our variables except those in `without`; and it
// hears within seconds that a host is lost, as does its daemon there, which then ends its ranks.
std::vector<std::string> LauncherWords(const EngineHosts& hosts, const EnvironmentChanges& without);

// Of `names`, those that none of `seen` is: "; none from c, d"; empty: all are.
std::string MissingHosts(const std::vector<std::string>& names,
                         const std::vector<std::string>& seen);

}  // namespace folkmoot
