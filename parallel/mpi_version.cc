// SPDX-License-Identifier: Apache-2.0
#include "parallel/mpi_version.h"

#include <mpi.h>

#include <array>

namespace folkmoot {

std::string MpiLibraryVersion() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  if (MPI_Get_library_version(text.data(), &length) != MPI_SUCCESS) return "unknown";
  const std::string version(text.data());
  return version.substr(0, version.find('\n'));
}

}  // namespace folkmoot
