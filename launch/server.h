// SPDX-License-Identifier: Apache-2.0
// The serving process on rank 0: a thread for clients (IoLoop, HTTP, API) beside the engine's own.
// It answers probes before the model is loaded and until the last client has its answer.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "launch/api/front_end.h"
#include "launch/engine_service.h"
#include "launch/http/http_server.h"
#include "launch/http/io_loop.h"
#include "launch/metrics/metrics.h"
#include "launch/metrics/moe_status.h"
#include "launch/thread_pulse.h"

namespace folkmoot {

// How the two threads of a server get on, for a third one to read.
struct ServerPulse {
  ThreadPulse events;  // of clients
  ThreadPulse engine;  // that calls Run
};

struct ServerOptions {
  HttpServerOptions http;
  FrontEndOptions front_end;  // `after` and `queue_places` are set by the server
  EngineServiceOptions queue;
  std::chrono::seconds shutdown_timeout{300};  // for requests under way, after the first signal
  ServerPulse* pulse = nullptr;                // must outlive the server; null: nobody looks
};

// What is known once the model is loaded.
struct LoadedModel {
  std::unique_ptr<ServedModel> model;
  EngineFacts facts;
  MetricsOptions metrics;
};

// Signals: the first SIGTERM or SIGINT refuses new requests and lets those under way finish; the
// second, or the end of shutdown_timeout, ends them with an error; the third ends the job at once.
class Server {
 public:
  // Listens from here on: /health is 200, everything else 503. Errors name the address.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options);
  // Closes what is open and joins the thread.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const { return http_->port(); }
  std::string url() const;

  // News of an engine in other processes, from any thread: FrontEnd::SetTrouble, and how often it
  // came back.
  void OnEngineNews(std::string trouble, bool stalled, EngineLivesCount lives);
  // It will not come back: what is under way and to come fails with 503, and the process lives on.
  void OnEngineFailed(std::string reason);
  // Scheduler::culprits. From any thread.
  int64_t culprits() const { return culprits_; }
  int64_t steps() const { return steps_; }  // of the engine, with tokens
  // A signal asked to stop. From any thread.
  bool stopping() const { return signals_ > 0; }

  // Serves until a signal or an error of the engine, on the engine's thread; once per server.
  // `on_ready` runs before the first request is taken. An error also when requests were cut off.
  // `journal` may be null.
  absl::Status Run(Engine& engine, std::chrono::milliseconds heartbeat, LoadedModel loaded,
                   RequestJournal* journal, const std::function<void()>& on_ready);

 private:
  class Port;

  explicit Server(ServerOptions options);
  std::vector<Route> Routes();
  Route Late(std::string path, std::function<Handler*()> find);

  // On the loop's thread.
  void OnSignal();
  void Abort();
  void OnEvents(std::vector<OutputEvent> events);
  void LookAtExperts();
  void PrintStatistics();
  void Beat();
  void RunOnLoop(const std::function<void()>& task);  // from another thread; returns when done
  void Close(const absl::Status& status);

  ServerOptions options_;
  IoLoop loop_;
  std::unique_ptr<FrontEnd> front_end_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<MoeStatus> moe_;
  std::vector<Route> moe_routes_;
  Handler metrics_handler_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<EngineService> service_;
  std::unique_ptr<EnginePort> port_;
  std::shared_ptr<IoLoop::Timer> statistics_timer_, shutdown_timer_, pulse_timer_;
  TrafficCounts last_traffic_;
  SteadyTime experts_seen_;
  std::atomic<int> signals_{0};
  std::atomic<int64_t> culprits_{0}, steps_{0};
  EngineLivesCount engine_lives_;
  bool aborted_ = false;
  std::thread thread_;
};

}  // namespace folkmoot
