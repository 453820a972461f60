// SPDX-License-Identifier: Apache-2.0
// An answer that outlives its connection: it is kept, and clients may come back for the rest.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/http/http.h"

namespace folkmoot {

// Events of a stream get numbers, as `id:` lines: 1, 2, 3 ... Comments get none and are not kept.
class ResumableExchange : public HttpExchange {
 public:
  // `client`: who asked; null: nobody waits at present.
  ResumableExchange(HttpRequest request, std::shared_ptr<HttpExchange> client)
      : request_(std::move(request)), client_(std::move(client)) {}

  const HttpRequest& request() const override { return request_; }
  void Respond(HttpResponse response) override;
  void BeginStream(std::string_view content_type) override;
  void Write(std::string data) override;
  void EndStream() override;
  size_t unsent() const override { return client_ == nullptr ? 0 : client_->unsent(); }
  // Of the first client alone: who comes back later may go again.
  void OnGone(std::function<void()> callback) override;

  // A client comes for what follows event `after`, in place of the one before.
  void Attach(std::shared_ptr<HttpExchange> client, size_t after);
  bool complete() const { return ended_ || response_.has_value(); }
  size_t bytes() const { return bytes_; }

 private:
  void Keep(std::string_view event);

  HttpRequest request_;
  std::shared_ptr<HttpExchange> client_;
  std::optional<HttpResponse> response_;
  std::string content_type_;  // empty: no stream has begun
  std::vector<std::string> events_;
  size_t bytes_ = 0;
  bool ended_ = false;
};

}  // namespace folkmoot
