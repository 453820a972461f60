// SPDX-License-Identifier: Apache-2.0
// Main functions: Read and Write, the two coroutines; Consume, which turns what came in into
// requests one at a time; OnFlushed, which decides what follows an answer.
//
// Everything runs on the loop's thread. A handler is called from Consume, and whatever it does at
// once only fills out_: the socket is touched later, by Write.
#include "launch/http/connection.h"

#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <typeinfo>

#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kMaxPipelinedBytes = 64 << 10;  // kept while an answer is under way
constexpr size_t kKeptBytes = 16 << 10;          // of a buffer that has become empty
constexpr size_t kBodyProgress = 1024;           // bytes that earn another body_timeout
constexpr std::chrono::milliseconds kLinger{3000};
constexpr int kSendBuffer = 256 << 10;  // in the kernel, beyond unsent_bytes

// Lets go of the memory of a large message.
void Clear(std::string* text) {
  if (text->capacity() > kKeptBytes) {
    std::string().swap(*text);
  } else {
    text->clear();
  }
}

void SetUp(tcp::socket& socket, std::chrono::milliseconds write_timeout) {
  error_code ignored;  // a socket whose options fail will fail when it is read
  socket.non_blocking(true, ignored);
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  socket.set_option(asio::socket_base::send_buffer_size(kSendBuffer), ignored);
  // What the client's kernel does not acknowledge for this long means that it is gone. Without it a
  // client that lost its power is written to for a quarter of an hour.
  const auto timeout_ms = static_cast<unsigned>(write_timeout.count());
  (void)setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
                   sizeof(timeout_ms));
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerState> server, tcp::socket socket)
    : server_(std::move(server)),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      parser_(server_->options.limits) {
  server_->open.insert(this);
}

Connection::~Connection() {
  CountBody(0);
  server_->open.erase(this);
}

void Connection::CountBody(size_t bytes) {
  server_->bodies_bytes += bytes - body_bytes_;
  body_bytes_ = bytes;
}

void Connection::Start(bool refuse) {
  SetUp(socket_, server_->options.limits.write_timeout);
  error_code error;
  const tcp::endpoint peer = socket_.remote_endpoint(error);
  if (!error) client_ = peer.address().to_string();
  if (refuse) {
    HttpResponse response = ErrorResponse(503, "the server has too many connections");
    response.headers.emplace_back("Retry-After", "1");
    Answer(std::move(response), true);
  }
  SetDeadlineIn(server_->options.limits.header_timeout);
  head_timed_ = true;
  StartReading();
}

void Connection::Cut() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  error_code ignored;
  timer_.cancel(ignored);
  socket_.close(ignored);
  std::string().swap(input_);
  std::string().swap(out_);
  std::string().swap(sending_);
  sent_ = 0;
  parser_ = RequestParser(server_->options.limits);
  CountBody(0);
  if (const auto exchange = exchange_.lock(); exchange && !answer_complete_) exchange->Gone();
}

void Connection::CutLater() {
  asio::post(socket_.get_executor(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Cut();
  });
}

// A request that is here and was not read yet is answered, if only with a refusal: a reset would
// leave its client in doubt.
void Connection::Drain() {
  error_code ignored;
  const bool idle = phase_ == Phase::kReceiving && !parser_.started() && input_.empty();
  if (idle && socket_.available(ignored) == 0) Cut();
}

// ---- Reading

bool Connection::wants_bytes() const {
  return phase_ != Phase::kClosed && !peer_closed_ &&
         !(phase_ == Phase::kAnswering && input_.size() > kMaxPipelinedBytes);
}

void Connection::StartReading() {
  if (reading_ || !wants_bytes()) return;
  reading_ = true;
  asio::co_spawn(socket_.get_executor(), Read(shared_from_this()), asio::detached);
}

// Also reads while an answer is under way: that is how a client's leaving is noticed.
asio::awaitable<void> Connection::Read(std::shared_ptr<Connection> self) {
  while (self->wants_bytes()) {
    error_code error;
    co_await self->socket_.async_wait(tcp::socket::wait_read,
                                      asio::redirect_error(asio::use_awaitable, error));
    if (self->phase_ == Phase::kClosed) co_return;
    std::string& buffer = self->server_->scratch;
    const size_t bytes = error ? 0 : self->socket_.read_some(asio::buffer(buffer), error);
    if (bytes > 0 && FaultAt(FaultPoint::kHttpRead)) error = asio::error::connection_reset;
    if (error == asio::error::would_block || error == asio::error::interrupted) continue;
    if (error == asio::error::eof) {
      self->peer_closed_ = true;
      self->OnEnd();
    } else if (error) {
      self->Cut();
    } else {
      self->OnBytes(std::string_view(buffer).substr(0, bytes));
    }
  }
  self->reading_ = false;
}

void Connection::OnBytes(std::string_view bytes) {
  if (phase_ == Phase::kLingering) return;
  input_.append(bytes);
  Consume();
}

void Connection::OnEnd() {
  // What is complete is answered; the rest of a request will not come.
  if (phase_ != Phase::kAnswering || !answer_complete_) Cut();
}

void Connection::Consume() {
  while (phase_ == Phase::kReceiving) {
    if (parser_.state() == RequestParser::State::kHead && input_.empty()) break;
    input_.erase(0, parser_.Feed(input_));
    switch (parser_.state()) {
      case RequestParser::State::kHeadDone:
        OnHead();
        continue;
      case RequestParser::State::kDone:
        OnRequest();
        continue;
      case RequestParser::State::kRefused:
        return Answer(parser_.refusal(), true);
      case RequestParser::State::kBody:
        return OnBodyBytes();
      case RequestParser::State::kHead:
        // All of input_ was taken: the head goes on in what has yet to come.
        if (!head_timed_) SetDeadlineIn(server_->options.limits.header_timeout);
        head_timed_ = true;
        break;
    }
    break;
  }
  if (input_.empty()) Clear(&input_);
}

// ---- Requests

// Before a byte of the body is taken: does the client have the key, and is there such a route?
void Connection::OnHead() {
  const HttpRequest& request = parser_.request();
  const bool preflight = request.method == "OPTIONS" && !request.Header("origin").empty() &&
                         !request.Header("access-control-request-method").empty() &&
                         !server_->options.cors_origins.empty();
  if (preflight) return Preflight();
  match_ = server_->router.Find(request.method, request.path);
  const bool open = match_.route != nullptr && match_.route->open;
  if (!open && !server_->keys.Allows(request.Header("authorization"))) {
    return Answer(ErrorResponse(401, "Incorrect or missing API key: send 'Authorization: Bearer'.",
                                "", "invalid_api_key"),
                  parser_.has_body());
  }
  if (match_.route == nullptr) {
    const bool known = !match_.allow.empty();
    HttpResponse response =
        known ? ErrorResponse(405, "This path has no such method; it has " + match_.allow + ".")
              : ErrorResponse(404, "There is no such path.");
    if (known) response.headers.emplace_back("Allow", match_.allow);
    return Answer(std::move(response), parser_.has_body());
  }
  const bool waits = parser_.expects_continue() && input_.empty();
  parser_.AcceptBody();
  body_mark_ = 0;
  SetDeadlineIn(server_->options.limits.body_timeout);
  if (waits) Send("HTTP/1.1 100 Continue\r\n\r\n");
}

void Connection::OnBodyBytes() {
  const size_t size = parser_.request().body.size();
  CountBody(size);
  if (server_->bodies_bytes > server_->options.limits.bodies_bytes) {
    HttpResponse response = ErrorResponse(503, "the server has too many large requests under way");
    response.headers.emplace_back("Retry-After", "1");
    return Answer(std::move(response), true);
  }
  if (size >= body_mark_ + kBodyProgress) {
    body_mark_ = size;
    SetDeadlineIn(server_->options.limits.body_timeout);
  }
}

void Connection::Preflight() {
  const HttpRequest& request = parser_.request();
  const std::string_view wanted = request.Header("access-control-request-headers");
  HttpResponse response;
  response.status = 204;
  response.content_type.clear();
  if (server_->AllowsOrigin(request.Header("origin"))) {
    response.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE");
    response.headers.emplace_back("Access-Control-Allow-Headers",
                                  wanted.empty() ? std::string_view("*") : wanted);
    response.headers.emplace_back("Access-Control-Max-Age", "600");
  }
  Answer(std::move(response), parser_.has_body());
}

void Connection::OnRequest() {
  const bool http_1_0 = parser_.http_1_0();
  close_after_ = !parser_.keep_alive();
  HttpRequest request = parser_.TakeRequest();
  CountBody(request.body.size());
  body_bytes_ = 0;  // from here on the exchange's, which gives them back
  const std::string_view id = request.Header("x-request-id");
  request.id = IsSaneRequestId(id) ? std::string(id) : server_->NewRequestId();
  request.client = client_;
  phase_ = Phase::kAnswering;
  answer_complete_ = false;
  SetDeadline(Clock::time_point::max());
  const auto exchange = std::make_shared<ConnectionExchange>(
      server_, weak_from_this(), socket_.get_executor(), std::move(request), http_1_0);
  exchange_ = exchange;
  try {
    match_.route->handler(exchange);
  } catch (const std::exception& error) {
    // Ours throw nothing; a library below may. The exchange, let go, answers with 500. what() is
    // not logged: it may quote the request.
    spdlog::error("the handler of {} failed with {}", match_.route->path, typeid(error).name());
  }
}

void Connection::Answer(HttpResponse response, bool close) {
  const HttpRequest& request = parser_.request();
  const std::string_view id = request.Header("x-request-id");
  phase_ = Phase::kAnswering;
  answer_complete_ = false;
  exchange_.reset();
  close_after_ =
      close || (parser_.state() == RequestParser::State::kHeadDone && !parser_.keep_alive());
  HttpHeaders headers = server_->CommonHeaders(
      IsSaneRequestId(id) ? std::string(id) : server_->NewRequestId(), request.Header("origin"));
  headers.insert(headers.end(), response.headers.begin(), response.headers.end());
  ResponseHead head{.status = response.status, .content_type = response.content_type};
  if (response.status != 204) head.length = response.body.size();
  const bool head_only = request.method == "HEAD";
  SendHead(head, headers);
  if (!head_only) Send(response.body);
  parser_ = RequestParser(server_->options.limits);
  CountBody(0);
  AnswerComplete();
}

// ---- Writing

void Connection::SendHead(const ResponseHead& head, const HttpHeaders& headers) {
  ResponseHead complete = head;
  complete.close = closes_after_answer();
  Send(HeadText(complete, headers));
}

void Connection::Send(std::string_view bytes) {
  if (phase_ == Phase::kClosed) return;
  out_.append(bytes);
  StartWriting();
}

void Connection::AnswerComplete() {
  answer_complete_ = true;
  StartWriting();
}

void Connection::StartWriting() {
  if (writing_ || phase_ == Phase::kClosed) return;
  writing_ = true;
  asio::co_spawn(socket_.get_executor(), Write(shared_from_this()), asio::detached);
}

// What is queued while the socket is full goes out in one piece when it is not.
asio::awaitable<void> Connection::Write(std::shared_ptr<Connection> self) {
  const auto timeout = self->server_->options.limits.write_timeout;
  if (self->phase_ == Phase::kAnswering) self->SetDeadlineIn(timeout);
  while (self->unsent() > 0) {
    if (self->sent_ == self->sending_.size()) {
      Clear(&self->sending_);
      self->sending_.swap(self->out_);
      self->sent_ = 0;
    }
    error_code error;
    const auto rest = asio::buffer(self->sending_) + self->sent_;
    if (FaultAt(FaultPoint::kHttpWrite)) {
      error = asio::error::connection_reset;
    } else {
      self->sent_ += self->socket_.write_some(rest, error);
    }
    if (error == asio::error::would_block) {
      co_await self->socket_.async_wait(tcp::socket::wait_write,
                                        asio::redirect_error(asio::use_awaitable, error));
      if (self->phase_ == Phase::kClosed) co_return;
    } else if (!error && self->phase_ == Phase::kAnswering) {
      self->SetDeadlineIn(timeout);
    }
    if (error) {
      self->Cut();
      co_return;
    }
  }
  Clear(&self->sending_);
  self->sent_ = 0;
  self->writing_ = false;
  self->OnFlushed();
}

void Connection::OnFlushed() {
  if (phase_ != Phase::kAnswering) return;
  SetDeadline(Clock::time_point::max());
  if (!answer_complete_) return;
  if (closes_after_answer()) return Linger();
  NextRequest();
}

void Connection::NextRequest() {
  phase_ = Phase::kReceiving;
  SetDeadlineIn(server_->options.limits.idle_timeout);
  head_timed_ = false;
  Consume();
  if (phase_ == Phase::kReceiving && peer_closed_) return Cut();
  StartReading();
}

// Closing a socket with unread bytes resets the connection, and the client may lose our answer. So
// we say that nothing more comes and read until the client has closed, for a while.
void Connection::Linger() {
  if (peer_closed_) return Cut();
  phase_ = Phase::kLingering;
  std::string().swap(input_);
  error_code error;
  socket_.shutdown(tcp::socket::shutdown_send, error);
  if (error) return Cut();
  SetDeadlineIn(kLinger);
  StartReading();
}

// ---- Time

// The timer is set anew only for an earlier deadline; a later one is found out when it fires.
void Connection::SetDeadline(Clock::time_point deadline) {
  deadline_ = deadline;
  if (deadline >= armed_for_) return;
  armed_for_ = deadline;
  timer_.expires_at(deadline);
  timer_.async_wait([weak = weak_from_this()](const error_code& error) {
    if (error) return;
    if (const auto self = weak.lock()) self->OnTimer();
  });
}

void Connection::OnTimer() {
  if (phase_ == Phase::kClosed) return;
  armed_for_ = Clock::time_point::max();
  if (Clock::now() < deadline_) return SetDeadline(deadline_);
  OnDeadline();
}

void Connection::OnDeadline() {
  deadline_ = Clock::time_point::max();
  if (phase_ == Phase::kReceiving && parser_.started()) {
    Answer(ErrorResponse(408, "the request did not arrive in time"), true);
  } else {
    Cut();  // idle, or reads too slowly, or does not close
  }
}

}  // namespace folkmoot
