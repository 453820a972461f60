// SPDX-License-Identifier: Apache-2.0
#include "launch/gpu/choose_gpu.h"

#include <cstdlib>

#include "launch/gpu/gpu.h"

namespace folkmoot {
namespace {

// As OpenMPI, Slurm and MPICH tell it; ranks that are threads count on their own.
int LocalRank(int rank) {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "MPI_LOCALRANKID"}) {
    if (const char* value = std::getenv(name); value != nullptr) return std::atoi(value);
  }
  return rank;
}

}  // namespace

absl::StatusOr<std::optional<cuda::DeviceInfo>> ChooseGpu(const EngineOptions& options, int rank) {
  if (options.device == "cpu") return std::nullopt;
  const bool for_the_cpu = options.quantization != "none" || options.kv_cache_dtype != "auto" ||
                           options.activation_precision != "full" ||
                           options.sum_order != "portable";
  if (options.device == "auto" && for_the_cpu) return std::nullopt;
  const absl::StatusOr<std::vector<cuda::DeviceInfo>> gpus = ListGpus();
  const bool any = gpus.ok() && !gpus->empty();
  if (!any && options.device == "auto") return std::nullopt;
  if (!gpus.ok()) return Annotate(gpus.status(), "--device cuda");
  if (!any) return FailedPrecondition("--device cuda: no GPU was found; use --device cpu");
  return (*gpus)[static_cast<size_t>(LocalRank(rank)) % gpus->size()];
}

absl::Status CheckGpuSharing(const EngineOptions& options, Communicator& world,
                             const std::optional<cuda::DeviceInfo>& gpu) {
  if (world.size() == 1 || !gpu || options.allow_shared_gpu) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> uuids,
                      AllGatherStrings(world, gpu->uuid, {.phase = "choice of GPUs"}));
  for (size_t r = 0; r < uuids.size(); ++r) {
    for (size_t other = 0; other < r; ++other) {
      if (uuids[r] != uuids[other]) continue;
      return FailedPrecondition(
          "ranks {} and {} would share GPU {}: start as many ranks per host as it has GPUs, or "
          "pass --allow-shared-gpu",
          other, r, uuids[r]);
    }
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
