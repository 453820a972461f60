// SPDX-License-Identifier: Apache-2.0
#include "tests/launch/api/api_fixture.h"

namespace folkmoot {

std::string FakeExchange::Header(const std::string& name) const {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

std::vector<std::string> FakeExchange::events() const {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < stream.size()) {
    const size_t end = stream.find("\n\n", at);
    EXPECT_NE(end, std::string::npos);
    EXPECT_EQ(stream.compare(at, 6, "data: "), 0);
    out.push_back(stream.substr(at + 6, end - at - 6));
    at = end + 2;
  }
  return out;
}

ApiTest::ApiTest() {
  DescribeModel();
  options.version = "1.2.3";
  options.after = [this](std::chrono::milliseconds delay, std::function<void()> task) {
    auto handle = std::make_shared<std::function<void()>>(std::move(task));
    timers.emplace_back(delay, handle);
    return std::shared_ptr<void>(handle);
  };
}

void ApiTest::DescribeModel() {
  model = ServedModelOptions();
  model.names = {"demo", "alias"};
  model.root = "models/demo-kjv";
  model.context = 64;
  model.vocab = 4096;
  model.eos_ids = {0};
  model.created = 1700000000;
  auto loaded =
      Tokenizer::Load(std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv/tokenizer.json");
  if (!loaded.ok()) ADD_FAILURE() << loaded.status();
  model.tokenizer = *std::move(loaded);
  tokenizer = model.tokenizer.get();
}

void ApiTest::Attach() {
  front_end = std::make_unique<FrontEnd>(options);
  routes = front_end->Routes();
  front_end->Attach(std::make_unique<ServedModel>(std::move(model)), {.ranks = 2}, engine, nullptr);
}

std::shared_ptr<FakeExchange> ApiTest::Send(const std::string& method, const std::string& path,
                                            const std::string& body, HttpHeaders headers) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  request.body = body;
  request.id = "abc";
  request.client = "127.0.0.1";
  request.headers = std::move(headers);
  auto exchange = std::make_shared<FakeExchange>(std::move(request));
  for (const Route& route : routes) {
    const bool rest =
        route.path.ends_with("/*") && path.starts_with(route.path.substr(0, route.path.size() - 1));
    if (route.method != method || (route.path != path && !rest)) continue;
    route.handler(exchange);
    return exchange;
  }
  ADD_FAILURE() << "no route " << method << " " << path;
  return exchange;
}

OutputEvent ApiTest::Event(int64_t request, int32_t token, FinishReason finish,
                           int32_t choice) const {
  OutputEvent event;
  event.request = request;
  event.choice = choice;
  event.result.token = token;
  event.result.token_logprob = -0.5f;
  event.finish = finish;
  return event;
}

void ApiTest::Emit(OutputEvent event) {
  std::vector<OutputEvent> events;
  events.push_back(std::move(event));
  front_end->OnEvents(std::move(events));
}

std::vector<int32_t> ApiTest::Ids(const std::string& text) const {
  return *tokenizer->Encode(text, {.add_special_tokens = false});
}

void ApiTest::Say(const std::string& text, FinishReason finish, int32_t choice) {
  const std::vector<int32_t> ids = Ids(text);
  for (size_t i = 0; i < ids.size(); ++i) {
    Emit(Event(engine.last, ids[i], i + 1 == ids.size() ? finish : FinishReason::kNone, choice));
  }
}

}  // namespace folkmoot
