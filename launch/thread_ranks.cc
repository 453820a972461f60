// SPDX-License-Identifier: Apache-2.0
#include "launch/thread_ranks.h"

#include <chrono>
#include <thread>
#include <vector>

#include "parallel/thread_communicator.h"

namespace folkmoot {
namespace {

absl::Status RunRank(const EngineOptions& options, int threads, Communicator& world,
                     const std::function<absl::Status(Engine&, LoadedRank&)>& body,
                     const std::function<void(SchedulerOptions&)>& adjust) {
  world.set_timeout(std::chrono::milliseconds(options.timeout_ms));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<LoadedRank> rank,
                      LoadedRank::Load(options, world, {.threads = threads}, nullptr));
  if (world.rank() > 0) return RunWorker(world, rank->runner(), rank->epoch());
  SchedulerOptions scheduler = rank->scheduler_options();
  if (adjust) adjust(scheduler);
  LocalExecutor executor(world, rank->runner(), rank->rules(), rank->epoch());
  Engine engine(scheduler, executor);
  const absl::Status status = body(engine, *rank);
  const absl::Status shutdown = engine.Shutdown();
  return status.ok() ? shutdown : status;
}

}  // namespace

absl::Status RunOnThreadRanks(const EngineOptions& options, int ranks, int threads,
                              const std::function<absl::Status(Engine&, LoadedRank&)>& body,
                              const std::function<void(SchedulerOptions&)>& adjust) {
  auto worlds = MakeThreadCommunicators(ranks);
  std::vector<absl::Status> statuses(worlds.size());
  std::vector<std::thread> running;
  for (size_t r = 0; r < worlds.size(); ++r) {
    running.emplace_back(
        [&, r] { statuses[r] = RunRank(options, threads, *worlds[r], body, adjust); });
  }
  for (std::thread& thread : running) thread.join();
  for (const absl::Status& status : statuses) FM_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace folkmoot
