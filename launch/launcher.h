// SPDX-License-Identifier: Apache-2.0
// From a command to its ranks: alone, or all processes that mpirun started.
#pragma once

#include <functional>
#include <string>

#include "launch/engine.h"
#include "launch/loaded_rank.h"
#include "parallel/progress.h"

namespace folkmoot {

class MpiCommunicator;
class MpiEnvironment;

// The ranks of this job. One process alone is a group of one and never touches MPI.
class Cluster {
 public:
  // Reads threads, pin, timeout_ms, spares and faults of the options.
  static absl::StatusOr<std::unique_ptr<Cluster>> Create(const EngineOptions& options);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  Communicator& world() { return *world_; }
  // The life of the engine that begins. Faults at exchanges are those of this life and of the rank
  // that this process is in it; faults at points are those of the process when it started.
  void set_epoch(int64_t epoch) { epoch_ = epoch; }
  // From here on another thread can see how this rank gets on. Once, before anybody uses world().
  Progress& Watch();
  // Of Watch(); also told how loading gets on.
  Progress& progress() { return progress_; }
  const ThreadBudget& threads() const { return threads_; }
  // The ranks and spare processes of a job that has some; null: it has none. Its ranks end without
  // waiting for each other.
  MpiCommunicator* group() { return group_; }

  FaultSite Site() const;

  // Runs after an error: prints it, as the rank that should, and ends the whole job with status 1.
  [[noreturn]] void Fail(const absl::Status& status);

 private:
  Cluster() = default;
  std::unique_ptr<MpiEnvironment> mpi_;  // null: alone
  MpiCommunicator* group_ = nullptr;     // inside world_
  int64_t epoch_ = 1;
  Progress progress_;
  std::unique_ptr<Communicator> world_;
  ThreadBudget threads_;
};

// Runs a body that all ranks take part in. An error in several ranks ends the job (the first to
// fail prints it).
absl::Status RunOnRanks(const EngineOptions& options,
                        const std::function<absl::Status(Cluster&)>& body);

// Loads this rank's part of the model; rank 0 shows a progress bar. Collective, unless `others`
// say what the other ranks have (LoadedRank::Load).
absl::StatusOr<std::unique_ptr<LoadedRank>> LoadWithProgress(const EngineOptions& options,
                                                             Cluster& cluster,
                                                             const CachePages& others = {});

// Loads the model on every rank, runs `body` on rank 0 with an engine while the
// others work for it, and shuts down. Returns body's error on rank 0.
absl::Status RunWithEngine(const EngineOptions& options,
                           const std::function<absl::Status(Engine&, LoadedRank&)>& body);

}  // namespace folkmoot
