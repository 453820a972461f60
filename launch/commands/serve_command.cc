// SPDX-License-Identifier: Apache-2.0
// folkmoot serve: an OpenAI-compatible server over all ranks. Exit status 0 after a signal when
// every request was finished, 1 when some were cut off or the engine failed.
#include "launch/commands/serve_command.h"

#include <spdlog/spdlog.h>
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>

#include "CLI/CLI.hpp"
#include "launch/agreement.h"
#include "launch/api/output/formats.h"
#include "launch/launcher.h"
#include "launch/parallelism.h"
#include "launch/serve_model.h"
#include "launch/server.h"
#include "launch/supervisor/confine.h"
#include "launch/supervisor/engine_rank.h"
#include "launch/supervisor/front_end_process.h"
#include "launch/supervisor/host_shared_memory.h"
#include "launch/supervisor/process.h"
#include "launch/supervisor/supervisor.h"
#include "launch/supervisor/tcp_socket.h"
#include "launch/version.h"
#include "layers/gates/gate_config.h"
#include "layers/gates/gate_fields.h"
#include "parallel/mpi_environment.h"
#include "runtime/log.h"
#include "runtime/nearest.h"

namespace folkmoot {
namespace {

struct ServeOptions {
  EngineOptions engine;
  ServerOptions server;
  ServeModelOptions model;
  std::string scheduling_policy = "fcfs";
  bool prefix_caching = true;
  bool plan_ahead = false;
  double request_timeout = 0;
  double ping_interval = 15;
  int64_t shutdown_timeout = 300;
  int64_t ranks = 0;  // 0: not supervised
  std::string launcher = "mpirun";
  std::string hosts;
  std::string hostfile;
  std::string control_host;
  int control_port = 0;
  bool exit_on_engine_failure = false;
  std::string api_key_file;
  std::string journal;
  bool journal_sync = false;
  EngineRankOptions life;  // given by the supervisor
};

SchedulerOptions Adjust(const ServeOptions& options, SchedulerOptions scheduler) {
  scheduler.prefix_caching = scheduler.prefix_caching && options.prefix_caching;
  scheduler.policy = options.scheduling_policy == "priority" ? Policy::kPriority : Policy::kFcfs;
  scheduler.plan_ahead = options.plan_ahead;
  std::random_device device;
  scheduler.hash_seed = (uint64_t{device()} << 32) | device();
  return scheduler;
}

void PrintReady(const Server& server, const ServedModel& model, const EngineFacts& facts,
                std::chrono::steady_clock::time_point start) {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const int64_t context = model.options().context;
  fmt::print(
      stderr,
      "folkmoot: ready at {} model={} ranks={} parallelism={} context={} kv_cache_tokens={} "
      "maximum_concurrency={:.1f} seconds={:.2f}\n",
      server.url(), model.name(), facts.ranks, ParallelismName(facts.tensor_parallel), context,
      facts.kv_tokens,
      static_cast<double>(facts.kv_tokens) / static_cast<double>(std::max<int64_t>(1, context)),
      seconds);
}

ServedEngine DescribeEngine(const ServeOptions& options, const LoadedRank& rank) {
  ServedEngine engine;
  engine.config = rank.config();
  engine.gate = rank.gate();
  engine.scheduler = Adjust(options, rank.scheduler_options());
  engine.ranks = rank.ranks();
  engine.tensor_parallel = rank.tensor_parallel();
  for (int e = 0; e < rank.placement().experts(); ++e) {
    engine.rank_of_expert.push_back(rank.placement().rank_of(e));
  }
  return engine;
}

// Ranks above 0 end when rank 0 tells them; a signal that reaches all of them must not end some.
void LeaveSignalsToRank0() {
  std::signal(SIGTERM, SIG_IGN);
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGUSR1, SIG_IGN);
}

absl::Status ServeOnRank(const ServeOptions& options, Cluster& cluster) {
  const auto start = std::chrono::steady_clock::now();
  Communicator& world = cluster.world();
  std::unique_ptr<Server> server;
  absl::Status listening;
  if (world.rank() == 0) {
    if (std::getenv("FOLKMOOT_LOG_LEVEL") == nullptr) spdlog::set_level(spdlog::level::info);
    absl::StatusOr<std::unique_ptr<Server>> started = Server::Start(options.server);
    listening = started.status();
    if (started.ok()) server = *std::move(started);
  } else {
    LeaveSignalsToRank0();
  }
  FM_RETURN_IF_ERROR(AgreeOrFail(world, listening, {}));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<LoadedRank> rank,
                      LoadWithProgress(options.engine, cluster));
  // From here on a rank that fails alone is noticed by the others: workers wait for rank 0.
  if (world.rank() > 0) return RunWorker(world, rank->runner(), rank->epoch());
  const ServedEngine served = DescribeEngine(options, *rank);
  LocalExecutor executor(world, rank->runner(), rank->rules(), rank->epoch());
  Engine engine(served.scheduler, executor);
  absl::StatusOr<LoadedModel> loaded = DescribeModel(options.model, options.engine, served);
  absl::Status status = loaded.status();
  if (status.ok()) {
    const EngineFacts facts = loaded->facts;
    const ServedModel& model = *loaded->model;
    const auto heartbeat = std::chrono::milliseconds(
        world.size() == 1 ? 0 : std::max<int64_t>(1, options.engine.timeout_ms / 4));
    status = server->Run(engine, heartbeat, *std::move(loaded), /*journal=*/nullptr,
                         [&] { PrintReady(*server, model, facts, start); });
  }
  const absl::Status shutdown = engine.Shutdown();
  return status.ok() ? shutdown : status;
}

// A knob that no gate has would never be met: a typing error.
absl::Status CheckKnobs(const std::vector<std::string>& knobs) {
  std::vector<std::string> known = {"*", "preset"};
  const GateConfig any;
  VisitGateFields(any, [&](std::string_view name, const auto&) { known.emplace_back(name); });
  for (const std::string& knob : knobs) {
    if (std::find(known.begin(), known.end(), knob) != known.end()) continue;
    const std::string* nearest = Nearest(knob, known);
    return UsageError(fmt::format(
        "--allow-gate-override: no gate has the knob '{}'{}", knob,
        nearest != nullptr ? fmt::format("; did you mean '{}'?", *nearest) : std::string()));
  }
  return absl::OkStatus();
}

absl::Status ReadKeys(ServeOptions* options) {
  std::vector<std::string>& keys = options->server.http.api_keys;
  if (!options->api_key_file.empty()) {
    std::ifstream file(options->api_key_file);
    const size_t before = keys.size();
    for (std::string line; std::getline(file, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (!line.empty()) keys.push_back(line);
    }
    if (keys.size() == before) {
      return UsageError(
          fmt::format("--api-key-file {}: no key can be read there", options->api_key_file));
    }
  }
  std::erase(keys, "");
  return absl::OkStatus();
}

int FrontEndStatus(const ServeOptions& options, FrontEndLink link) {
  const FaultSite site = {.process = FaultProcess::kFrontEnd, .epoch = link.life};
  (void)ArmFaults(options.engine.faults, site);  // the plan has been read before
  const absl::Status confined = Confine();
  if (!confined.ok()) spdlog::warn("the front end is not confined: {}", Message(confined));
  const auto start = std::chrono::steady_clock::now();
  FrontEndProcessOptions front_end;
  front_end.engine = options.engine;
  front_end.server = options.server;
  front_end.model = options.model;
  front_end.journal = {.directory = options.journal, .sync = options.journal_sync};
  front_end.ranks = static_cast<int>(options.ranks);
  front_end.adjust = [&](SchedulerOptions scheduler) { return Adjust(options, scheduler); };
  front_end.on_ready = [&](const Server& server, const ServedModel& model,
                           const EngineFacts& facts) { PrintReady(server, model, facts, start); };
  const absl::Status status = RunFrontEnd(front_end, std::move(link));
  PrintFaultCounts(options.engine.faults, site);
  if (status.ok()) return 0;
  fmt::print(stderr, "folkmoot: error: {}\n", Message(status));
  return 1;
}

// Where the ranks are, and how they find us.
absl::Status ChooseHosts(const ServeOptions& options, SupervisorOptions* supervisor) {
  absl::StatusOr<EngineHosts> hosts = ReadHosts(options.hosts, options.hostfile);
  if (!hosts.ok()) return UsageError(std::string(Message(hosts.status())));
  if (!hosts->names.empty() && !IsOpenMpiLauncher(options.launcher)) {
    return UsageError(
        "--hosts and --hostfile are for mpirun; tell another --launcher in its own words, and give "
        "--control-host");
  }
  supervisor->control_host = options.control_host;
  supervisor->control_port = options.control_port;
  if (!hosts->names.empty() && options.control_host.empty()) {
    absl::StatusOr<std::string> address = AddressTowards(hosts->names);
    if (!address.ok()) {
      return UsageError(fmt::format("{}; name it with --control-host", Message(address.status())));
    }
    supervisor->control_host = *std::move(address);
  }
  supervisor->engine.hosts = *std::move(hosts);
  return absl::OkStatus();
}

absl::Status ServeSupervised(const ServeOptions& options) {
  if (LaunchedByMpi()) {
    return UsageError("--ranks starts ranks by itself: leave mpirun away, or --ranks");
  }
  SupervisorOptions supervisor;
  FM_RETURN_IF_ERROR(ChooseHosts(options, &supervisor));
  FM_RETURN_IF_ERROR(SetUpLog({.level = "", .rank = 0, .ranks = 1}));
  if (std::getenv("FOLKMOOT_LOG_LEVEL") == nullptr) spdlog::set_level(spdlog::level::info);
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> words, OwnCommandLine());
  supervisor.engine.ranks = static_cast<int>(options.ranks);
  supervisor.engine.spares = options.engine.spares;
  supervisor.engine.launcher = options.launcher;
  supervisor.engine.rank_command = RankCommand(words);
  supervisor.exit_on_engine_failure = options.exit_on_engine_failure;
  const FaultSite site = {.process = FaultProcess::kSupervisor};
  FM_RETURN_IF_ERROR(ArmFaults(options.engine.faults, site));
  FM_ASSIGN_OR_RETURN(const int status, Supervise(supervisor, [&](FrontEndLink link) {
                        return FrontEndStatus(options, std::move(link));
                      }));
  PrintFaultCounts(options.engine.faults, site);
  return status == 0 ? absl::OkStatus() : AlreadySaid(absl::UnknownError("the server failed"));
}

// A rank of the life that the supervisor has begun.
absl::Status ServeAsRank(ServeOptions* options) {
  EngineOptions& engine = options->engine;
  const EngineRankOptions& life = options->life;
  engine.faults.epoch = life.epoch;
  FileDescriptor supervisor;
  if (engine.spares > 0) {
    FM_ASSIGN_OR_RETURN(supervisor, CallSupervisor(life));
  }
  if (!life.control.empty()) UseSharedMemoryDirectory(life.directory, life.epoch);
  const absl::Status status = RunOnRanks(engine, [&](Cluster& cluster) {
    return ServeSteps(engine, life, std::move(supervisor), cluster);
  });
  if (!life.control.empty()) LeaveSharedMemoryDirectory(life.directory, life.epoch);
  return status;
}

absl::Status CheckSpares(const ServeOptions& options) {
  if (options.engine.spares == 0) return absl::OkStatus();
  if (options.ranks < 2) {
    return UsageError("--spares needs --ranks of two or more: others must live on");
  }
  if (options.hosts.empty() && options.hostfile.empty() && options.control_host.empty()) {
    return absl::OkStatus();
  }
  return UsageError(
      "--spares is for ranks on one host: leave --hosts, --hostfile and --control-host away, or "
      "--spares");
}

absl::Status Serve(const ServeOptions& given) {
  FM_RETURN_IF_ERROR(CheckEngineOptions(given.engine));
  FM_RETURN_IF_ERROR(CheckKnobs(given.model.gate_knobs));
  ServeOptions options = given;
  options.model.priorities = options.scheduling_policy == "priority";
  options.server.front_end.version = BuildVersion();
  options.server.front_end.request_timeout =
      std::chrono::milliseconds(static_cast<int64_t>(options.request_timeout * 1000));
  options.server.front_end.ping_interval =
      std::chrono::milliseconds(static_cast<int64_t>(options.ping_interval * 1000));
  options.server.shutdown_timeout = std::chrono::seconds(options.shutdown_timeout);
  // A rank that a supervisor started, which may have --ranks and keys from a file.
  if (!options.life.directory.empty()) return ServeAsRank(&options);
  FM_RETURN_IF_ERROR(CheckSpares(options));
  FM_RETURN_IF_ERROR(ReadKeys(&options));
  if (options.ranks > 0) return ServeSupervised(options);
  if (!options.journal.empty()) {
    return UsageError("--journal needs --ranks: nobody would start this process again");
  }
  return RunOnRanks(options.engine,
                    [&](Cluster& cluster) { return ServeOnRank(options, cluster); });
}

void AddServerFlags(CLI::App& app, ServeOptions* options) {
  HttpServerOptions& http = options->server.http;
  app.add_option("--host", http.host, "address to listen on");
  app.add_option("--port", http.port, "port to listen on; 0: any free one");
  app.add_option("--api-key", http.api_keys,
                 "clients must send one of these as a bearer token (repeatable)");
  app.add_option("--api-key-file", options->api_key_file,
                 "the same from a file, one per line: the process list does not show them");
  app.add_option("--allowed-origins", http.cors_origins,
                 "web pages of these origins may call us; '*': all (repeatable)");
  app.add_option("--served-model-name", options->model.names,
                 "names for clients; the first is in answers. Default: MODEL as given");
  app.add_option("--max-queued-requests", options->server.queue.max_queued_requests,
                 "requests that may wait; more are answered with 429")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-queued-tokens", options->server.queue.max_queued_tokens,
                 "tokens of prompts that may wait; more are answered with 429")
      ->check(CLI::PositiveNumber);
  app.add_option("--request-timeout", options->request_timeout,
                 "seconds until a request is given up; 0: never. Clients may ask for less")
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--sse-ping-interval", options->ping_interval,
                 "seconds of silence after which a stream gets a comment, so that proxies keep it; "
                 "0: never")
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--shutdown-timeout", options->shutdown_timeout,
                 "seconds for requests under way, after the first SIGTERM")
      ->check(CLI::Range(0, 86400));
  app.add_flag("--enable-log-requests", options->server.front_end.log_requests,
               "log ids and sizes of requests, never their text");
}

void AddSupervisorFlags(CLI::App& app, ServeOptions* options) {
  app.add_option("--ranks", options->ranks,
                 "start so many ranks and watch them: one that dies or hangs costs a pause, not a "
                 "request. 0: this process is a rank, alone or under mpirun")
      ->check(CLI::Range(0, 65536));
  app.add_option("--spares", options->engine.spares,
                 "with --ranks, on one host: start so many processes more, which load nothing and "
                 "wait. When a rank dies, one takes its place, and the others keep weights, keys "
                 "and values; without one left all ranks start again. CPUs only")
      ->check(CLI::Range(0, 64));
  app.add_option("--launcher", options->launcher,
                 "with --ranks: what starts them, with its arguments; it is given -n N");
  app.add_option("--hosts", options->hosts,
                 "with --ranks: where they run, with the number of ranks of each: 'a:2,b:2'; for "
                 "mpirun, which must reach the hosts, and find the program and the model there");
  app.add_option("--hostfile", options->hostfile,
                 "the same from a file: 'a slots=2' in a line for each");
  app.add_option("--control-host", options->control_host,
                 "with ranks on other hosts: the address of this one at which they find it. "
                 "Default: that of the interface towards them");
  app.add_option("--control-port", options->control_port, "its port; 0: any free one")
      ->check(CLI::Range(0, 65535));
  app.add_flag("--exit-on-engine-failure", options->exit_on_engine_failure,
               "with --ranks: end with status 1 when the engine fails again and again, instead of "
               "refusing requests with 503");
  app.add_option("--journal", options->journal,
                 "with --ranks: a directory where requests are written down, so that they survive "
                 "the front end too; clients ask again with GET /v1/requests/ID");
  app.add_flag("--journal-sync", options->journal_sync,
               "wait for the disk before a token is sent: requests survive the machine");
  app.add_option("--supervised", options->life.directory)->group("");
  app.add_option("--epoch", options->life.epoch)->group("");
  app.add_option("--control", options->life.control)->group("");
}

void AddModelFlags(CLI::App& app, ServeOptions* options) {
  app.add_option("--chat-template", options->model.chat_template,
                 "Jinja file instead of the model's own chat template");
  app.add_option("--tool-call-parser", options->model.tool_call_parser,
                 "how the model writes tool calls; auto: what its chat template shows; none: calls "
                 "stay text")
      ->check(CLI::IsMember(FormatNames(ToolFormats())));
  app.add_option("--reasoning-parser", options->model.reasoning_parser,
                 "how the model writes its reasoning; auto: what its chat template shows; none: "
                 "reasoning is content")
      ->check(CLI::IsMember(FormatNames(ReasoningFormats())));
  const std::string always_on = "as in vLLM; without effect, for tools are always on";
  app.add_flag("--enable-auto-tool-choice", always_on);
  app.add_option("--generation-config", options->model.generation_config,
                 "sampling defaults: auto (the model's generation_config.json), vllm (none), or a "
                 "directory");
  app.add_option("--allow-gate-override", options->model.gate_knobs,
                 "knobs of the gate that a request may set: top_k,capacity_factor,...; '*': all")
      ->delimiter(',');
  app.add_option("--pooling", options->model.pooling,
                 "embeddings: of the last token, or the mean of all tokens")
      ->check(CLI::IsMember({"last", "mean"}));
  app.add_flag("--trust-special-tokens", options->model.trust_special_tokens,
               "special tokens written in chat messages count as such");
  app.add_option("--scheduling-policy", options->scheduling_policy,
                 "who runs first: fcfs, or priority (the request's field)")
      ->check(CLI::IsMember({"fcfs", "priority"}));
  app.add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", options->prefix_caching,
               "share the computed beginnings of prompts (the default)");
  app.add_flag("--async-scheduling", options->plan_ahead,
               "plan each step while the one before it is computed");
}

}  // namespace

Command MakeServeCommand(CLI::App& app) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "an OpenAI-compatible server");
  AddEngineFlags(*command, &options->engine);
  AddServerFlags(*command, options.get());
  AddSupervisorFlags(*command, options.get());
  AddModelFlags(*command, options.get());
  return {.app = command, .run = [options] { return Serve(*options); }};
}

}  // namespace folkmoot
