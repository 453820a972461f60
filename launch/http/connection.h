// SPDX-License-Identifier: Apache-2.0
// One client's connection: a coroutine that reads, one that writes while there is something to
// write, and one timer. For http_server.cc; Boost is on show here.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "launch/http/api_keys.h"
#include "launch/http/coroutines.h"
#include "launch/http/http_server.h"
#include "launch/http/request_parser.h"
#include "launch/http/response_text.h"
#include "launch/http/router.h"

namespace folkmoot {

class Connection;
class ConnectionExchange;

// What the connections of a server share. Keeps no key, only digests of them.
struct ServerState {
  ServerState(HttpServerOptions options_in, std::vector<Route> routes);

  // Server, Date, X-Request-Id and, for an allowed Origin, CORS.
  HttpHeaders CommonHeaders(std::string_view request_id, std::string_view origin) const;
  bool AllowsOrigin(std::string_view origin) const;
  std::string NewRequestId();

  HttpServerOptions options;
  Router router;
  ApiKeys keys;
  std::set<Connection*> open;
  size_t bodies_bytes = 0;  // of requests under way
  bool draining = false;
  std::string scratch;  // to read into; good until the next suspension
  uint64_t id_seed;
  uint64_t ids = 0;
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerState> server, boost::asio::ip::tcp::socket socket);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Reads and answers; `refuse`: answers 503 and closes.
  void Start(bool refuse);
  // Closes now. The handler of an open request hears of it.
  void Cut();
  // Closes when nothing is under way, else after the next answer.
  void Drain();

  // For the exchange under way.
  void SendHead(const ResponseHead& head, const HttpHeaders& headers);
  void Send(std::string_view bytes);
  void AnswerComplete();
  void CutLater();
  size_t unsent() const { return out_.size() + sending_.size() - sent_; }
  bool closes_after_answer() const { return close_after_ || server_->draining; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Phase { kReceiving, kAnswering, kLingering, kClosed };

  // Coroutines; `self` keeps the connection alive.
  boost::asio::awaitable<void> Read(std::shared_ptr<Connection> self);
  boost::asio::awaitable<void> Write(std::shared_ptr<Connection> self);
  void StartReading();
  void StartWriting();
  bool wants_bytes() const;

  void OnBytes(std::string_view bytes);
  void OnEnd();
  void OnFlushed();
  void OnTimer();
  void OnDeadline();

  void Consume();
  void OnHead();
  void OnBodyBytes();
  void CountBody(size_t bytes);
  void OnRequest();
  void Preflight();
  void NextRequest();
  // Answers without a handler. `close`: what follows on the connection cannot be understood.
  void Answer(HttpResponse response, bool close);
  void Linger();
  void SetDeadline(Clock::time_point deadline);
  void SetDeadlineIn(std::chrono::milliseconds time) { SetDeadline(Clock::now() + time); }

  std::shared_ptr<ServerState> server_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  std::string client_;

  Phase phase_ = Phase::kReceiving;
  RequestParser parser_;
  std::string input_;        // received, not yet parsed
  size_t body_bytes_ = 0;    // of the body under way, counted in bodies_bytes
  size_t body_mark_ = 0;     // where body_timeout began anew
  bool head_timed_ = false;  // header_timeout runs
  bool reading_ = false;
  bool peer_closed_ = false;

  Router::Match match_;
  std::weak_ptr<ConnectionExchange> exchange_;
  bool answer_complete_ = false;
  bool close_after_ = false;

  std::string out_;      // not yet given to the socket
  std::string sending_;  // being given to it, up to sent_
  size_t sent_ = 0;
  bool writing_ = false;

  Clock::time_point deadline_ = Clock::time_point::max();
  Clock::time_point armed_for_ = Clock::time_point::max();
};

// A handler's view of the connection. Outlives it where the handler keeps it.
class ConnectionExchange final : public HttpExchange {
 public:
  // `body_bytes` of the request are counted in the server's bodies_bytes.
  ConnectionExchange(std::shared_ptr<ServerState> server, std::weak_ptr<Connection> connection,
                     boost::asio::any_io_executor executor, HttpRequest request, bool http_1_0);
  ~ConnectionExchange() override;
  ConnectionExchange(const ConnectionExchange&) = delete;
  ConnectionExchange& operator=(const ConnectionExchange&) = delete;

  const HttpRequest& request() const override { return request_; }
  void Respond(HttpResponse response) override;
  void BeginStream(std::string_view content_type) override;
  void Write(std::string data) override;
  void EndStream() override;
  size_t unsent() const override;
  void OnGone(std::function<void()> callback) override;

  // The connection closed before the answer was complete.
  void Gone();

 private:
  enum class State { kWaiting, kStreaming, kComplete, kGone };

  void Complete(Connection& connection);
  bool head_only() const { return request_.method == "HEAD"; }

  std::shared_ptr<ServerState> server_;
  std::weak_ptr<Connection> connection_;
  boost::asio::any_io_executor executor_;
  HttpRequest request_;
  bool http_1_0_;
  State state_ = State::kWaiting;
  std::function<void()> on_gone_;
};

}  // namespace folkmoot
