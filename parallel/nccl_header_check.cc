// SPDX-License-Identifier: Apache-2.0
// Compiled where NVIDIA's header is there: our declarations of NCCL say what the header says.
#include <nccl.h>

#include <cstddef>
#include <type_traits>

#include "parallel/nccl_api.h"

namespace folkmoot {
namespace {

// How a caller passes a type.
template <typename T>
constexpr int kKind = std::is_pointer_v<T>          ? 0
                      : std::is_class_v<T>          ? 1
                      : std::is_floating_point_v<T> ? 2
                                                    : 3;
template <typename Ours, typename Theirs>
constexpr bool kSameArgument = sizeof(Ours) == sizeof(Theirs) && kKind<Ours> == kKind<Theirs>;

template <typename Ours, typename Theirs>
struct SameCall : std::false_type {};
template <typename R, typename... A, typename S, typename... B>
requires(sizeof...(A) == sizeof...(B)) struct SameCall<std::function<R(A...)>, S (*)(B...)>
    : std::bool_constant<kSameArgument<R, S> && (kSameArgument<A, B> && ...)> {
};

#define FM_SAME_CALL(ours, theirs) \
  static_assert(SameCall<decltype(NcclApi::ours), decltype(&::theirs)>::value, #theirs)

FM_SAME_CALL(get_version, ncclGetVersion);
FM_SAME_CALL(get_unique_id, ncclGetUniqueId);
FM_SAME_CALL(comm_init_rank_config, ncclCommInitRankConfig);
FM_SAME_CALL(comm_finalize, ncclCommFinalize);
FM_SAME_CALL(comm_destroy, ncclCommDestroy);
FM_SAME_CALL(comm_abort, ncclCommAbort);
FM_SAME_CALL(comm_get_async_error, ncclCommGetAsyncError);
FM_SAME_CALL(get_error_string, ncclGetErrorString);
FM_SAME_CALL(get_last_error, ncclGetLastError);
FM_SAME_CALL(group_start, ncclGroupStart);
FM_SAME_CALL(group_end, ncclGroupEnd);
FM_SAME_CALL(send, ncclSend);
FM_SAME_CALL(recv, ncclRecv);
FM_SAME_CALL(all_gather, ncclAllGather);
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 0)
FM_SAME_CALL(all_to_all, ncclAlltoAll);
#endif

#define FM_SAME_VALUE(ours, theirs) static_assert(static_cast<int>(ours) == theirs, #theirs)

FM_SAME_VALUE(kNcclSuccess, ncclSuccess);
FM_SAME_VALUE(kNcclUnhandledCudaError, ncclUnhandledCudaError);
FM_SAME_VALUE(kNcclSystemError, ncclSystemError);
FM_SAME_VALUE(kNcclInternalError, ncclInternalError);
FM_SAME_VALUE(kNcclInvalidArgument, ncclInvalidArgument);
FM_SAME_VALUE(kNcclInvalidUsage, ncclInvalidUsage);
FM_SAME_VALUE(kNcclRemoteError, ncclRemoteError);
FM_SAME_VALUE(kNcclInProgress, ncclInProgress);
FM_SAME_VALUE(kNcclUint8, ncclUint8);
FM_SAME_VALUE(NcclConfig::kUndefined, NCCL_CONFIG_UNDEF_INT);

static_assert(sizeof(NcclUniqueId) == sizeof(ncclUniqueId));
static_assert(alignof(NcclUniqueId) == alignof(ncclUniqueId));

#define FM_SAME_FIELD(ours, theirs)                                             \
  static_assert(offsetof(NcclConfig, ours) == offsetof(ncclConfig_t, theirs) && \
                    sizeof(NcclConfig::ours) == sizeof(ncclConfig_t::theirs),   \
                #theirs)

FM_SAME_FIELD(size, size);
FM_SAME_FIELD(magic, magic);
FM_SAME_FIELD(version, version);
FM_SAME_FIELD(blocking, blocking);
FM_SAME_FIELD(cga_cluster_size, cgaClusterSize);
FM_SAME_FIELD(min_ctas, minCTAs);
FM_SAME_FIELD(max_ctas, maxCTAs);
FM_SAME_FIELD(net_name, netName);
FM_SAME_FIELD(split_share, splitShare);
static_assert(sizeof(NcclConfig) <= sizeof(ncclConfig_t));
static_assert(NCCL_VERSION(2, 18, 0) == kNcclOldestVersion);

}  // namespace
}  // namespace folkmoot
