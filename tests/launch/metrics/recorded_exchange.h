// SPDX-License-Identifier: Apache-2.0
// An exchange without a network: it keeps what was answered.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "launch/http/http.h"

namespace folkmoot {

class RecordedExchange : public HttpExchange {
 public:
  const HttpRequest& request() const override { return request_; }
  void Respond(HttpResponse answer) override { response = std::move(answer); }
  void BeginStream(std::string_view type) override { stream_type = type; }
  void Write(std::string data) override { written += data; }
  void EndStream() override { ended = true; }
  size_t unsent() const override { return unsent_bytes; }
  void OnGone(std::function<void()> callback) override { gone = std::move(callback); }

  std::optional<HttpResponse> response;
  std::string stream_type;
  std::string written;
  bool ended = false;
  size_t unsent_bytes = 0;
  std::function<void()> gone;

 private:
  HttpRequest request_;
};

}  // namespace folkmoot
