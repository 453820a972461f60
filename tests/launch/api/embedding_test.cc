// SPDX-License-Identifier: Apache-2.0
// POST /v1/embeddings, /score and /rerank.
#include <absl/strings/escaping.h>
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

class Embeddings : public ApiTest {
 protected:
  Embeddings() { model.hidden = 3; }

  // The engine answers request `id`.
  void Give(int64_t id, std::vector<float> vector) {
    OutputEvent event = Event(id, -1, FinishReason::kLength);
    event.result.embedding = std::move(vector);
    Emit(std::move(event));
  }
  // What it got of an HTTP request that makes `vectors.size()` of them.
  Json Answered(const std::string& path, const Json& body,
                const std::vector<std::vector<float>>& vectors) {
    const int64_t before = engine.last;
    const auto exchange = Post(path, body);
    EXPECT_EQ(engine.last - before, static_cast<int64_t>(vectors.size())) << body;
    for (size_t v = vectors.size(); v-- > 0;) {  // in any order
      EXPECT_FALSE(exchange->answered);
      Give(before + 1 + static_cast<int64_t>(v), vectors[v]);
    }
    EXPECT_EQ(exchange->response.status, 200) << exchange->response.body;
    return exchange->json();
  }
};

TEST_F(Embeddings, TheAnswerHasOpenAisShape) {
  Attach();
  const Json answer = Answered("/v1/embeddings", {{"input", "In the beginning"}, {"user", "me"}},
                               {{3.0f, 0.0f, 4.0f}});
  EXPECT_EQ(taken().prompt, Ids("In the beginning"));
  EXPECT_EQ(taken().max_tokens, 0);
  EXPECT_EQ(taken().pooling, Pooling::kLast);
  EXPECT_EQ(answer["id"], "embd-abc");
  EXPECT_EQ(answer["object"], "list");
  EXPECT_EQ(answer["model"], "demo");
  EXPECT_EQ(answer["data"].dump(), R"([{"index":0,"object":"embedding","embedding":[0.6,0,0.8]}])");
  const size_t tokens = Ids("In the beginning").size();
  EXPECT_EQ(answer["usage"]["prompt_tokens"], tokens);
  EXPECT_EQ(answer["usage"]["total_tokens"], tokens);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 0);
}

TEST_F(Embeddings, EveryFormOfInputInItsOrder) {
  model.pooling = Pooling::kMean;
  Attach();
  const Json ids = Json::array({5, 6, 7});
  const std::vector<std::vector<float>> two = {{1, 2, 2}, {0, 0, -5}};
  for (const Json& input : {Json::array({"a", "b"}), Json::array({ids, Json::array({9})})}) {
    const Json answer = Answered("/v1/embeddings", {{"input", input}, {"normalize", false}}, two);
    EXPECT_EQ(taken().pooling, Pooling::kMean);
    ASSERT_EQ(answer["data"].size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(answer["data"][i]["index"], i);
      EXPECT_EQ(answer["data"][i]["embedding"].get<std::vector<float>>(), two[i]);
    }
  }
  Answered("/v1/embeddings", {{"input", ids}}, {{1, 0, 0}});
  EXPECT_EQ(taken().prompt, (std::vector<int32_t>{5, 6, 7}));
}

TEST_F(Embeddings, Base64HoldsTheBitsOfTheNumbers) {
  model.hidden = 7;
  Attach();
  const std::vector<float> vector = {0.1f,      -1e-30f, 3.4028235e38f, 1e-45f,
                                     -0.33333f, 1.0f,    16777217.0f};
  for (const bool normalize : {false, true}) {
    Json body = {{"input", "x"}, {"use_activation", normalize}, {"dimensions", 7}};
    const Json plain = Answered("/v1/embeddings", body, {vector});
    const auto numbers = plain["data"][0]["embedding"].get<std::vector<float>>();
    body["encoding_format"] = "base64";
    const Json coded = Answered("/v1/embeddings", body, {vector});
    std::string bytes;
    ASSERT_TRUE(absl::Base64Unescape(coded["data"][0]["embedding"].get<std::string>(), &bytes));
    ASSERT_EQ(bytes.size(), vector.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(bytes.data(), numbers.data(), bytes.size()), 0);
    if (!normalize) {
      EXPECT_EQ(numbers, vector);
    }
  }
}

TEST_F(Embeddings, NothingHasNoDirection) {
  Attach();
  const Json answer = Answered("/v1/embeddings", {{"input", "x"}}, {{0, 0, 0}});
  EXPECT_EQ(answer["data"][0]["embedding"].dump(), "[0,0,0]");
  const Json score = Answered("/score", {{"text_1", "x"}, {"text_2", "y"}}, {{0, 0, 0}, {1, 0, 0}});
  EXPECT_EQ(score["data"][0]["score"], 0);
}

TEST_F(Embeddings, ScoresAreCosines) {
  Attach();
  const Json one = Answered("/v1/score", {{"text_1", "q"}, {"text_2", {"a", "b"}}},
                            {{2, 0, 0}, {1, 0, 0}, {0, 7, 0}});
  EXPECT_EQ(one["id"], "score-abc");
  EXPECT_EQ(one["data"].dump(), R"([{"index":0,"object":"score","score":1.0},)"
                                R"({"index":1,"object":"score","score":0.0}])");
  EXPECT_EQ(one["usage"]["prompt_tokens"], Ids("q").size() + Ids("a").size() + Ids("b").size());
  const Json pairs = Answered("/score", {{"queries", {"q", "r"}}, {"documents", {"a", "b"}}},
                              {{1, 0, 0}, {0, 1, 0}, {-1, 0, 0}, {0, 3, 4}});
  EXPECT_EQ(pairs["data"][0]["score"], -1);
  EXPECT_DOUBLE_EQ(pairs["data"][1]["score"].get<double>(), 0.6);
}

TEST_F(Embeddings, RerankSortsWhatIsNear) {
  Attach();
  const Json documents = Json::array({"a", {{"text", "b"}}, "c", "d"});
  const std::vector<std::vector<float>> vectors = {
      {1, 0, 0}, {0, 1, 0}, {2, 0, 0}, {0, 0, 1}, {-1, 0, 0}};
  const Json body = {{"query", "q"}, {"documents", documents}};
  for (const char* path : {"/rerank", "/v1/rerank", "/v2/rerank"}) {
    const Json answer = Answered(path, body, vectors);
    EXPECT_EQ(answer["id"], "rerank-abc");
    std::vector<int> order;
    for (const Json& result : answer["results"]) order.push_back(result["index"]);
    EXPECT_EQ(order, (std::vector<int>{1, 0, 2, 3}));  // of equal ones the earlier
    EXPECT_EQ(answer["results"][0].dump(),
              R"({"index":1,"document":{"text":"b"},"relevance_score":1.0})");
    EXPECT_GT(answer["usage"]["total_tokens"], 4);
  }
  Json best = body;
  best.update({{"top_n", 2}, {"return_documents", false}});
  const Json answer = Answered("/rerank", best, vectors);
  EXPECT_EQ(answer["results"].size(), 2u);
  EXPECT_FALSE(answer["results"][0].contains("document"));
}

TEST_F(Embeddings, BadBodiesNameTheirField) {
  Attach();
  struct Bad {
    const char* path;
    const char* body;
    const char* param;
  };
  for (const Bad& bad : {
           Bad{"/v1/embeddings", "{}", "input"},
           Bad{"/v1/embeddings", R"({"input": ""})", "input"},
           Bad{"/v1/embeddings", R"({"input": []})", "input"},
           Bad{"/v1/embeddings", R"({"input": [[]]})", "input"},
           Bad{"/v1/embeddings", R"({"input": ["a", 1]})", "input"},
           Bad{"/v1/embeddings", R"({"input": [4096]})", "input"},
           Bad{"/v1/embeddings", R"({"input": {"a": 1}})", "input"},
           Bad{"/v1/embeddings", R"({"input": "x", "model": "other"})", "model"},
           Bad{"/v1/embeddings", R"({"input": "x", "encoding_format": "bytes"})",
               "encoding_format"},
           Bad{"/v1/embeddings", R"({"input": "x", "embed_dtype": "float16"})", "embed_dtype"},
           Bad{"/v1/embeddings", R"({"input": "x", "endianness": "big"})", "endianness"},
           Bad{"/v1/embeddings", R"({"input": "x", "dimensions": 2})", "dimensions"},
           Bad{"/v1/embeddings", R"({"messages": [{"role": "user"}]})", "messages"},
           Bad{"/score", R"({"text_1": "x"})", "text_2"},
           Bad{"/score", R"({"text_2": "x"})", "text_1"},
           Bad{"/score", R"({"text_1": "x", "queries": "y", "text_2": "z"})", "queries"},
           Bad{"/score", R"({"text_1": ["x", "y"], "text_2": ["a", "b", "c"]})", "text_1"},
           Bad{"/score", R"({"text_1": [], "text_2": ["a"]})", "text_1"},
           Bad{"/score", R"({"text_1": "x", "text_2": ["a", ""]})", "text_2"},
           Bad{"/rerank", R"({"documents": ["x"]})", "query"},
           Bad{"/rerank", R"({"query": "x"})", "documents"},
           Bad{"/rerank", R"({"query": "x", "documents": [1]})", "documents"},
           Bad{"/rerank", R"({"query": "x", "documents": [{"text": 1}]})", "documents"},
           Bad{"/rerank", R"({"query": "x", "documents": [{"body": "y"}]})", "documents"},
           Bad{"/rerank", R"({"query": "x", "documents": ["y"], "top_n": -1})", "top_n"},
       }) {
    const auto answer = Send("POST", bad.path, bad.body);
    ASSERT_TRUE(answer->answered) << bad.body;
    EXPECT_NE(answer->response.status, 200) << bad.body;
    EXPECT_EQ(answer->json()["error"]["param"], bad.param) << bad.body << answer->response.body;
  }
  EXPECT_TRUE(engine.taken.empty());
}

TEST_F(Embeddings, ManyTextsAreTooMany) {
  Attach();
  const Json texts(std::vector<std::string>(1025, "a"));
  const auto answer = Post("/score", {{"text_1", texts}, {"text_2", texts}});
  EXPECT_EQ(answer->response.status, 400);
  EXPECT_EQ(answer->json()["error"]["param"], "text_2");
}

TEST_F(Embeddings, ErrorsSayWhichText) {
  Attach();
  const auto message = [&](const char* path, const char* body) {
    return Send("POST", path, body)->json()["error"]["message"].get<std::string>();
  };
  EXPECT_THAT(message("/rerank", R"({"query": "x", "documents": ["a", {"text": ""}]})"),
              testing::StartsWith("documents[1]: it is empty"));
  EXPECT_THAT(message("/rerank", R"({"query": "x", "documents": ["a", 1]})"),
              testing::StartsWith("documents[1]: "));
  EXPECT_THAT(message("/score", R"({"text_1": "x", "text_2": ["a", "b", ""]})"),
              testing::StartsWith("text_2[2]: "));
  EXPECT_THAT(message("/v1/embeddings", R"({"input": ["a", ""]})"),
              testing::StartsWith("input[1]: "));
  EXPECT_THAT(message("/v1/embeddings", R"({"input": ""})"), testing::StartsWith("input: "));
}

TEST_F(Embeddings, TextsToCompareHaveNoSpecialTokens) {
  Attach();
  Post("/v1/embeddings", {{"input", "<|endoftext|>"}});
  EXPECT_EQ(taken().prompt.size(), 1u);
  Post("/score", {{"text_1", "x"}, {"text_2", "<|endoftext|>"}});
  EXPECT_GT(taken().prompt.size(), 1u);
  Post("/rerank", {{"query", "x"}, {"documents", {"<|endoftext|>"}}});
  EXPECT_GT(taken().prompt.size(), 1u);
}

TEST_F(Embeddings, AnAnswerHasALimit) {
  model.hidden = 1 << 20;
  Attach();
  const std::vector<std::string> five(5, "a"), eleven(11, "a");  // 65 MB as numbers, 66 as base64
  const auto refused = Post("/v1/embeddings", {{"input", five}});
  ASSERT_EQ(refused->response.status, 400);
  const Json error = refused->json()["error"];
  EXPECT_EQ(error["param"], "input");
  EXPECT_THAT(error["message"].get<std::string>(),
              testing::HasSubstr("send fewer texts per request"));
  EXPECT_FALSE(Post("/v1/embeddings", {{"input", five}, {"encoding_format", "base64"}})->answered);
  EXPECT_EQ(
      Post("/v1/embeddings", {{"input", eleven}, {"encoding_format", "base64"}})->response.status,
      400);
  EXPECT_FALSE(Post("/rerank", {{"query", "x"}, {"documents", eleven}})->answered);
}

TEST_F(Embeddings, LongTextsAreCutOnlyWhenAsked) {
  Attach();
  std::string words;
  for (int i = 0; i < 100; ++i) words += "beginning ";
  const auto refused = Post("/v1/embeddings", {{"input", words}});
  EXPECT_EQ(refused->response.status, 400);
  EXPECT_EQ(refused->json()["error"]["code"], "context_length_exceeded");
  Post("/v1/embeddings", {{"input", words}, {"truncate_prompt_tokens", 5}});
  EXPECT_EQ(taken().prompt.size(), 5u);
  Post("/v1/embeddings", {{"input", words}, {"truncate_prompt_tokens", -1}});
  EXPECT_EQ(taken().prompt.size(), 64u);
  // All of the context may be prompt.
  Post("/v1/embeddings", {{"input", std::vector<int>(64, 7)}});
  EXPECT_EQ(taken().prompt.size(), 64u);
}

TEST_F(Embeddings, DeadlinesAndErrorsEndTheWholeRequest) {
  Attach();
  const auto late = Post("/v1/embeddings", {{"input", {"a", "b"}}, {"timeout", 2}});
  ASSERT_FALSE(timers.empty());
  (*timers.back().second.lock())();
  EXPECT_EQ(late->response.status, 504);
  EXPECT_EQ(engine.cancelled.size(), 2u);
  const auto failed = Post("/rerank", {{"query", "q"}, {"documents", {"a", "b"}}});
  OutputEvent event = Event(engine.last, -1, FinishReason::kError);
  event.error = "the hidden states of the prompt are not finite numbers";
  Emit(event);
  EXPECT_EQ(failed->response.status, 500);
  const auto refused = Post("/v1/embeddings", {{"input", "a"}});
  event = Event(engine.last, -1, FinishReason::kError);
  event.error = "embeddings need the last hidden states";
  event.rejected = true;
  Emit(event);
  EXPECT_EQ(refused->response.status, 400);
  EXPECT_EQ(front_end->running(), 0u);
}

}  // namespace
}  // namespace folkmoot
