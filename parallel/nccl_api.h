// SPDX-License-Identifier: Apache-2.0
// The functions of NCCL that we use, as a table that is filled at run time: the program starts
// without NCCL and says by name what is missing. The declarations are our own, so no header of
// NVIDIA is needed to compile; where nccl.h is there, parallel/nccl_header_check.cc compares.
//
// Semantics: NCCL user guide, "NCCL API".
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <string>

#include "runtime/shared_library.h"
#include "runtime/status.h"

namespace folkmoot {

enum NcclResult : int {
  kNcclSuccess = 0,
  kNcclUnhandledCudaError = 1,
  kNcclSystemError = 2,
  kNcclInternalError = 3,
  kNcclInvalidArgument = 4,
  kNcclInvalidUsage = 5,
  kNcclRemoteError = 6,
  kNcclInProgress = 7,
};

enum NcclDataType : int { kNcclUint8 = 1 };

struct NcclUniqueId {
  char internal[128];
};

// ncclConfig_t as of 2.18. NCCL reads as many bytes as `size` says and takes its defaults for the
// fields that `version` did not know.
struct NcclConfig {
  static constexpr int kUndefined = std::numeric_limits<int>::min();

  size_t size = sizeof(NcclConfig);
  unsigned int magic = 0xcafebeef;
  unsigned int version = 21800;
  int blocking = kUndefined;
  int cga_cluster_size = kUndefined;
  int min_ctas = kUndefined;
  int max_ctas = kUndefined;
  const char* net_name = nullptr;
  int split_share = kUndefined;
};

using NcclComm = void*;
using NcclStream = void*;  // cudaStream_t

// All but all_to_all are set.
struct NcclApi {
  std::string path;  // where the library was found
  int version = 0;   // 22809 for 2.28.9

  std::function<NcclResult(int* version)> get_version;
  std::function<NcclResult(NcclUniqueId* id)> get_unique_id;
  std::function<NcclResult(NcclComm* comm, int ranks, NcclUniqueId id, int rank,
                           NcclConfig* config)>
      comm_init_rank_config;
  std::function<NcclResult(NcclComm comm)> comm_finalize;
  std::function<NcclResult(NcclComm comm)> comm_destroy;
  std::function<NcclResult(NcclComm comm)> comm_abort;
  std::function<NcclResult(NcclComm comm, NcclResult* state)> comm_get_async_error;
  std::function<const char*(NcclResult result)> get_error_string;
  std::function<const char*(NcclComm comm)> get_last_error;
  std::function<NcclResult()> group_start;
  std::function<NcclResult()> group_end;
  std::function<NcclResult(const void* data, size_t count, NcclDataType type, int peer,
                           NcclComm comm, NcclStream stream)>
      send;
  std::function<NcclResult(void* data, size_t count, NcclDataType type, int peer, NcclComm comm,
                           NcclStream stream)>
      recv;
  std::function<NcclResult(const void* send, void* recv, size_t count, NcclDataType type,
                           NcclComm comm, NcclStream stream)>
      all_gather;
  // From 2.28 on; empty before: then a group of send and recv does the same.
  std::function<NcclResult(const void* send, void* recv, size_t count, NcclDataType type,
                           NcclComm comm, NcclStream stream)>
      all_to_all;
};

inline constexpr int kNcclOldestVersion = 21800;
inline constexpr const char* kNcclFile = "libnccl.so.2";

// "2.28.9".
std::string NcclVersionText(int version);

// Finds libnccl.so.2 and fills the table. NotFound when there is none; FailedPrecondition when it
// is older than 2.18 or lacks a function, all of which are named.
absl::StatusOr<NcclApi> LoadNccl(const LibrarySearch& search);

// The same from any source of symbols, which answers nullptr for what it does not have.
absl::StatusOr<NcclApi> ResolveNccl(const std::string& path, const SymbolSource& symbol);

}  // namespace folkmoot
