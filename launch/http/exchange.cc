// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/post.hpp>

#include "launch/http/connection.h"

namespace folkmoot {

ConnectionExchange::ConnectionExchange(std::shared_ptr<ServerState> server,
                                       std::weak_ptr<Connection> connection,
                                       boost::asio::any_io_executor executor, HttpRequest request,
                                       bool http_1_0)
    : server_(std::move(server)),
      connection_(std::move(connection)),
      executor_(std::move(executor)),
      request_(std::move(request)),
      http_1_0_(http_1_0) {}

ConnectionExchange::~ConnectionExchange() {
  server_->bodies_bytes -= request_.body.size();
  on_gone_ = nullptr;
  if (state_ == State::kWaiting) {
    Respond(ErrorResponse(500, "the request was given up without an answer"));
  } else if (state_ == State::kStreaming) {
    // Without its last chunk the client sees that the answer is not whole.
    if (const auto connection = connection_.lock()) connection->CutLater();
  }
}

void ConnectionExchange::Respond(HttpResponse response) {
  const auto connection = connection_.lock();
  if (state_ != State::kWaiting || connection == nullptr) return;
  HttpHeaders headers = server_->CommonHeaders(request_.id, request_.Header("origin"));
  headers.insert(headers.end(), response.headers.begin(), response.headers.end());
  ResponseHead head{.status = response.status, .content_type = response.content_type};
  const bool no_body = response.status == 204 || response.status == 304;
  if (!no_body) head.length = response.body.size();
  connection->SendHead(head, headers);
  if (!no_body && !head_only()) connection->Send(response.body);
  Complete(*connection);
}

void ConnectionExchange::BeginStream(std::string_view content_type) {
  const auto connection = connection_.lock();
  if (state_ != State::kWaiting || connection == nullptr) return;
  HttpHeaders headers = server_->CommonHeaders(request_.id, request_.Header("origin"));
  headers.emplace_back("Cache-Control", "no-cache");
  headers.emplace_back("X-Accel-Buffering", "no");  // proxies of the nginx family
  connection->SendHead({.content_type = content_type, .chunked = !http_1_0_}, headers);
  state_ = State::kStreaming;
  if (head_only()) {
    // There is nobody to stream to: the handler hears that at once.
    connection->AnswerComplete();
    Gone();
  }
}

void ConnectionExchange::Write(std::string data) {
  const auto connection = connection_.lock();
  if (state_ != State::kStreaming || connection == nullptr) return;
  if (http_1_0_) {
    connection->Send(data);
  } else {
    std::string chunk;
    AppendChunk(data, &chunk);
    connection->Send(chunk);
  }
  if (connection->unsent() > server_->options.limits.unsent_bytes) connection->CutLater();
}

void ConnectionExchange::EndStream() {
  const auto connection = connection_.lock();
  if (state_ != State::kStreaming || connection == nullptr) return;
  if (!http_1_0_) connection->Send(kLastChunk);
  Complete(*connection);
}

void ConnectionExchange::Complete(Connection& connection) {
  state_ = State::kComplete;
  on_gone_ = nullptr;
  connection.AnswerComplete();
}

size_t ConnectionExchange::unsent() const {
  const auto connection = connection_.lock();
  return state_ == State::kStreaming && connection != nullptr ? connection->unsent() : 0;
}

void ConnectionExchange::OnGone(std::function<void()> callback) {
  on_gone_ = std::move(callback);
  if (state_ == State::kGone) Gone();
  if (state_ == State::kComplete) on_gone_ = nullptr;
}

void ConnectionExchange::Gone() {
  state_ = State::kGone;
  if (on_gone_) boost::asio::post(executor_, std::exchange(on_gone_, nullptr));
}

}  // namespace folkmoot
