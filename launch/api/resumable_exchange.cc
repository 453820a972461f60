// SPDX-License-Identifier: Apache-2.0
#include "launch/api/resumable_exchange.h"

#include <fmt/format.h>

#include <utility>

namespace folkmoot {

void ResumableExchange::Respond(HttpResponse response) {
  if (complete()) return;
  bytes_ += response.body.size();
  if (client_ != nullptr) client_->Respond(response);
  client_.reset();
  response_ = std::move(response);
}

void ResumableExchange::BeginStream(std::string_view content_type) {
  if (complete() || !content_type_.empty()) return;
  content_type_ = content_type;
  if (client_ != nullptr) client_->BeginStream(content_type);
}

void ResumableExchange::Keep(std::string_view event) {
  events_.push_back(fmt::format("id: {}\n{}", events_.size() + 1, event));
  bytes_ += events_.back().size();
  if (client_ != nullptr) client_->Write(events_.back());
}

void ResumableExchange::Write(std::string data) {
  if (content_type_.empty() || complete()) return;
  std::string_view rest = data;
  while (!rest.empty()) {
    const size_t blank = rest.find("\n\n");
    const size_t end = blank == std::string_view::npos ? rest.size() : blank + 2;
    const std::string_view event = rest.substr(0, end);
    if (event.front() != ':') {
      Keep(event);
    } else if (client_ != nullptr) {
      client_->Write(std::string(event));
    }
    rest.remove_prefix(end);
  }
}

void ResumableExchange::EndStream() {
  if (complete()) return;
  ended_ = true;
  if (client_ != nullptr) client_->EndStream();
  client_.reset();
}

void ResumableExchange::OnGone(std::function<void()> callback) {
  if (client_ != nullptr) client_->OnGone(std::move(callback));
}

void ResumableExchange::Attach(std::shared_ptr<HttpExchange> client, size_t after) {
  if (client_ != nullptr) client_->OnGone(nullptr);  // nobody ends the answer any more
  client_ = std::move(client);
  if (response_) {
    client_->Respond(*response_);
    client_.reset();
    return;
  }
  if (content_type_.empty()) return;  // the answer will come
  client_->BeginStream(content_type_);
  for (size_t i = after; i < events_.size(); ++i) client_->Write(events_[i]);
  if (!ended_) return;
  client_->EndStream();
  client_.reset();
}

}  // namespace folkmoot
