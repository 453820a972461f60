// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_rank.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "launch/plan_codec.h"
#include "launch/supervisor/host_shared_memory.h"
#include "launch/supervisor/rank_beacon.h"
#include "launch/supervisor/supervisor_line.h"
#include "launch/supervisor/tcp_socket.h"
#include "parallel/mpi_communicator.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWelcome{60'000};  // the front end may be reading the model's files
constexpr milliseconds kSendReply{60'000};
// For the supervisor to say how it goes on without a rank that is gone.
constexpr milliseconds kOrder{5'000};
constexpr milliseconds kLookForOrder{1'000};
// For a rank to load what a dead one had. The supervisor is more exact.
constexpr milliseconds kLoad{std::chrono::hours(24)};

EngineHello HelloOf(LoadedRank& rank, const RepairOrder& life) {
  EngineHello hello;
  hello.epoch = life.epoch;
  hello.fields = rank.fields();
  hello.ranks = rank.ranks();
  hello.tensor_parallel = rank.tensor_parallel();
  hello.context = rank.scheduler_options().max_model_len;
  hello.blocks_per_rank = rank.scheduler_options().blocks_per_rank;
  hello.slots_per_rank = rank.scheduler_options().slots_per_rank;
  hello.snapshots_per_rank = rank.scheduler_options().snapshots_per_rank;
  hello.placement_version = rank.runner().placement_version();
  for (int e = 0; e < rank.placement().experts(); ++e) {
    hello.rank_of_expert.push_back(rank.placement().rank_of(e));
  }
  hello.embeddings = rank.rules().gives_embeddings();
  hello.since = life.since;
  return hello;
}

// The next plan, unless an order comes.
absl::StatusOr<std::string> ReceivePlan(FrameChannel& channel, const RankBeacon& beacon) {
  while (true) {
    FM_ASSIGN_OR_RETURN(std::optional<std::string> plan, channel.Poll());
    if (plan) return *std::move(plan);
    pollfd fds[] = {{.fd = channel.fd(), .events = POLLIN, .revents = 0},
                    {.fd = beacon.order_fd(), .events = POLLIN, .revents = 0}};
    poll(fds, std::size(fds), static_cast<int>(kLookForOrder.count()));
    if (fds[1].revents != 0) return Unavailable("rank 0: the group is made anew");
  }
}

// On rank 0: plans in, results out, until the front end shuts down or is gone.
absl::Status Relay(FrameChannel& channel, LocalExecutor& executor, ModelRunner& runner,
                   RankBeacon& beacon, int64_t first_step) {
  PlannedStep step;
  for (int64_t number = first_step;; ++number) {
    beacon.SetActivity(RankActivity::kIdle);
    FM_ASSIGN_OR_RETURN(step.frame, ReceivePlan(channel, beacon));
    beacon.SetActivity(RankActivity::kStep);
    FM_ASSIGN_OR_RETURN(step.plan,
                        DecodePlan(step.frame, {.epoch = executor.epoch(),
                                                .step = number,
                                                .ranks = runner.plan_parts(),
                                                .placement_version = runner.placement_version()}));
    if (step.plan.shutdown) return executor.Shutdown(step);
    StepReply reply;
    absl::StatusOr<std::vector<StepResult>> results = executor.Run(step, &reply.seconds);
    reply.status = results.status();
    if (results.ok()) reply.results = *std::move(results);
    FM_RETURN_IF_ERROR(channel.Send(Encode(reply), kSendReply));
    FM_RETURN_IF_ERROR(reply.status);
    if (step.plan.tokens() > 0) beacon.CountStep();
  }
}

// A process of the engine, from one life to the next: a rank, or a spare process until it becomes
// one.
class EngineRank {
 public:
  EngineRank(const EngineOptions& options, const EngineRankOptions& start,
             const SupervisorLine& line, Cluster& cluster)
      : options_(options), start_(start), line_(line), cluster_(cluster), world_(cluster.world()) {
    life_.epoch = start.epoch;
    life_.since.assign(static_cast<size_t>(world_.size()), start.epoch);
  }

  absl::Status Run(FileDescriptor supervisor);

 private:
  absl::Status Live();
  absl::Status Meet();
  bool CanBeRepaired(const absl::Status& status) const;
  absl::Status AwaitRepair(const absl::Status& failure);
  absl::Status Repair(const RepairOrder& order);
  absl::Status Join(bool fresh);
  // Each life of the job has a group of its own.
  int GroupOf(const RepairOrder& order) const {
    return static_cast<int>(order.epoch - start_.epoch);
  }

  const EngineOptions& options_;
  const EngineRankOptions& start_;  // of the job
  const SupervisorLine& line_;
  Cluster& cluster_;
  Communicator& world_;
  RepairOrder life_;  // the one under way
  std::unique_ptr<RankBeacon> beacon_;
  std::unique_ptr<LoadedRank> rank_;       // null: a spare process
  std::optional<FrameChannel> front_end_;  // of rank 0
  EngineWelcome welcome_;
};

absl::Status EngineRank::Run(FileDescriptor supervisor) {
  MpiCommunicator* const group = cluster_.group();
  const RankHello hello = {.epoch = life_.epoch,
                           .number = group == nullptr ? world_.rank() : group->process(),
                           .ranks = world_.size(),
                           .spares = options_.spares,
                           .host = HostName(),
                           .process = getpid()};
  const auto on_order = [this, group](const RepairOrder& order) {
    if (group != nullptr) group->Cancel(GroupOf(order));
  };
  FM_ASSIGN_OR_RETURN(
      beacon_, RankBeacon::Start(std::move(supervisor), hello, cluster_.progress(), on_order));
  if (world_.rank() >= 0) {
    FM_ASSIGN_OR_RETURN(rank_, LoadWithProgress(options_, cluster_));
  }
  while (true) {
    const absl::Status status = rank_ != nullptr ? Live() : absl::OkStatus();
    if (rank_ != nullptr && status.ok()) {
      beacon_->TellActivity(RankActivity::kLeaving);
      return status;
    }
    if (rank_ != nullptr && !CanBeRepaired(status)) return status;
    FM_RETURN_IF_ERROR(AwaitRepair(status));
  }
}

// A life with ranks that have loaded: meets the front end and computes what it plans.
absl::Status EngineRank::Live() {
  // The supervisor knows that this engine can start before anybody can ask it for something.
  beacon_->TellActivity(world_.rank() == 0 ? RankActivity::kIdle : RankActivity::kStep);
  FM_RETURN_IF_ERROR(Barrier(world_, {.phase = "start-up"}));
  if (!start_.control.empty()) UnlinkSharedMemory(start_.directory, start_.epoch);
  const absl::Status met = world_.rank() == 0 ? Meet() : absl::OkStatus();
  FM_RETURN_IF_ERROR(AgreeOrFail(world_, Annotate(met, "front end"), {}));
  std::vector<int64_t> first(static_cast<size_t>(world_.size()));
  FM_RETURN_IF_ERROR(AllGather(world_, std::as_bytes(std::span(&welcome_.first_step, 1)),
                               std::as_writable_bytes(std::span(first)), {.phase = "first step"}));
  if (world_.rank() > 0) return RunWorker(world_, rank_->runner(), life_.epoch, first[0]);
  LocalExecutor executor(world_, rank_->runner(), rank_->rules(), life_.epoch);
  absl::Status status = Relay(*front_end_, executor, rank_->runner(), *beacon_, first[0]);
  if (!status.ok()) world_.Abandon(status);
  return status;
}

absl::Status EngineRank::Meet() {
  FM_ASSIGN_OR_RETURN(FileDescriptor socket, line_.ForPlans());
  front_end_.emplace(std::move(socket), kPlanFrameBytes);
  FM_RETURN_IF_ERROR(front_end_->Send(Encode(HelloOf(*rank_, life_)), kSendReply));
  FM_ASSIGN_OR_RETURN(const std::string answer, front_end_->Receive(kWelcome));
  return Decode(answer, &welcome_);
}

// Another rank is gone; what is wrong with this one, or with what it was told, ends it.
bool EngineRank::CanBeRepaired(const absl::Status& status) const {
  return cluster_.group() != nullptr && status.code() == absl::StatusCode::kUnavailable;
}

absl::Status EngineRank::AwaitRepair(const absl::Status& failure) {
  front_end_.reset();  // it hears that the step is given up
  std::optional<RepairOrder> order;
  if (rank_ != nullptr) {
    order = beacon_->TakeOrder(kOrder);
    if (!order) return failure;
  }
  while (!order) order = beacon_->TakeOrder(kLookForOrder);
  return Annotate(Repair(*order), "repair");
}

absl::Status EngineRank::Repair(const RepairOrder& order) {
  const bool fresh = rank_ == nullptr;
  FM_RETURN_IF_ERROR(cluster_.group()->Regroup(GroupOf(order), order.members));
  if (world_.rank() < 0) return FailedPrecondition("this process is none of the ranks");
  life_ = order;
  cluster_.set_epoch(order.epoch);
  beacon_->BeginLife(order.epoch);
  world_.set_timeout(kLoad);
  const absl::Status joined = Join(fresh);
  world_.set_timeout(milliseconds(options_.timeout_ms));
  return joined;
}

// The new ranks load what the dead ones had, and the others wait for them.
absl::Status EngineRank::Join(bool fresh) {
  const CachePages pages = fresh ? CachePages() : rank_->pages();
  std::vector<CachePages> all(static_cast<size_t>(world_.size()));
  // From here on nothing of the group before touches our buffers.
  FM_RETURN_IF_ERROR(AllGather(world_, std::as_bytes(std::span(&pages, 1)),
                               std::as_writable_bytes(std::span(all)), {.phase = "repair"}));
  absl::Status status;
  if (fresh) {
    const auto less = [](const CachePages& a, const CachePages& b) { return a.blocks < b.blocks; };
    auto loaded =
        LoadWithProgress(options_, cluster_, *std::max_element(all.begin(), all.end(), less));
    status = loaded.status();
    if (loaded.ok()) rank_ = *std::move(loaded);
  } else {
    rank_->runner().Forget();
  }
  return AgreeOrFail(world_, status, rank_ == nullptr ? AgreementFields() : rank_->fields());
}

}  // namespace

std::string RankSocket(const std::string& directory) { return directory + "/ranks"; }
std::string EngineSocket(const std::string& directory) { return directory + "/engine"; }

absl::StatusOr<FileDescriptor> CallSupervisor(const EngineRankOptions& start) {
  return ConnectTo(RankSocket(start.directory));
}

absl::Status ServeSteps(const EngineOptions& options, const EngineRankOptions& start,
                        FileDescriptor supervisor, Cluster& cluster) {
  // The supervisor says when to end.
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) std::signal(signal, SIG_IGN);
  cluster.Watch();
  FM_ASSIGN_OR_RETURN(const SupervisorLine line, SupervisorLine::Find(start, cluster.world()));
  if (!supervisor.open()) {
    FM_ASSIGN_OR_RETURN(supervisor, line.ForBeats());
  }
  return EngineRank(options, start, line, cluster).Run(std::move(supervisor));
}

}  // namespace folkmoot
