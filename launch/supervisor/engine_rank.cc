// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_rank.h"

#include <unistd.h>

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

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWelcome{60'000};  // the front end may be reading the model's files
constexpr milliseconds kNextPlan{std::chrono::hours(24 * 365)};  // its end is heard at once
constexpr milliseconds kSendReply{60'000};

EngineHello HelloOf(LoadedRank& rank, const EngineRankOptions& life) {
  EngineHello hello;
  hello.epoch = life.epoch;
  hello.fields = rank.fields();
  hello.ranks = rank.ranks();
  hello.tensor_parallel = rank.tensor_parallel();
  hello.context = rank.scheduler_options().max_model_len;
  hello.blocks_per_rank = rank.scheduler_options().blocks_per_rank;
  hello.slots_per_rank = rank.scheduler_options().slots_per_rank;
  hello.placement_version = rank.runner().placement_version();
  for (int e = 0; e < rank.placement().experts(); ++e) {
    hello.rank_of_expert.push_back(rank.placement().rank_of(e));
  }
  hello.embeddings = rank.rules().gives_embeddings();
  return hello;
}

absl::StatusOr<std::pair<FrameChannel, EngineWelcome>> MeetFrontEnd(LoadedRank& rank,
                                                                    const EngineRankOptions& life,
                                                                    const SupervisorLine& line) {
  FM_ASSIGN_OR_RETURN(FileDescriptor socket, line.ForPlans());
  FrameChannel channel(std::move(socket), kPlanFrameBytes);
  FM_RETURN_IF_ERROR(channel.Send(Encode(HelloOf(rank, life)), kSendReply));
  FM_ASSIGN_OR_RETURN(const std::string answer, channel.Receive(kWelcome));
  EngineWelcome welcome;
  FM_RETURN_IF_ERROR(Decode(answer, &welcome));
  return std::pair(std::move(channel), welcome);
}

// On rank 0: plans in, results out, until the front end shuts down or is gone.
absl::Status Relay(FrameChannel& channel, LocalExecutor& executor, ModelRunner& runner,
                   RankBeacon& beacon, int64_t first_step) {
  PlannedStep step;
  for (int64_t number = first_step;; ++number) {
    beacon.SetActivity(RankActivity::kIdle);
    FM_ASSIGN_OR_RETURN(step.frame, channel.Receive(kNextPlan));
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

}  // namespace

std::string RankSocket(const std::string& directory) { return directory + "/ranks"; }
std::string EngineSocket(const std::string& directory) { return directory + "/engine"; }

absl::Status ServeSteps(const EngineOptions& options, const EngineRankOptions& life,
                        Cluster& cluster) {
  // The supervisor says when to end.
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) std::signal(signal, SIG_IGN);
  Progress& progress = cluster.Watch();
  Communicator& world = cluster.world();
  FM_ASSIGN_OR_RETURN(const SupervisorLine line, SupervisorLine::Find(life, world));
  FM_ASSIGN_OR_RETURN(FileDescriptor supervisor, line.ForBeats());
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<RankBeacon> beacon,
                      RankBeacon::Start(std::move(supervisor),
                                        {.epoch = life.epoch,
                                         .rank = world.rank(),
                                         .ranks = world.size(),
                                         .host = HostName(),
                                         .process = getpid()},
                                        progress));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<LoadedRank> rank, LoadWithProgress(options, cluster));
  // The supervisor knows that this engine can start before anybody can ask it for something.
  beacon->TellActivity(world.rank() == 0 ? RankActivity::kIdle : RankActivity::kStep);
  FM_RETURN_IF_ERROR(Barrier(world, {.phase = "start-up"}));
  if (!life.control.empty()) UnlinkSharedMemory(life.directory, life.epoch);
  std::optional<FrameChannel> channel;
  absl::Status met;
  EngineWelcome welcome;
  if (world.rank() == 0) {
    auto front_end = MeetFrontEnd(*rank, life, line);
    met = Annotate(front_end.status(), "front end");
    if (front_end.ok()) {
      channel.emplace(std::move(front_end->first));
      welcome = front_end->second;
    }
  }
  FM_RETURN_IF_ERROR(AgreeOrFail(world, met, {}));
  std::vector<int64_t> first(static_cast<size_t>(world.size()));
  FM_RETURN_IF_ERROR(AllGather(world, std::as_bytes(std::span(&welcome.first_step, 1)),
                               std::as_writable_bytes(std::span(first)), {.phase = "first step"}));
  absl::Status status;
  if (world.rank() > 0) {
    status = RunWorker(world, rank->runner(), life.epoch, first[0]);
  } else {
    LocalExecutor executor(world, rank->runner(), rank->rules(), life.epoch);
    status = Relay(*channel, executor, rank->runner(), *beacon, first[0]);
    if (!status.ok()) world.Abandon(status);
  }
  if (status.ok()) beacon->TellActivity(RankActivity::kLeaving);
  return status;
}

}  // namespace folkmoot
