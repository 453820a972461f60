// SPDX-License-Identifier: Apache-2.0
// The front end without sockets, threads and ranks: exchanges that remember, an engine that does
// what the test says, timers that fire when told.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "launch/api/front_end.h"
#include "nlohmann/json.hpp"

namespace folkmoot {

using Json = nlohmann::ordered_json;

class FakeExchange : public HttpExchange {
 public:
  explicit FakeExchange(HttpRequest request) : request_(std::move(request)) {}

  const HttpRequest& request() const override { return request_; }
  void Respond(HttpResponse answer) override {
    EXPECT_FALSE(answered) << "two answers";
    answered = true;
    response = std::move(answer);
  }
  void BeginStream(std::string_view type) override {
    EXPECT_FALSE(answered || streaming);
    streaming = true;
    content_type = type;
  }
  void Write(std::string data) override {
    EXPECT_TRUE(streaming && !ended);
    stream += data;
  }
  void EndStream() override {
    EXPECT_TRUE(streaming && !ended);
    ended = true;
  }
  size_t unsent() const override { return unread; }
  void OnGone(std::function<void()> callback) override { gone = std::move(callback); }

  Json json() const { return Json::parse(response.body); }
  std::string Header(const std::string& name) const;
  // The payloads of all events.
  std::vector<std::string> events() const;

  HttpResponse response;
  std::string stream, content_type;
  size_t unread = 0;
  bool answered = false, streaming = false, ended = false;
  std::function<void()> gone;

 private:
  HttpRequest request_;
};

class FakeEngine : public EnginePort {
 public:
  absl::Status Submit(int64_t id, Request request) override {
    if (!refusal.ok() && taken.size() >= room) return refusal;
    taken[id] = std::move(request);
    last = id;
    return absl::OkStatus();
  }
  void Cancel(int64_t id) override { cancelled.push_back(id); }
  void CancelChoice(int64_t id, int32_t choice) override {
    cancelled_choices.emplace_back(id, choice);
  }
  EngineSnapshot Snapshot() const override { return snapshot; }

  std::map<int64_t, Request> taken;
  std::vector<int64_t> cancelled;
  std::vector<std::pair<int64_t, int32_t>> cancelled_choices;
  int64_t last = 0;
  absl::Status refusal;  // once `room` requests were taken
  size_t room = 0;
  EngineSnapshot snapshot;
};

class ApiTest : public testing::Test {
 protected:
  ApiTest();
  // The model of the tests: demo-kjv's tokenizer, and whatever a test changes before Attach.
  void DescribeModel();
  void Attach();

  std::shared_ptr<FakeExchange> Send(const std::string& method, const std::string& path,
                                     const std::string& body, HttpHeaders headers = {});
  std::shared_ptr<FakeExchange> Post(const std::string& path, const Json& body,
                                     HttpHeaders headers = {}) {
    return Send("POST", path, body.dump(), std::move(headers));
  }
  // The request that the engine took last.
  const Request& taken() const { return engine.taken.at(engine.last); }

  // One event of the engine.
  OutputEvent Event(int64_t request, int32_t token, FinishReason finish = FinishReason::kNone,
                    int32_t choice = 0) const;
  void Emit(OutputEvent event);
  // Lets the engine sample the tokens of a text for its last request, then end with `finish`.
  void Say(const std::string& text, FinishReason finish, int32_t choice = 0);
  std::vector<int32_t> Ids(const std::string& text) const;

  ServedModelOptions model;
  FrontEndOptions options;
  FakeEngine engine;
  std::unique_ptr<FrontEnd> front_end;
  std::vector<Route> routes;
  std::vector<std::pair<std::chrono::milliseconds, std::weak_ptr<std::function<void()>>>> timers;
  const Tokenizer* tokenizer = nullptr;
};

}  // namespace folkmoot
