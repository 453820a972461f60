// SPDX-License-Identifier: Apache-2.0
// Main functions: RunBenchLoad and LoadRun, which is one run of it.
#include "launch/commands/bench_serve_load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <random>

#include "launch/http/io_loop.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxErrorBytes = 500;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// The keys and values of a request as vLLM's client sends them.
std::string Body(const BenchLoad& load, const BenchPrompt& prompt, const Json& extra) {
  Json body = {{"model", load.model}};
  if (IsChat(load.endpoint)) {
    Json message = {{"role", "user"}, {"content", prompt.text}};
    body["messages"] = Json::array({std::move(message)});
    body["max_completion_tokens"] = prompt.output_tokens;
  } else {
    if (prompt.tokens.empty()) {
      body["prompt"] = prompt.text;
    } else {
      body["prompt"] = prompt.tokens;
    }
    body["repetition_penalty"] = 1.0;
    body["max_tokens"] = prompt.output_tokens;
  }
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  if (load.ignore_eos) body["ignore_eos"] = true;
  body.update(extra);
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// "429: message", from OpenAI's form where it is that.
std::string ErrorText(const HttpResult& result) {
  if (!result.status.ok()) return std::string(Message(result.status));
  const Json body = Json::parse(result.body, nullptr, false);
  std::string text = result.body;
  if (body.is_object() && body.contains("error") && body["error"].is_object() &&
      body["error"].contains("message") && body["error"]["message"].is_string()) {
    text = body["error"]["message"].get<std::string>();
  }
  return fmt::format("HTTP {}: {}", result.http_status, text.substr(0, kMaxErrorBytes));
}

// One event of the stream.
struct Event {
  bool token = false;  // it has a choice
  std::string text;
  std::string error;
  int64_t input_tokens = -1;  // of its usage
  int64_t output_tokens = -1;
};

int64_t CountAt(const Json& usage, const char* key) {
  return usage.contains(key) && usage[key].is_number_integer() ? usage[key].get<int64_t>() : -1;
}

Event ParseEvent(std::string_view data, bool chat) {
  Event event;
  const Json json = Json::parse(data, nullptr, false);
  if (!json.is_object()) {
    event.error = "an event is not a JSON object";
    return event;
  }
  if (json.contains("error") && !json["error"].is_null()) {
    event.error = json["error"].dump(-1, ' ', false, Json::error_handler_t::replace);
    return event;
  }
  if (json.contains("choices") && json["choices"].is_array() && !json["choices"].empty()) {
    event.token = true;
    const Json& choice = json["choices"][0];
    const Json& holder = chat && choice.contains("delta") ? choice["delta"] : choice;
    const char* key = chat ? "content" : "text";
    if (holder.contains(key) && holder[key].is_string()) event.text = holder[key];
  }
  if (json.contains("usage") && json["usage"].is_object()) {
    event.input_tokens = CountAt(json["usage"], "prompt_tokens");
    event.output_tokens = CountAt(json["usage"], "completion_tokens");
  }
  return event;
}

class LoadRun {
 public:
  LoadRun(const BenchLoad& load, const std::vector<BenchPrompt>& prompts, const Json& extra,
          const std::function<void(int64_t)>& progress)
      : load_(load),
        prompts_(prompts),
        extra_(extra),
        progress_(progress),
        states_(prompts.size()) {
    run_.outcomes.resize(prompts.size());
  }

  absl::StatusOr<BenchRun> Run() {
    FM_ASSIGN_OR_RETURN(client_, HttpClient::Create(loop_, load_.server));
    arrivals_ = ArrivalTimes(prompts_.size(), load_.request_rate, load_.burstiness, load_.seed);
    for (size_t i = 0; i < prompts_.size(); ++i)
      run_.outcomes[i].input_tokens = static_cast<int64_t>(prompts_[i].tokens.size());
    begin_ = Clock::now();
    Arrive();
    if (!prompts_.empty()) loop_.Run();
    run_.seconds = Seconds(Clock::now() - begin_);
    return std::move(run_);
  }

 private:
  struct State {
    Clock::time_point arrived;
    Clock::time_point sent;
    Clock::time_point last;  // token
    int64_t events = 0;      // with a token
    std::string error;
  };

  // Takes all requests whose time has come, and sets the alarm for the next.
  void Arrive() {
    const double now = Seconds(Clock::now() - begin_);
    while (next_ < prompts_.size() && arrivals_[next_] <= now) {
      states_[next_].arrived = Clock::now();
      waiting_.push_back(next_++);
    }
    SendWaiting();
    if (next_ == prompts_.size()) return;
    const double wait_ms = std::max(0.0, (arrivals_[next_] - now) * 1e3);
    alarm_ = loop_.After(std::chrono::milliseconds(static_cast<int64_t>(std::ceil(wait_ms))),
                         [this] { Arrive(); });
  }

  void SendWaiting() {
    while (!waiting_.empty() &&
           (load_.max_concurrency == 0 || under_way_ < load_.max_concurrency)) {
      ++under_way_;
      SendOne(waiting_.front());
      waiting_.pop_front();
    }
  }

  void SendOne(size_t i) {
    HttpCall call;
    call.target = load_.endpoint;
    call.headers = load_.headers;
    call.headers.emplace_back("Content-Type", "application/json");
    call.body = Body(load_, prompts_[i], extra_);
    call.on_event = [this, i](std::string_view data) { OnEvent(i, data); };
    State& state = states_[i];
    state.sent = state.last = Clock::now();
    run_.outcomes[i].start = Seconds(state.sent - begin_);
    run_.outcomes[i].queued = Seconds(state.sent - state.arrived);
    client_->Send(std::move(call), [this, i](const HttpResult& result) { OnDone(i, result); });
  }

  void OnEvent(size_t i, std::string_view data) {
    const Clock::time_point now = Clock::now();
    if (data == "[DONE]") return;
    State& state = states_[i];
    BenchOutcome& outcome = run_.outcomes[i];
    Event event = ParseEvent(data, IsChat(load_.endpoint));
    if (!event.error.empty() && state.error.empty()) state.error = std::move(event.error);
    if (event.token) {
      if (state.events++ == 0) {
        outcome.ttft = Seconds(now - state.sent);
      } else {
        outcome.itl.push_back(Seconds(now - state.last));
      }
      state.last = now;
      outcome.text += event.text;
    }
    if (event.input_tokens >= 0) outcome.input_tokens = event.input_tokens;
    if (event.output_tokens >= 0) outcome.output_tokens = event.output_tokens;
  }

  void OnDone(size_t i, const HttpResult& result) {
    State& state = states_[i];
    BenchOutcome& outcome = run_.outcomes[i];
    outcome.latency = Seconds(state.last - state.sent);
    if (!result.status.ok() || result.http_status != 200) {
      outcome.error = ErrorText(result);
    } else if (!state.error.empty()) {
      outcome.error = state.error;
    } else if (state.events == 0) {
      outcome.error = "the answer has no token";
    } else {
      outcome.success = true;
      // Without a usage: an event for a token.
      if (outcome.output_tokens == 0) outcome.output_tokens = state.events;
    }
    --under_way_;
    progress_(++done_);
    if (done_ == static_cast<int64_t>(prompts_.size())) return loop_.Stop();
    SendWaiting();
  }

  const BenchLoad& load_;
  const std::vector<BenchPrompt>& prompts_;
  const Json& extra_;
  const std::function<void(int64_t)>& progress_;
  IoLoop loop_;
  std::unique_ptr<HttpClient> client_;
  std::shared_ptr<IoLoop::Timer> alarm_;
  Clock::time_point begin_;
  std::vector<double> arrivals_;
  std::vector<State> states_;
  std::deque<size_t> waiting_;
  size_t next_ = 0;  // to arrive
  int64_t under_way_ = 0;
  int64_t done_ = 0;
  BenchRun run_;
};

}  // namespace

bool IsChat(std::string_view endpoint) { return endpoint.ends_with("/chat/completions"); }

std::vector<double> ArrivalTimes(size_t count, double rate, double burstiness, uint64_t seed) {
  std::vector<double> times(count, 0.0);
  if (std::isinf(rate) || count == 0) return times;
  std::mt19937_64 random(seed);
  std::gamma_distribution<double> interval(burstiness, 1.0 / (rate * burstiness));
  double sum = 0;
  for (double& time : times) time = sum += interval(random);
  const double scale = static_cast<double>(count) / rate / sum;
  for (double& time : times) time *= scale;
  return times;
}

absl::StatusOr<std::string> FirstModel(const BenchLoad& load) {
  IoLoop loop;
  FM_ASSIGN_OR_RETURN(const auto client, HttpClient::Create(loop, load.server));
  HttpResult answer;
  client->Send({.method = "GET", .target = "/v1/models", .headers = load.headers},
               [&](HttpResult result) {
                 answer = std::move(result);
                 loop.Stop();
               });
  loop.Run();
  if (!answer.status.ok() || answer.http_status != 200) {
    return Unavailable("GET /v1/models of {}:{}: {}", load.server.host, load.server.port,
                       ErrorText(answer));
  }
  const Json json = Json::parse(answer.body, nullptr, false);
  if (json.is_object() && json.contains("data") && json["data"].is_array()) {
    for (const Json& model : json["data"]) {
      if (model.is_object() && model.contains("id") && model["id"].is_string()) {
        return model["id"].get<std::string>();
      }
    }
  }
  return NotFound("GET /v1/models of {}:{} lists no model; name one with --model", load.server.host,
                  load.server.port);
}

absl::StatusOr<BenchRun> RunBenchLoad(const BenchLoad& load,
                                      const std::vector<BenchPrompt>& prompts,
                                      const std::function<void(int64_t)>& progress) {
  Json extra = Json::object();
  if (!load.extra_body.empty()) {
    extra = Json::parse(load.extra_body, nullptr, false);
    if (!extra.is_object()) return InvalidArgument("--extra-body: not a JSON object");
  }
  LoadRun run(load, prompts, extra, progress);
  return run.Run();
}

}  // namespace folkmoot
