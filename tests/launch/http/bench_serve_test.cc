// SPDX-License-Identifier: Apache-2.0
// `bench serve` against a server that says what it will do and when.
#include "launch/commands/bench_serve.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "CLI/CLI.hpp"
#include "nlohmann/json.hpp"
#include "tests/launch/http/test_server.h"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;
using std::chrono::milliseconds;

// Answers with max_tokens tokens, the first after 40 ms, the others 10 ms apart; every third
// request with 429 when `refuse_every_third`.
class FakeModel {
 public:
  explicit FakeModel(bool refuse_every_third = false)
      : refuse_(refuse_every_third),
        server_({.api_keys = {"key"}},
                {{"POST", "/v1/completions", false, Handle(false)},
                 {"POST", "/v1/chat/completions", false, Handle(true)},
                 {"GET", "/v1/models", false, [](const auto& exchange) {
                    exchange->Respond({.body = R"({"data":[{"id":"m/x"}]})"});
                  }}}) {}

  uint16_t port() const { return server_.port(); }
  std::vector<Json> Requests() {
    std::vector<Json> copy;
    server_.OnLoop([&] { copy = requests_; });
    return copy;
  }
  int most_at_once = 0;

 private:
  struct Stream {
    std::shared_ptr<HttpExchange> exchange;
    std::shared_ptr<IoLoop::Timer> timer;
    int64_t prompt = 0;
    int64_t left = 0;
    int64_t total = 0;
    bool chat = false;
  };

  Handler Handle(bool chat) {
    return [this, chat](std::shared_ptr<HttpExchange> exchange) {
      requests_.push_back(Json::parse(exchange->request().body));
      const Json& body = requests_.back();
      if (refuse_ && requests_.size() % 3 == 0) {
        return exchange->Respond(ErrorResponse(429, "the queue is full"));
      }
      auto stream = std::make_shared<Stream>();
      stream->total = stream->left = body[chat ? "max_completion_tokens" : "max_tokens"];
      stream->prompt = chat ? 7 : static_cast<int64_t>(body["prompt"].size());
      stream->chat = chat;
      exchange->BeginStream("text/event-stream");
      stream->exchange = std::move(exchange);
      most_at_once = std::max(most_at_once, ++now_);
      stream->timer = server_.loop().After(milliseconds(40), [this, stream] { Token(stream); });
    };
  }

  void Token(const std::shared_ptr<Stream>& stream) {
    HttpExchange& exchange = *stream->exchange;
    exchange.Write(": ping\n\n");
    exchange.Write(stream->chat ? "data: {\"choices\":[{\"delta\":{\"content\":\"t\"}}]}\n\n"
                                : "data: {\"choices\":[{\"text\":\"t\"}],\"usage\":null}\n\n");
    if (--stream->left > 0) {
      stream->timer = server_.loop().After(milliseconds(10), [this, stream] { Token(stream); });
      return;
    }
    exchange.Write(
        fmt::format("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{},"
                    "\"completion_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
                    stream->prompt, stream->total));
    exchange.EndStream();
    --now_;
    stream->timer.reset();
  }

  bool refuse_;
  int now_ = 0;
  std::vector<Json> requests_;
  TestServer server_;
};

struct Output {
  absl::Status status;
  std::string text;
};

Output RunBench(uint16_t port, std::vector<std::string> flags) {
  CLI::App app;
  const Command command = MakeBenchServe(app);
  flags.insert(flags.begin(), {"serve", "--port", std::to_string(port)});
  if (std::count(flags.begin(), flags.end(), "--api-key") == 0) {
    flags.insert(flags.end(), {"--api-key", "key"});
  }
  std::reverse(flags.begin(), flags.end());  // what CLI11 wants
  app.parse(flags);
  testing::internal::CaptureStdout();
  Output output;
  output.status = command.run();
  output.text = testing::internal::GetCapturedStdout();
  return output;
}

TEST(BenchServe, MeasuresWhatTheServerDid) {
  FakeModel model;
  const Output output =
      RunBench(model.port(), {"--num-prompts", "6", "--random-input-len", "12",
                              "--random-output-len", "5", "--json", "--ignore-eos"});
  ASSERT_TRUE(output.status.ok()) << output.status;
  const Json json = Json::parse(output.text);
  EXPECT_EQ(json["model_id"], "m/x");
  EXPECT_EQ(json["completed"], 6);
  EXPECT_EQ(json["failed"], 0);
  EXPECT_EQ(json["total_input_tokens"], 72);
  EXPECT_EQ(json["total_output_tokens"], 30);
  EXPECT_EQ(json["request_rate"], "inf");
  EXPECT_TRUE(json["max_concurrency"].is_null());
  EXPECT_EQ(json["max_concurrent_requests"], 6);
  EXPECT_GE(json["median_ttft_ms"], 39.0);
  EXPECT_LT(json["median_ttft_ms"], 100.0);
  EXPECT_GE(json["mean_itl_ms"], 9.0);
  EXPECT_LT(json["mean_itl_ms"], 40.0);
  EXPECT_NEAR(json["mean_tpot_ms"], json["mean_itl_ms"], 1e-6);  // four steps after the first token
  EXPECT_GE(json["p99_e2el_ms"], 79.0);
  EXPECT_NEAR(double{json["output_throughput"]} * double{json["duration"]}, 30, 1e-6);
  const Json request = model.Requests().back();
  EXPECT_EQ(request["prompt"].size(), 12U);
  EXPECT_EQ(request["ignore_eos"], true);
  EXPECT_EQ(request["stream_options"], Json::parse(R"({"include_usage":true})"));
}

TEST(BenchServe, FamiliarTable) {
  FakeModel model;
  const Output output = RunBench(
      model.port(), {"--num-prompts", "4", "--random-input-len", "3", "--random-output-len", "2",
                     "--max-concurrency", "2", "--goodput", "ttft:1", "e2el:60000"});
  ASSERT_TRUE(output.status.ok()) << output.status;
  EXPECT_EQ(model.most_at_once, 2);
  EXPECT_THAT(
      output.text,
      AllOf(HasSubstr("============ Serving Benchmark Result ============\n"
                      "Successful requests:                     4         \n"
                      "Failed requests:                         0         \n"
                      "Maximum request concurrency:             2         \n"
                      "Benchmark duration (s):                  "),
            HasSubstr("Total input tokens:                      12        \n"
                      "Total generated tokens:                  8         \n"),
            HasSubstr("Request goodput (req/s):                 0.00      \n"),
            HasSubstr("---------------Time to First Token----------------\nMean TTFT (ms):"),
            HasSubstr("-----Time per Output Token (excl. 1st token)------\n"),
            HasSubstr("\nP99 ITL (ms): "), HasSubstr("\nMedian E2EL (ms): "),
            Not(HasSubstr("Request rate configured"))));
}

TEST(BenchServe, ChatSendsWords) {
  FakeModel model;
  const Output output =
      RunBench(model.port(), {"--endpoint", "/v1/chat/completions", "--num-prompts", "2",
                              "--input-len", "4", "--output-len", "2", "--json"});
  ASSERT_TRUE(output.status.ok()) << output.status;
  EXPECT_EQ(Json::parse(output.text)["total_input_tokens"], 14);
  const Json message = model.Requests().back()["messages"][0];
  EXPECT_EQ(message["role"], "user");
  const std::string content = message["content"];
  EXPECT_EQ(std::count(content.begin(), content.end(), ' '), 3);
}

TEST(BenchServe, FailuresAreCountedAndShown) {
  FakeModel model(true);
  testing::internal::CaptureStderr();
  const Output output = RunBench(
      model.port(), {"--num-prompts", "5", "--input-len", "2", "--output-len", "1", "--json"});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("failed request: HTTP 429: the queue is full"));
  ASSERT_TRUE(output.status.ok()) << output.status;
  EXPECT_EQ(Json::parse(output.text)["failed"], 2);
  EXPECT_EQ(Json::parse(output.text)["completed"], 3);
}

TEST(BenchServe, SavesWhatVllmSaves) {
  FakeModel model;
  const auto folder = std::filesystem::path(testing::TempDir()) / "bench_serve_test";
  std::filesystem::remove_all(folder);
  const Output output = RunBench(
      model.port(), {"--num-prompts", "3", "--input-len", "2", "--output-len", "2", "--save-result",
                     "--save-detailed", "--result-dir", folder.string(), "--result-filename", "r"});
  ASSERT_TRUE(output.status.ok()) << output.status;
  std::ifstream file(folder / "r");
  const Json json = Json::parse(file);
  for (const char* key : {"date",
                          "endpoint_type",
                          "backend",
                          "model_id",
                          "num_prompts",
                          "request_rate",
                          "burstiness",
                          "max_concurrency",
                          "duration",
                          "completed",
                          "failed",
                          "total_input_tokens",
                          "total_output_tokens",
                          "request_throughput",
                          "request_goodput",
                          "output_throughput",
                          "total_token_throughput",
                          "input_lens",
                          "output_lens",
                          "ttfts",
                          "itls",
                          "latencies",
                          "start_times",
                          "queue_times",
                          "generated_texts",
                          "errors",
                          "max_output_tokens_per_s",
                          "max_concurrent_requests",
                          "mean_ttft_ms",
                          "median_ttft_ms",
                          "std_ttft_ms",
                          "p99_ttft_ms",
                          "mean_tpot_ms",
                          "median_tpot_ms",
                          "std_tpot_ms",
                          "p99_tpot_ms",
                          "mean_itl_ms",
                          "median_itl_ms",
                          "std_itl_ms",
                          "p99_itl_ms",
                          "mean_e2el_ms",
                          "median_e2el_ms",
                          "std_e2el_ms",
                          "p99_e2el_ms"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["generated_texts"], Json({"tt", "tt", "tt"}));
  EXPECT_EQ(json["itls"][0].size(), 1U);
}

TEST(BenchServe, ErrorsNameTheCulprit) {
  FakeModel model;
  const auto message = [&](std::vector<std::string> flags) {
    return std::string(Message(RunBench(model.port(), std::move(flags)).status));
  };
  EXPECT_THAT(message({"--api-key", "wrong"}), HasSubstr("HTTP 401: Incorrect"));
  EXPECT_THAT(message({"--endpoint", "/v1/nothing"}), HasSubstr("HTTP 404"));
  EXPECT_THAT(message({"--base-url", "https://host"}), HasSubstr("https is not spoken"));
  EXPECT_THAT(message({"--base-url", "http://127.0.0.1:1"}), HasSubstr("cannot connect"));
  EXPECT_THAT(message({"--request-rate", "fast"}), HasSubstr("--request-rate 'fast'"));
  EXPECT_THAT(message({"--goodput", "speed:1"}), HasSubstr("--goodput 'speed:1'"));
  EXPECT_THAT(message({"--header", "nothing"}), HasSubstr("--header 'nothing'"));
  EXPECT_THAT(message({"--extra-body", "[1]"}), HasSubstr("--extra-body"));
  EXPECT_THAT(message({"--dataset-name", "custom", "--dataset-path", "/nowhere"}),
              HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace folkmoot
