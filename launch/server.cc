// SPDX-License-Identifier: Apache-2.0
#include "launch/server.h"

#include <spdlog/spdlog.h>

#include <cstdlib>
#include <future>

#include "launch/api/page/page.h"

namespace folkmoot {
namespace {

using namespace std::chrono_literals;

constexpr auto kStatisticsInterval = 10s;
constexpr auto kExpertsInterval = 1s;  // how often counters of experts are copied under load
constexpr auto kPulse = 100ms;
constexpr auto kLastAnswers = 5s;  // for clients to read them before the process ends

}  // namespace

class Server::Port : public EnginePort {
 public:
  explicit Port(EngineService& service) : service_(service) {}
  absl::Status Submit(int64_t id, Request request) override {
    return service_.Submit(id, std::move(request));
  }
  void Cancel(int64_t id) override { service_.Cancel(id); }
  void CancelChoice(int64_t id, int32_t choice) override { service_.CancelChoice(id, choice); }
  EngineSnapshot Snapshot() const override { return service_.Snapshot(); }

 private:
  EngineService& service_;
};

Server::Server(ServerOptions options) : options_(std::move(options)) {
  options_.front_end.after = [this](std::chrono::milliseconds delay, std::function<void()> task) {
    return std::shared_ptr<void>(loop_.After(delay, std::move(task)));
  };
  options_.front_end.queue_places = options_.queue.max_queued_requests;
  front_end_ = std::make_unique<FrontEnd>(options_.front_end);
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  std::unique_ptr<Server> server(new Server(std::move(options)));
  FM_ASSIGN_OR_RETURN(server->http_,
                      HttpServer::Start(server->loop_, server->options_.http, server->Routes()));
  Server* self = server.get();
  server->loop_.CatchSignals([self](int) { self->OnSignal(); });
  if (server->options_.pulse != nullptr) {
    server->loop_.Post([self] {
      self->options_.pulse->events.Adopt();
      self->Beat();
    });
  }
  server->thread_ = std::thread([self] { self->loop_.Run(); });
  return server;
}

Server::~Server() {
  loop_.Stop();
  if (thread_.joinable()) thread_.join();
  http_.reset();  // before what its routes point to
}

std::string Server::url() const {
  const std::string& host = options_.http.host;
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", v6 ? "[" + host + "]" : host, port());
}

// A route whose handler exists only once the model is loaded.
Route Server::Late(std::string path, std::function<Handler*()> find) {
  return {"GET", std::move(path), false,
          [find = std::move(find)](std::shared_ptr<HttpExchange> exchange) {
            Handler* handler = find();
            if (handler != nullptr && *handler) return (*handler)(std::move(exchange));
            exchange->Respond(ErrorResponse(503, "the model is still loading", "", "loading"));
          }};
}

std::vector<Route> Server::Routes() {
  std::vector<Route> routes = front_end_->Routes();
  routes.push_back(PageRoute());
  routes.push_back(Late("/metrics", [this] { return &metrics_handler_; }));
  for (const char* path : {"/moe/experts", "/moe/events"}) {
    routes.push_back(Late(path, [this, path]() -> Handler* {
      for (Route& route : moe_routes_) {
        if (route.path == path) return &route.handler;
      }
      return nullptr;
    }));
  }
  return routes;
}

void Server::RunOnLoop(const std::function<void()>& task) {
  std::promise<void> done;
  loop_.Post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

absl::Status Server::Run(Engine& engine, std::chrono::milliseconds heartbeat, LoadedModel loaded,
                         RequestJournal* journal, const std::function<void()>& on_ready) {
  service_ = std::make_unique<EngineService>(
      engine, options_.queue, heartbeat, [this](std::vector<OutputEvent> events) {
        auto shared = std::make_shared<std::vector<OutputEvent>>(std::move(events));
        loop_.Post([this, shared] { OnEvents(std::move(*shared)); });
      });
  port_ = std::make_unique<Port>(*service_);
  RunOnLoop([&] {
    const MoeLayout layout = loaded.metrics.moe;
    const std::string name = loaded.metrics.model_name;
    metrics_ = std::make_unique<Metrics>(std::move(loaded.metrics));
    metrics_->OnEngineLives(engine_lives_);
    metrics_handler_ = [this, journal](const std::shared_ptr<HttpExchange>& exchange) {
      metrics_->OnSnapshot(service_->Snapshot());
      if (journal != nullptr) metrics_->OnJournal(journal->counts());
      LookAtExperts();
      exchange->Respond(
          {.status = 200, .body = metrics_->Render(), .content_type = kMetricsContentType});
    };
    moe_ = std::make_unique<MoeStatus>(
        loop_, MoeStatusOptions{.model_name = name,
                                .layout = layout,
                                .snapshot = [this] { return service_->Snapshot(); },
                                .experts = [this] { return service_->Experts(); },
                                .drops = [this] { return metrics_->drops(); }});
    moe_routes_ = moe_->Routes();
    front_end_->Attach(std::move(loaded.model), loaded.facts, *port_, metrics_.get());
    if (journal != nullptr) front_end_->UseJournal(*journal);
    statistics_timer_ = loop_.After(kStatisticsInterval, [this] { PrintStatistics(); });
    on_ready();
    if (signals_ > 0) service_->Drain();  // while the model was loading
  });
  absl::Status status = service_->Run();
  Close(status);
  if (!status.ok()) return status;
  if (aborted_) return absl::CancelledError("requests were cut off by a second signal");
  return absl::OkStatus();
}

void Server::OnEvents(std::vector<OutputEvent> events) {
  front_end_->OnEvents(std::move(events));
  metrics_->OnSnapshot(service_->Snapshot());
  if (std::chrono::steady_clock::now() - experts_seen_ >= kExpertsInterval) LookAtExperts();
}

void Server::OnEngineNews(std::string trouble, bool stalled, EngineLivesCount lives) {
  loop_.Post([this, trouble = std::move(trouble), stalled, lives] {
    front_end_->SetTrouble(trouble, stalled);
    engine_lives_ = lives;
    if (metrics_ != nullptr) metrics_->OnEngineLives(lives);
  });
}

void Server::OnEngineFailed(std::string reason) {
  loop_.Post([this, reason = std::move(reason)] { front_end_->EngineEnded(reason); });
}

void Server::LookAtExperts() {
  experts_seen_ = std::chrono::steady_clock::now();
  metrics_->OnExperts(service_->Experts(), experts_seen_);
}

void Server::OnSignal() {
  ++signals_;
  if (signals_ >= 3) std::_Exit(1);  // this thread may not enter MPI; mpirun ends the other ranks
  if (signals_ == 2) return Abort();
  front_end_->Drain();
  if (service_ == nullptr) {
    spdlog::warn("stopping when the model is loaded; a third signal ends the job at once");
    return;
  }
  spdlog::warn("draining: {} requests under way, new ones are refused", front_end_->running());
  service_->Drain();
  shutdown_timer_ = loop_.After(options_.shutdown_timeout, [this] { Abort(); });
}

void Server::Abort() {
  if (service_ == nullptr || aborted_) return;
  aborted_ = front_end_->running() > 0;
  if (aborted_) spdlog::warn("cutting off {} requests", front_end_->running());
  front_end_->EngineEnded("the server was stopped");
  service_->Stop();
}

// The loop's sign of life, and news for who reads it.
void Server::Beat() {
  options_.pulse->events.progress.GetOn();
  if (metrics_ != nullptr) {
    const EngineSnapshot snapshot = service_->Snapshot();
    culprits_ = snapshot.culprits;
    steps_ = snapshot.stats.steps;
  }
  pulse_timer_ = loop_.After(kPulse, [this] { Beat(); });
}

// After the engine's last step: lets clients read their answers, then ends the loop.
void Server::Close(const absl::Status& status) {
  if (options_.pulse != nullptr) options_.pulse->engine.progress.Begin({.phase = "last answers"});
  RunOnLoop([&] {
    statistics_timer_.reset();
    shutdown_timer_.reset();
    if (status.ok()) {
      front_end_->Drain();
    } else {
      front_end_->EngineEnded("the engine has failed");
    }
    if (moe_ != nullptr) moe_->Close();
    http_->Drain();
  });
  const auto deadline = std::chrono::steady_clock::now() + kLastAnswers;
  size_t open = 1;
  while (open > 0 && std::chrono::steady_clock::now() < deadline) {
    RunOnLoop([&] { open = http_->connections(); });
    if (open > 0) std::this_thread::sleep_for(10ms);
  }
  if (options_.pulse != nullptr) options_.pulse->events.progress.Begin({.phase = "shutdown"});
  loop_.Stop();
  thread_.join();
}

// One line while there is traffic, in vLLM's words.
void Server::PrintStatistics() {
  statistics_timer_ = loop_.After(kStatisticsInterval, [this] { PrintStatistics(); });
  const TrafficCounts now = front_end_->traffic();
  const EngineSnapshot snapshot = service_->Snapshot();
  const TrafficCounts before = std::exchange(last_traffic_, now);
  const bool quiet = now.output_tokens == before.output_tokens &&
                     now.prompt_tokens == before.prompt_tokens && snapshot.running == 0 &&
                     snapshot.waiting == 0;
  if (quiet) return;
  const double seconds = std::chrono::duration<double>(kStatisticsInterval).count();
  const auto share = [](int64_t part, int64_t whole) {
    return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  spdlog::info(
      "Engine 000: Avg prompt throughput: {:.1f} tokens/s, Avg generation throughput: {:.1f} "
      "tokens/s, Running: {} reqs, Waiting: {} reqs, KV cache usage: {:.1f}%, Prefix cache hit "
      "rate: {:.1f}%",
      static_cast<double>(now.prompt_tokens - before.prompt_tokens) / seconds,
      static_cast<double>(now.output_tokens - before.output_tokens) / seconds, snapshot.running,
      snapshot.waiting, share(snapshot.used_blocks, snapshot.total_blocks),
      share(snapshot.prefix_hit_tokens, snapshot.prefix_query_tokens));
}

}  // namespace folkmoot
