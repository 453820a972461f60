// SPDX-License-Identifier: Apache-2.0
#include "launch/parallelism.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "layers/models/model.h"
#include "parallel/peer_process.h"

namespace folkmoot {
namespace {

// The flags leave experts where they are by default.
bool ExpertsByDefault(const EngineOptions& options) {
  return options.placement == "contiguous" &&
         (options.dispatcher == "auto" || options.dispatcher == "local");
}

}  // namespace

const char* ParallelismName(bool tensor) { return tensor ? "tensor" : "expert"; }

absl::Status CheckParallelism(const EngineOptions& options, bool on_gpu) {
  if (options.spares > 0 && on_gpu) {
    return InvalidArgument("--spares: only ranks on CPUs can be replaced: use --device cpu");
  }
  if (options.parallelism != "tensor") return absl::OkStatus();
  if (on_gpu) {
    return InvalidArgument(
        "--parallelism tensor: only on CPUs: use --parallelism expert, or --device cpu");
  }
  if (options.spares > 0) {
    return InvalidArgument(
        "--parallelism tensor: every rank has a part of all keys and values, so that --spares has "
        "nothing to keep: use --parallelism expert");
  }
  if (!ExpertsByDefault(options)) {
    return InvalidArgument(
        "--parallelism tensor: every rank has a part of every expert: --expert-placement {} and "
        "--moe-a2a-backend {} mean nothing there",
        options.placement, options.dispatcher);
  }
  return absl::OkStatus();
}

absl::StatusOr<Parallelism> ChooseParallelism(const EngineOptions& options,
                                              const ModelConfig& config, bool on_gpu, int threads,
                                              Communicator& world) {
  if (world.size() == 1) return Parallelism{};
  const std::string machine = ProcessIdentity::Own().machine;
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> machines,
                      AllGatherStrings(world, machine, {.phase = "start-up"}));
  const auto here = std::count(machines.begin(), machines.end(), machine);
  const bool one_host = !machine.empty() && here == world.size();
  const std::string_view why_not = WhyNotTensorParallel(config);
  if (options.parallelism == "tensor" && !why_not.empty()) {
    return InvalidArgument("--parallelism tensor: {}: {}; use --parallelism expert",
                           config.architecture, why_not);
  }
  Parallelism parallelism;
  parallelism.spin = here * threads <= sysconf(_SC_NPROCESSORS_ONLN);
  if (options.parallelism == "auto") {
    parallelism.tensor = one_host && !on_gpu && config.kv_heads >= world.size() &&
                         why_not.empty() && options.spares == 0 && ExpertsByDefault(options);
  } else {
    parallelism.tensor = options.parallelism == "tensor";
  }
  return parallelism;
}

}  // namespace folkmoot
