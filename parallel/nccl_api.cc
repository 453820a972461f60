// SPDX-License-Identifier: Apache-2.0
#include "parallel/nccl_api.h"

namespace folkmoot {
std::string NcclVersionText(int version) {
  // Up to 2.8 the code had one digit less for the major version.
  const int major = version < 10000 ? version / 1000 : version / 10000;
  return fmt::format("{}.{}.{}", major, version % (version < 10000 ? 1000 : 10000) / 100,
                     version % 100);
}

absl::StatusOr<NcclApi> ResolveNccl(const std::string& path, const SymbolSource& symbol) {
  NcclApi api;
  api.path = path;
  SymbolTable table(symbol);
  table.Required("ncclGetVersion", api.get_version);
  if (!api.get_version) return FailedPrecondition("{} is not NCCL: no ncclGetVersion", path);
  if (const NcclResult result = api.get_version(&api.version); result != kNcclSuccess) {
    return FailedPrecondition("{}: ncclGetVersion failed with {}", path, static_cast<int>(result));
  }
  if (api.version < kNcclOldestVersion) {
    return FailedPrecondition("{} is NCCL {}, which is too old; install {} or newer", path,
                              NcclVersionText(api.version), NcclVersionText(kNcclOldestVersion));
  }
  table.Required("ncclGetUniqueId", api.get_unique_id);
  table.Required("ncclCommInitRankConfig", api.comm_init_rank_config);
  table.Required("ncclCommFinalize", api.comm_finalize);
  table.Required("ncclCommDestroy", api.comm_destroy);
  table.Required("ncclCommAbort", api.comm_abort);
  table.Required("ncclCommGetAsyncError", api.comm_get_async_error);
  table.Required("ncclGetErrorString", api.get_error_string);
  table.Required("ncclGetLastError", api.get_last_error);
  table.Required("ncclGroupStart", api.group_start);
  table.Required("ncclGroupEnd", api.group_end);
  table.Required("ncclSend", api.send);
  table.Required("ncclRecv", api.recv);
  table.Required("ncclAllGather", api.all_gather);
  table.Optional("ncclAlltoAll", api.all_to_all);
  if (!table.missing().empty()) {
    return FailedPrecondition("{} (NCCL {}) lacks {}; install NCCL {} or newer", path,
                              NcclVersionText(api.version), table.missing(),
                              NcclVersionText(kNcclOldestVersion));
  }
  return api;
}

absl::StatusOr<NcclApi> LoadNccl(const LibrarySearch& search) {
  const std::vector<std::string> candidates =
      search.Candidates(kNcclFile, {"nvidia/nccl/lib", "nvidia/cu13/lib", "nvidia/cu12/lib"});
  FM_ASSIGN_OR_RETURN(const SharedLibrary library, SharedLibrary::Open(kNcclFile, candidates));
  return ResolveNccl(library.path(), [&library](const char* name) { return library.Symbol(name); });
}

}  // namespace folkmoot
