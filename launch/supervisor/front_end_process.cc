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

// Hears the supervisor, on a thread of its own.
class NewsReader {
 public:
  NewsReader(FileDescriptor news, Server& server)
      : channel_(std::move(news), kControlFrameBytes),
        server_(server),
        thread_([this] { Loop(); }) {}
  ~NewsReader() {
    leaving_ = true;
    thread_.join();
  }
  NewsReader(const NewsReader&) = delete;
  NewsReader& operator=(const NewsReader&) = delete;

 private:
  void Loop() {
    while (!leaving_) {
      const absl::StatusOr<std::string> message = channel_.Receive(kLook);
      if (message.status().code() == absl::StatusCode::kDeadlineExceeded) continue;
      EngineNews news;
      if (!message.ok() || !Decode(*message, &news).ok()) {
        std::fputs("folkmoot: the supervisor is gone\n", stderr);
        std::_Exit(1);
      }
      if (news.state == EngineState::kFailed) {
        server_.OnEngineFailed("the engine has failed and does not come back: " + news.reason);
        continue;
      }
      server_.OnEngineNews(Trouble(news), news.state == EngineState::kStalled,
                           {.restarts = news.restarts, .repairs = news.repairs});
    }
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
  std::atomic<bool> leaving_{false};
  std::thread thread_;
};

ServedEngine DescribeEngine(const FrontEndProcessOptions& options, const OpenedModel& opened,
                            const EngineHello& hello) {
  ServedEngine engine;
  engine.config = opened.config;
  engine.gate = opened.gate;
  const int parts = hello.tensor_parallel ? 1 : hello.ranks;
  engine.scheduler =
      options.adjust(SchedulerOf(options.engine, opened, parts, hello.blocks_per_rank));
  engine.scheduler.max_model_len = hello.context;
  engine.ranks = hello.ranks;
  engine.tensor_parallel = hello.tensor_parallel;
  engine.rank_of_expert.assign(hello.rank_of_expert.begin(), hello.rank_of_expert.end());
  return engine;
}

}  // namespace

absl::Status RunFrontEnd(const FrontEndProcessOptions& options, FileDescriptor engine_socket,
                         FileDescriptor news) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(options.server));
  const NewsReader reader(std::move(news), *server);
  FM_ASSIGN_OR_RETURN(const OpenedModel opened,
                      OpenModel(options.engine, options.ranks, /*gpu=*/std::nullopt));
  const AgreementFields fields = FieldsOf(options.engine, opened);
  std::unique_ptr<FileJournal> journal;
  if (!options.journal.directory.empty()) {
    FileJournalOptions own = options.journal;
    own.fields = fields;
    FM_ASSIGN_OR_RETURN(journal, FileJournal::Open(own));
  }
  RemoteExecutor executor(std::move(engine_socket), fields);
  while (true) {
    const absl::Status met = executor.Renew(/*first_step=*/0, kLook).status();
    if (met.ok()) break;
    if (met.code() != absl::StatusCode::kDeadlineExceeded) return met;
    if (server->stopping()) return absl::OkStatus();  // nobody was served yet
  }
  const ModelRules rules(opened.config, opened.gate, executor.hello().embeddings);
  executor.set_rules(rules);
  const ServedEngine served = DescribeEngine(options, opened, executor.hello());
  FM_ASSIGN_OR_RETURN(LoadedModel loaded, DescribeModel(options.model, options.engine, served));
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
