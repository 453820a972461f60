// SPDX-License-Identifier: Apache-2.0
// Which MPI this process runs with. Needs no MPI_Init: for messages and `folkmoot doctor`.
#pragma once

#include <string>

namespace folkmoot {

// The library's own words, one line: "Open MPI v4.1.4, package: Debian OpenMPI, ...".
std::string MpiLibraryVersion();

}  // namespace folkmoot
