// SPDX-License-Identifier: Apache-2.0
// Main function: Perform, the coroutine of one call.
#include "launch/http/http_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <limits>
#include <set>
#include <vector>

#include "launch/http/coroutines.h"

namespace folkmoot {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kMaxAnswerBytes = size_t{256} << 20;

// Forgives an error code into a variable instead of throwing.
auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

std::string RequestText(const HttpCall& call, const HttpUrl& server) {
  const bool v6 = server.host.find(':') != std::string::npos;
  std::string text = fmt::format("{} {}{} HTTP/1.1\r\nHost: {}{}{}:{}\r\nContent-Length: {}\r\n",
                                 call.method, server.path, call.target, v6 ? "[" : "", server.host,
                                 v6 ? "]" : "", server.port, call.body.size());
  for (const auto& [name, value] : call.headers) text += name + ": " + value + "\r\n";
  return text + "\r\n" + call.body;
}

}  // namespace

// ---- URLs and events

absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view url) {
  const std::string whole(url);
  if (url.starts_with("https://")) {
    return InvalidArgument("'{}': https is not spoken here; use http, through a local proxy",
                           whole);
  }
  if (url.starts_with("http://")) url.remove_prefix(7);
  const size_t slash = std::min(url.find('/'), url.size());
  HttpUrl parsed;
  parsed.path = url.substr(slash);
  while (parsed.path.ends_with('/')) parsed.path.pop_back();
  std::string_view host = url.substr(0, slash);
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos) {
    const std::string_view digits = host.substr(colon + 1);
    uint64_t port = 0;
    for (const char c : digits.substr(0, 6)) {
      port = c >= '0' && c <= '9' ? port * 10 + static_cast<uint64_t>(c - '0') : 100'000;
    }
    if (digits.empty() || port == 0 || port > std::numeric_limits<uint16_t>::max()) {
      return InvalidArgument("'{}': the port is not a number from 1 to 65535", whole);
    }
    parsed.port = static_cast<uint16_t>(port);
    host = host.substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) return InvalidArgument("'{}': no host; expected http://host:port", whole);
  parsed.host = host;
  return parsed;
}

void SseReader::Feed(std::string_view bytes,
                     const std::function<void(std::string_view)>& on_event) {
  for (;;) {
    const size_t end = bytes.find('\n');
    if (end == std::string_view::npos) break;
    line_.append(bytes.substr(0, end));
    bytes.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    Line(line_, on_event);
    line_.clear();
  }
  line_.append(bytes);
}

void SseReader::Line(std::string_view line, const std::function<void(std::string_view)>& on_event) {
  if (line.empty()) {
    if (has_data_) on_event(data_);
    data_.clear();
    has_data_ = false;
  } else if (line.starts_with("data:")) {
    line.remove_prefix(5);
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += line;
    has_data_ = true;
  }
}

// ---- HttpClient

struct HttpClient::Parts : std::enable_shared_from_this<Parts> {
  using SocketPtr = std::shared_ptr<tcp::socket>;
  struct Attempt {
    HttpResult result;
    bool stale = false;  // a kept connection that had been closed meanwhile: try another
  };

  explicit Parts(asio::io_context& context_in) : context(context_in) {}

  asio::awaitable<void> Perform(std::shared_ptr<Parts> self, HttpCall call,
                                std::function<void(HttpResult)> done);
  asio::awaitable<Attempt> Try(const HttpCall& call);
  asio::awaitable<Attempt> Exchange(SocketPtr socket, bool kept, const HttpCall& call);
  std::string where() const { return fmt::format("{}:{}", server.host, server.port); }

  asio::io_context& context;
  HttpUrl server;
  std::vector<tcp::endpoint> endpoints;
  std::vector<SocketPtr> idle;
  std::set<SocketPtr> busy;
  bool closed = false;
};

asio::awaitable<void> HttpClient::Parts::Perform(std::shared_ptr<Parts> self, HttpCall call,
                                                 std::function<void(HttpResult)> done) {
  Attempt attempt = co_await Try(call);
  while (attempt.stale && !self->closed) attempt = co_await Try(call);
  if (!self->closed) done(std::move(attempt.result));
}

asio::awaitable<HttpClient::Parts::Attempt> HttpClient::Parts::Try(const HttpCall& call) {
  const bool kept = !idle.empty();
  SocketPtr socket;
  error_code error;
  if (kept) {
    socket = idle.back();
    idle.pop_back();
    busy.insert(socket);
  } else {
    socket = std::make_shared<tcp::socket>(context);
    busy.insert(socket);
    co_await asio::async_connect(*socket, endpoints, Into(error));
    if (!error) socket->set_option(tcp::no_delay(true), error);
  }
  Attempt attempt;
  if (error) {
    attempt.result.status = Unavailable("cannot connect to {}: {}", where(), error.message());
  } else {
    attempt = co_await Exchange(socket, kept, call);
  }
  busy.erase(socket);
  co_return attempt;
}

asio::awaitable<HttpClient::Parts::Attempt> HttpClient::Parts::Exchange(SocketPtr socket, bool kept,
                                                                        const HttpCall& call) {
  Attempt attempt;
  error_code error;
  const std::string request = RequestText(call, server);
  co_await asio::async_write(*socket, asio::buffer(request), Into(error));
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxAnswerBytes);
  parser.eager(true);
  if (call.method == "HEAD") parser.skip(true);
  if (!error) co_await http::async_read_header(*socket, buffer, parser, Into(error));
  if (error && kept && !parser.got_some()) {
    attempt.stale = true;
    co_return attempt;
  }
  SseReader events;
  const auto take = [&] {
    const auto type = parser.get()[http::field::content_type];
    if (closed || !call.on_event || parser.get().result_int() != 200 ||
        !type.starts_with("text/event-stream")) {
      return;
    }
    events.Feed(parser.get().body(), call.on_event);
    parser.get().body().clear();
  };
  while (!error) {
    take();
    if (parser.is_done()) break;
    co_await http::async_read_some(*socket, buffer, parser, Into(error));
  }
  if (error) {
    attempt.result.status =
        Unavailable("{}: the connection ended within the answer: {}", where(), error.message());
    co_return attempt;
  }
  attempt.result.http_status = static_cast<int>(parser.get().result_int());
  attempt.result.body = std::move(parser.get().body());
  if (parser.keep_alive() && !closed) idle.push_back(std::move(socket));
  co_return attempt;
}

absl::StatusOr<std::unique_ptr<HttpClient>> HttpClient::Create(IoLoop& loop,
                                                               const HttpUrl& server) {
  auto parts = std::make_shared<Parts>(loop.context());
  parts->server = server;
  error_code error;
  tcp::resolver resolver(loop.context());
  for (const auto& entry : resolver.resolve(server.host, fmt::to_string(server.port), error)) {
    parts->endpoints.push_back(entry.endpoint());
  }
  if (error) return Unavailable("{}: {}", server.host, error.message());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(parts)));
}

HttpClient::HttpClient(std::shared_ptr<Parts> parts) : parts_(std::move(parts)) {}

HttpClient::~HttpClient() {
  parts_->closed = true;
  error_code ignored;
  for (const auto& socket : parts_->busy) socket->close(ignored);
  parts_->idle.clear();
}

void HttpClient::Send(HttpCall call, std::function<void(HttpResult)> done) {
  asio::co_spawn(parts_->context, parts_->Perform(parts_, std::move(call), std::move(done)),
                 asio::detached);
}

}  // namespace folkmoot
