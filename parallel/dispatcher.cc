// SPDX-License-Identifier: Apache-2.0
#include "parallel/dispatcher.h"

#include "parallel/all_gather_dispatcher.h"
#include "parallel/all_to_all_dispatcher.h"
#include "parallel/local_dispatcher.h"

namespace folkmoot {

absl::StatusOr<std::unique_ptr<Dispatcher>> MakeDispatcher(DispatcherKind kind, Communicator& comm,
                                                           const ExpertPlacement& placement) {
  if (placement.ranks() != comm.size()) {
    return InvalidArgument("the expert placement is for {} ranks, but {} run", placement.ranks(),
                           comm.size());
  }
  if (kind == DispatcherKind::kAuto) {
    kind = comm.size() == 1 ? DispatcherKind::kLocal : DispatcherKind::kAllToAll;
  }
  switch (kind) {
    case DispatcherKind::kLocal:
      if (comm.size() != 1) {
        return InvalidArgument("the local dispatcher serves one rank, but {} run", comm.size());
      }
      return std::make_unique<LocalDispatcher>(placement);
    case DispatcherKind::kAllGather:
      return std::make_unique<AllGatherDispatcher>(comm, placement);
    case DispatcherKind::kAllToAll:
    case DispatcherKind::kAuto:
      break;
  }
  return std::make_unique<AllToAllDispatcher>(comm, placement);
}

}  // namespace folkmoot
