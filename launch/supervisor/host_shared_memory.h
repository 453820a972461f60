// SPDX-License-Identifier: Apache-2.0
// The files through which Open MPI's ranks of one host share memory, when there are several hosts:
// a killed launcher leaves them behind, and on other hosts the supervisor cannot remove them.
#pragma once

#include <cstdint>
#include <string>

namespace folkmoot {

// Of one life, on whichever host; `directory`: of the server, whose name is its own.
std::string SharedMemoryDirectory(const std::string& directory, int64_t epoch);

// Those of all lives of a server, but for one directory.
void RemoveSharedMemory(const std::string& directory, const std::string& but = "");

// Before MPI begins: from here on the files are in that directory, which is private. Removes those
// of earlier lives of the server, which died too early to do it themselves.
void UseSharedMemoryDirectory(const std::string& directory, int64_t epoch);

// When all ranks have attached to each other: the files are replaced by empty ones, for
// MPI_Finalize wants to find some; the memory stays until its users end.
void UnlinkSharedMemory(const std::string& directory, int64_t epoch);

// After MPI has ended in order: the last rank of this host removes the directory.
void LeaveSharedMemoryDirectory(const std::string& directory, int64_t epoch);

}  // namespace folkmoot
