// SPDX-License-Identifier: Apache-2.0
#include "launch/http/http_server.h"

#include <malloc.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <ctime>
#include <random>

#include "launch/http/connection.h"
#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kScratchBytes = 64 << 10;
// Connections beyond the limit that are told so; further ones are closed without a word.
constexpr size_t kRefusable = 64;
constexpr std::chrono::milliseconds kAcceptPause{100};  // when there are no file descriptors left

// A bijection of 64 bits (the finalizer of SplitMix64): counters look random and never repeat.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace

// ---- ServerState

ServerState::ServerState(HttpServerOptions options_in, std::vector<Route> routes)
    : options(std::move(options_in)),
      router(std::move(routes)),
      keys(options.api_keys),
      scratch(kScratchBytes, '\0') {
  // Only digests stay.
  for (std::string& key : options.api_keys) std::fill(key.begin(), key.end(), '\0');
  options.api_keys.clear();
  std::random_device random;
  id_seed = uint64_t{random()} << 32 | random();
}

std::string ServerState::NewRequestId() {
  ++ids;
  return fmt::format("{:016x}{:016x}", Mix(id_seed + ids), Mix(~id_seed + ids));
}

bool ServerState::AllowsOrigin(std::string_view origin) const {
  return std::any_of(
      options.cors_origins.begin(), options.cors_origins.end(),
      [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

HttpHeaders ServerState::CommonHeaders(std::string_view request_id, std::string_view origin) const {
  HttpHeaders headers = {{"Server", options.server_header},
                         {"Date", HttpDate(std::time(nullptr))},
                         {"X-Request-Id", std::string(request_id)}};
  if (options.cors_origins.empty()) return headers;
  headers.emplace_back("Vary", "Origin");
  if (!origin.empty() && AllowsOrigin(origin)) {
    headers.emplace_back("Access-Control-Allow-Origin", origin);
    headers.emplace_back("Access-Control-Expose-Headers",
                         "X-Request-Id, Retry-After, x-should-retry");
  }
  return headers;
}

// ---- HttpServer

struct HttpServer::Parts {
  Parts(asio::io_context& context, std::shared_ptr<ServerState> state_in)
      : acceptor(context), pause(context), state(std::move(state_in)) {}

  absl::Status Listen();
  static asio::awaitable<void> Accept(std::shared_ptr<Parts> parts);
  void Welcome(tcp::socket socket);
  void WelcomeQueued();
  // The connections as they are now: what is done to one may end it.
  std::vector<std::shared_ptr<Connection>> Connections() const;

  tcp::acceptor acceptor;
  asio::steady_timer pause;
  std::shared_ptr<ServerState> state;
  uint16_t port = 0;
};

absl::Status HttpServer::Parts::Listen() {
  const HttpServerOptions& options = state->options;
  const std::string port_text = fmt::to_string(options.port);
  const std::string where = options.host + ":" + port_text;
  error_code error;
  tcp::resolver resolver(acceptor.get_executor());
  const auto endpoints = resolver.resolve(options.host, port_text, tcp::resolver::passive, error);
  if (error) return Unavailable("cannot listen on {}: {}", where, error.message());
  // A name may stand for several addresses: the first that can be bound.
  for (const auto& entry : endpoints) {
    const tcp::endpoint endpoint = entry.endpoint();
    error_code ignored;
    acceptor.close(ignored);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (!error) port = acceptor.local_endpoint(error).port();
    if (!error) return absl::OkStatus();
  }
  return Unavailable("cannot listen on {}: {}; choose another --host or --port", where,
                     error.message());
}

asio::awaitable<void> HttpServer::Parts::Accept(std::shared_ptr<Parts> parts) {
  while (parts->acceptor.is_open()) {
    error_code error;
    tcp::socket socket =
        co_await parts->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (!error && FaultAt(FaultPoint::kHttpAccept)) error = asio::error::connection_aborted;
    if (!error) {
      parts->Welcome(std::move(socket));
    } else if (parts->acceptor.is_open()) {
      parts->pause.expires_after(kAcceptPause);
      co_await parts->pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }
}

void HttpServer::Parts::Welcome(tcp::socket socket) {
  const size_t limit = state->options.limits.connections;
  if (state->open.size() >= limit + kRefusable) return;
  const bool refuse = state->open.size() >= limit;
  std::make_shared<Connection>(state, std::move(socket))->Start(refuse);
}

// Who has connected already, before nobody is accepted any more.
void HttpServer::Parts::WelcomeQueued() {
  error_code error;
  acceptor.non_blocking(true, error);
  for (int i = 0; !error && i < asio::socket_base::max_listen_connections; ++i) {
    tcp::socket socket = acceptor.accept(error);
    if (!error) Welcome(std::move(socket));
  }
}

std::vector<std::shared_ptr<Connection>> HttpServer::Parts::Connections() const {
  std::vector<std::shared_ptr<Connection>> connections;
  for (Connection* connection : state->open) {
    if (auto alive = connection->weak_from_this().lock()) connections.push_back(std::move(alive));
  }
  return connections;
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(IoLoop& loop,
                                                              HttpServerOptions options,
                                                              std::vector<Route> routes) {
  // A fixed threshold: else malloc learns from the first large body to keep the next ones' memory.
  (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
  auto state = std::make_shared<ServerState>(std::move(options), std::move(routes));
  auto parts = std::make_shared<Parts>(loop.context(), std::move(state));
  FM_RETURN_IF_ERROR(parts->Listen());
  asio::co_spawn(loop.context(), Parts::Accept(parts), asio::detached);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(parts)));
}

HttpServer::HttpServer(std::shared_ptr<Parts> parts) : parts_(std::move(parts)) {}

HttpServer::~HttpServer() {
  Drain();
  for (const auto& connection : parts_->Connections()) connection->Cut();
}

uint16_t HttpServer::port() const { return parts_->port; }
const std::vector<Route>& HttpServer::routes() const { return parts_->state->router.routes(); }
size_t HttpServer::connections() const { return parts_->state->open.size(); }

void HttpServer::Drain() {
  parts_->state->draining = true;
  parts_->WelcomeQueued();
  error_code ignored;
  parts_->acceptor.close(ignored);
  parts_->pause.cancel(ignored);
  for (const auto& connection : parts_->Connections()) connection->Drain();
}

}  // namespace folkmoot
