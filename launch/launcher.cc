// SPDX-License-Identifier: Apache-2.0
#include "launch/launcher.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "launch/command.h"
#include "launch/progress_bar.h"
#include "launch/terminal.h"
#include "parallel/faulty_communicator.h"
#include "parallel/mpi_communicator.h"
#include "parallel/mpi_environment.h"
#include "parallel/thread_communicator.h"
#include "parallel/watched_communicator.h"
#include "runtime/log.h"

namespace folkmoot {
Cluster::~Cluster() {
  world_.reset();  // before MPI ends
}

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Create(const EngineOptions& options) {
  std::unique_ptr<Cluster> cluster(new Cluster());
  ThreadFacts facts = DetectThreadFacts();
  facts.ranks_on_host = std::max(1, facts.ranks_on_host - options.spares);  // they compute nothing
  cluster->threads_ = BudgetOf(facts, options.threads, options.pin);
  if (LaunchedByMpi()) {
    FM_ASSIGN_OR_RETURN(cluster->mpi_, MpiEnvironment::Create());
    FM_ASSIGN_OR_RETURN(std::unique_ptr<MpiCommunicator> group,
                        MakeMpiCommunicator({.threads_per_rank = cluster->threads_.threads,
                                             .spares = options.spares}));
    if (options.spares > 0) {
      cluster->group_ = group.get();
      cluster->mpi_->LeaveUnfinalized();
    }
    cluster->world_ = std::move(group);
  } else {
    cluster->world_ = std::move(MakeThreadCommunicators(1).front());
  }
  cluster->world_->set_timeout(std::chrono::milliseconds(options.timeout_ms));
  cluster->epoch_ = options.faults.epoch;
  FM_ASSIGN_OR_RETURN(const std::vector<Fault> faults, ReadFaults(options.faults));
  FM_RETURN_IF_ERROR(ArmFaults(options.faults, cluster->Site()));
  cluster->world_ = AddFaults(std::move(cluster->world_), faults, &cluster->epoch_);
  const int rank =
      cluster->group_ == nullptr ? cluster->world_->rank() : cluster->group_->process();
  FM_RETURN_IF_ERROR(SetUpLog({.level = "", .rank = rank, .ranks = cluster->world_->size()}));
  return cluster;
}

Progress& Cluster::Watch() {
  world_ = WatchCommunicator(std::move(world_), progress_);
  return progress_;
}

void Cluster::Fail(const absl::Status& status) {
  // All living ranks know the reason: let the lowest of them say it and end the job.
  std::this_thread::sleep_for(std::chrono::milliseconds(std::min(5, world_->rank()) * 200));
  fmt::print(stderr, "folkmoot: error: {}\n", Message(status));
  if (group_ == nullptr) AbortJob(1);
  std::fflush(nullptr);
  std::_Exit(1);  // whoever watches the job says what becomes of the others
}

FaultSite Cluster::Site() const {
  return {.process = FaultProcess::kRank, .rank = world_->rank(), .epoch = epoch_};
}

absl::Status RunOnRanks(const EngineOptions& options,
                        const std::function<absl::Status(Cluster&)>& body) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Cluster> cluster, Cluster::Create(options));
  absl::Status status = body(*cluster);
  PrintFaultCounts(options.faults, cluster->Site());
  Communicator& world = cluster->world();
  if (world.size() == 1 || world.rank() < 0) return status;
  // When every rank comes here the group is whole and all may leave in order. Otherwise somebody is
  // missing, and waiting for it in MPI_Finalize would never end.
  const absl::Status whole = Barrier(world, {.phase = "end of the job"});
  if (!whole.ok()) cluster->Fail(status.ok() ? whole : status);
  // An error is one that all agreed on, or rank 0's own: one line is enough. And the launcher ends
  // all ranks with the first that leaves with an error: none does before the reason is out.
  if (!status.ok() && world.rank() == 0) {
    fmt::print(stderr, "folkmoot: error: {}\n", Message(status));
  }
  const absl::Status said = Barrier(world, {.phase = "end of the job"});
  if (!said.ok()) cluster->Fail(said);
  return status.ok() ? status : AlreadySaid(status);
}

absl::StatusOr<std::unique_ptr<LoadedRank>> LoadWithProgress(const EngineOptions& options,
                                                             Cluster& cluster,
                                                             const CachePages& others) {
  Communicator& world = cluster.world();
  std::unique_ptr<ProgressBar> bar;
  const auto progress = [&](int64_t bytes, int64_t total) {
    cluster.progress().GetOn();
    if (bar == nullptr) {
      bar = std::make_unique<ProgressBar>(
          ProgressBar::Options{
              .label = "Loading weights", .total = total, .enabled = world.rank() == 0},
          DetectTerminal(STDERR_FILENO));
    }
    bar->Update(bytes);
  };
  FM_ASSIGN_OR_RETURN(std::unique_ptr<LoadedRank> rank,
                      LoadedRank::Load(options, world, cluster.threads(), progress, others));
  if (bar != nullptr) bar->Finish();
  if (world.rank() == 0 && !rank->gpu()) {
    const ThreadBudget& threads = cluster.threads();
    fmt::print(stderr, "{} compute thread{} per rank ({}){}\n", threads.threads,
               threads.threads == 1 ? "" : "s", threads.why, threads.pin ? ", pinned" : "");
  }
  return rank;
}

absl::Status RunWithEngine(const EngineOptions& options,
                           const std::function<absl::Status(Engine&, LoadedRank&)>& body) {
  return RunOnRanks(options, [&](Cluster& cluster) -> absl::Status {
    Communicator& world = cluster.world();
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<LoadedRank> rank, LoadWithProgress(options, cluster));
    if (world.rank() > 0) return RunWorker(world, rank->runner(), rank->epoch());
    LocalExecutor executor(world, rank->runner(), rank->rules(), rank->epoch());
    Engine engine(rank->scheduler_options(), executor);
    const absl::Status status = body(engine, *rank);
    // Workers of a broken group have been told already; a second error would hide the first.
    const absl::Status shutdown = engine.Shutdown();
    return status.ok() ? shutdown : status;
  });
}

}  // namespace folkmoot
