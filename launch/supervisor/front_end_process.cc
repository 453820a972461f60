// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/front_end_process.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "launch/opened_model.h"
#include "launch/supervisor/remote_executor.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLook{100};
constexpr milliseconds kLookForNews{5};
constexpr milliseconds kBeat{10'000};  // for the supervisor to take a beat

ThreadBeat BeatOf(const ThreadPulse& pulse) {
  const Progress::View view = pulse.progress.Read();
  return {.progress = view.count,
          .waiting = view.waiting,
          .phase = view.label.phase,
          .cpu_seconds = pulse.cpu_seconds()};
}

// Hears the supervisor and tells it how the other threads get on, on a thread of its own.
class NewsReader {
 public:
  NewsReader(FileDescriptor news, Server& server, const ServerPulse& pulse)
      : channel_(std::move(news), kControlFrameBytes),
        server_(server),
        pulse_(pulse),
        thread_([this] { Loop(); }) {}
  ~NewsReader() {
    leaving_ = true;
    thread_.join();
  }
  NewsReader(const NewsReader&) = delete;
  NewsReader& operator=(const NewsReader&) = delete;

  // The supervisor has heard all ranks of an engine, once.
  bool engine_came_up() const { return came_up_; }

 private:
  void Loop() {
    while (!leaving_) {
      if (!Beat().ok()) Leave();
      const absl::StatusOr<std::string> message = channel_.Receive(kLook);
      if (message.status().code() == absl::StatusCode::kDeadlineExceeded) continue;
      EngineNews news;
      if (!message.ok() || !Decode(*message, &news).ok()) Leave();
      if (news.state == EngineState::kFailed) {
        server_.OnEngineFailed("the engine has failed and does not come back: " + news.reason);
        continue;
      }
      if (news.state == EngineState::kUp) came_up_ = true;
      server_.OnEngineNews(Trouble(news), news.state == EngineState::kStalled,
                           {.restarts = news.restarts, .repairs = news.repairs});
    }
  }

  absl::Status Beat() {
    return channel_.Send(Encode(FrontEndBeat{.events = BeatOf(pulse_.events),
                                             .engine = BeatOf(pulse_.engine),
                                             .culprits = server_.culprits(),
                                             .steps = server_.steps()}),
                         kBeat);
  }

  [[noreturn]] static void Leave() {
    std::fputs("folkmoot: the supervisor is gone\n", stderr);
    std::_Exit(kLostSupervisor);
  }

  static std::string Trouble(const EngineNews& news) {
    switch (news.state) {
      case EngineState::kUp:
        return "";
      case EngineState::kStalled:
        return news.reason;
      case EngineState::kRepairing:
        return "the engine is being repaired: " + news.reason;
      default:
        return news.reason.empty() ? "the engine is starting"
                                   : "the engine is starting again: " + news.reason;
    }
  }

  FrameChannel channel_;
  Server& server_;
  const ServerPulse& pulse_;
  std::atomic<bool> leaving_{false};
  std::atomic<bool> came_up_{false};
  std::thread thread_;
};

ServedEngine DescribeEngine(const FrontEndProcessOptions& options, const OpenedModel& opened,
                            const EngineHello& hello) {
  ServedEngine engine;
  engine.config = opened.config;
  engine.gate = opened.gate;
  const int parts = hello.tensor_parallel ? 1 : hello.ranks;
  const CachePages pages = {.blocks = hello.blocks_per_rank,
                            .block_size = kKvBlockSize,
                            .slots = hello.slots_per_rank,
                            .snapshots = hello.snapshots_per_rank};
  engine.scheduler = options.adjust(SchedulerOf(options.engine, opened, parts, pages));
  engine.scheduler.max_model_len = hello.context;
  engine.ranks = hello.ranks;
  engine.tensor_parallel = hello.tensor_parallel;
  engine.rank_of_expert.assign(hello.rank_of_expert.begin(), hello.rank_of_expert.end());
  return engine;
}

}  // namespace

absl::Status RunFrontEnd(const FrontEndProcessOptions& options, FrontEndLink link) {
  ServerPulse pulse;
  Progress& progress = pulse.engine.progress;
  pulse.engine.Adopt();
  progress.Begin({.phase = "loading"});
  ServerOptions server_options = options.server;
  server_options.pulse = &pulse;
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                      Server::Start(std::move(server_options)));
  const NewsReader reader(std::move(link.news), *server, pulse);
  FM_ASSIGN_OR_RETURN(const OpenedModel opened,
                      OpenModel(options.engine, options.ranks, /*gpu=*/std::nullopt));
  const AgreementFields fields = FieldsOf(options.engine, opened);
  std::unique_ptr<FileJournal> journal;
  if (!options.journal.directory.empty()) {
    FileJournalOptions own = options.journal;
    own.fields = fields;
    own.may_end = link.life > 1;
    own.progress = &pulse.events.progress;
    FM_ASSIGN_OR_RETURN(journal, FileJournal::Open(own));
  }
  RemoteExecutor executor(std::move(link.engine), fields, &progress);
  progress.End();
  while (true) {
    const absl::Status met = executor.Renew(/*first_step=*/0, kLook).status();
    if (met.ok()) break;
    if (met.code() != absl::StatusCode::kDeadlineExceeded) return met;
    if (server->stopping()) return absl::OkStatus();  // nobody was served yet
  }
  // An engine that dies before the supervisor has heard all of it could not start, and that ends
  // the server: nobody may have been served by then.
  progress.Begin({.phase = "word of the supervisor that the engine is up"});
  while (!reader.engine_came_up()) {
    if (server->stopping()) return absl::OkStatus();
    std::this_thread::sleep_for(kLookForNews);
  }
  progress.End();
  const ModelRules rules(opened.config, opened.gate, executor.hello().embeddings);
  executor.set_rules(rules);
  const ServedEngine served = DescribeEngine(options, opened, executor.hello());
  progress.Begin({.phase = "loading"});
  FM_ASSIGN_OR_RETURN(LoadedModel loaded, DescribeModel(options.model, options.engine, served));
  progress.End();
  Engine engine(served.scheduler, executor);
  const EngineFacts facts = loaded.facts;
  const ServedModel& model = *loaded.model;
  const milliseconds heartbeat(std::max<int64_t>(1, options.engine.timeout_ms / 4));
  const absl::Status status = server->Run(engine, heartbeat, std::move(loaded), journal.get(),
                                          [&] { options.on_ready(*server, model, facts); });
  const absl::Status shutdown = engine.Shutdown();
  return status.ok() ? shutdown : status;
}

}  // namespace folkmoot
