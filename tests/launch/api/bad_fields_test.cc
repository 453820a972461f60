// SPDX-License-Identifier: Apache-2.0
// Bad values for every field of the table, at every endpoint that has it: each is a 400 that names
// the field, and the next good request is answered.
#include <fmt/format.h>

#include "launch/api/common/json_body.h"
#include "launch/api/request/field_table.h"
#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

struct Place {
  Endpoint endpoint;
  const char* path;
  const char* body;  // good; %s is where the field goes
  const char* prefix;
};
constexpr Place kPlaces[] = {
    {kCompletions, "/v1/completions", R"({"prompt": "In the beginning"{}})", ""},
    {kChat, "/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}]{}})", ""},
    {kGenerate, "/generate", R"({"text": "In the beginning"{}})", ""},
    {kGenerateSampling, "/generate", R"({"text": "x", "sampling_params": {"n": 1{}}})",
     "sampling_params."},
    {kEmbeddings, "/v1/embeddings", R"({"input": "In the beginning"{}})", ""},
    {kScore, "/score", R"({"text_1": "x", "text_2": "y"{}})", ""},
    {kRerank, "/rerank", R"({"query": "x", "documents": ["y"]{}})", ""},
};

std::string Fill(const Place& place, const std::string& field) {
  std::string body = place.body;
  const size_t at = body.rfind("{}");
  return body.replace(at, 2, field);
}

std::vector<std::string> BadValues(const FieldSpec& field) {
  std::vector<std::string> bad;
  const bool integer = field.type == FieldType::kInteger;
  if (integer || field.type == FieldType::kNumber) {
    bad = {"\"1\"", "true", "[1]", "{}", "1e300", "-1e300", "18446744073709551616", "1e400"};
    if (field.min > -9e18) bad.push_back(fmt::format("{}", field.min - 1));
    if (field.max < 9e18) bad.push_back(fmt::format("{}", field.max + 1));
    if (integer) {
      bad.insert(bad.end(), {"1.5", "-0.25", "9223372036854775808", "-9223372036854775809"});
    }
  } else if (field.type == FieldType::kBoolean) {
    bad = {"1", "0", "\"true\"", "[]", "{}", "1e400"};
  } else if (field.type == FieldType::kString) {
    bad = {"1", "true", "[]", "{}", "1e400"};
  } else if (field.type == FieldType::kStrings) {
    bad = {"1", "true", "{}", "[1]", "[null]", "[[]]", "1e400"};
  } else if (field.type == FieldType::kIntegers) {
    bad = {"1", "true", "{}", "\"1\"", "[1.5]", "[-1]", "[4096]", "[\"1\"]", "[null]", "[true]"};
  } else if (field.type == FieldType::kObject) {
    bad = {"1", "true", "[]", "\"x\""};
  } else if (field.type == FieldType::kArray) {
    bad = {"1", "true", "{}", "\"x\""};
  }
  return bad;
}

class BadFields : public ApiTest {
 protected:
  BadFields() {
    model.render_chat = [](const Json&) { return RenderedChat{.text = "x", .trusted = {}}; };
    model.priorities = true;
    Attach();
  }
  // A good request is still served.
  void ExpectGood() {
    const auto good = Send("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 1})");
    EXPECT_FALSE(good->answered);
    Say("x", FinishReason::kLength);
    EXPECT_EQ(good->response.status, 200);
  }
};

TEST_F(BadFields, EveryBadValueIs400AndNamesTheField) {
  int tried = 0;
  for (const Place& place : kPlaces) {
    for (const FieldSpec& field : FieldTable()) {
      if ((field.endpoints & place.endpoint) == 0 || field.use != FieldUse::kAccepted) continue;
      for (const std::string& value : BadValues(field)) {
        const std::string body = Fill(place, fmt::format(", \"{}\": {}", field.name, value));
        const auto answer = Send("POST", place.path, body);
        ASSERT_TRUE(answer->answered) << body;
        EXPECT_EQ(answer->response.status, 400) << body;
        const Json error = answer->json()["error"];
        // A number that no double holds fails in the parser, which knows the outermost field.
        const std::string name = std::string(place.prefix) + std::string(field.name);
        if (value.find("1e400") == std::string::npos) {
          EXPECT_EQ(error["param"], name) << body;
        }
        EXPECT_FALSE(error["message"].get<std::string>().empty());
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 600);
  EXPECT_TRUE(engine.taken.empty());
  ExpectGood();
}

TEST_F(BadFields, NullIsTheDefaultAndNanIsNoJson) {
  for (const FieldSpec& field : FieldTable()) {
    if ((field.endpoints & kCompletions) == 0 || field.name == "prompt") continue;
    const auto null = Send("POST", "/v1/completions",
                           Fill(kPlaces[0], fmt::format(", \"{}\": null", field.name)));
    EXPECT_FALSE(null->answered) << field.name << null->response.body;
    for (const char* value :
         {"NaN", "Infinity", "-Infinity", "nan", "+1", "01", "0x10", "1.", "'1'"}) {
      const auto bad = Send("POST", "/v1/completions",
                            Fill(kPlaces[0], fmt::format(", \"{}\": {}", field.name, value)));
      EXPECT_EQ(bad->response.status, 400) << field.name << value;
    }
  }
}

TEST_F(BadFields, RefusedFieldsAreErrorsOnlyWhenTheyAskForSomething) {
  for (const FieldSpec& field : FieldTable()) {
    if ((field.endpoints & kCompletions) == 0 || field.use != FieldUse::kRefused) continue;
    for (const char* nothing : {"null", "false", "\"\"", "[]", "{}", "0"}) {
      const auto good = Send("POST", "/v1/completions",
                             Fill(kPlaces[0], fmt::format(", \"{}\": {}", field.name, nothing)));
      EXPECT_FALSE(good->answered) << field.name;
    }
    const auto bad = Send("POST", "/v1/completions",
                          Fill(kPlaces[0], fmt::format(", \"{}\": \"x\"", field.name)));
    EXPECT_EQ(bad->response.status, 400);
    EXPECT_EQ(bad->json()["error"]["param"], field.name);
  }
}

TEST_F(BadFields, UnknownFieldsAreAccepted) {
  const auto good = Post("/v1/completions", {{"prompt", "x"}, {"no_such_field", 1}, {"", 2}});
  EXPECT_FALSE(good->answered);
}

struct BadBody {
  const char* path;
  std::string body;
  const char* param;  // null: none
};

TEST_F(BadFields, BodiesThatAreNoRequests) {
  const std::string deep(60000, '[');
  const std::string deep_objects = [] {
    std::string text;
    for (int i = 0; i < 60000; ++i) text += "{\"a\":";
    return text;
  }();
  std::string million = R"({"prompt": "x", "stop": ["a")";
  for (int i = 0; i < 1000000; ++i) million += ",\"a\"";
  million += "]}";
  const BadBody bodies[] = {
      {"/v1/completions", "", nullptr},
      {"/v1/completions", "[]", nullptr},
      {"/v1/completions", "\"x\"", nullptr},
      {"/v1/completions", "{", nullptr},
      {"/v1/completions", "{\"prompt\": \"x\"} {}", nullptr},
      {"/v1/completions", "{\"prompt\": \"\xff\xfe\"}", nullptr},
      {"/v1/completions", "{\"prompt\": \"\\ud800\"}", nullptr},
      {"/v1/completions", std::string("{\"prompt\": \"a\0b\"}", 17), nullptr},
      {"/v1/completions", deep, nullptr},
      {"/v1/completions", "{\"prompt\": " + deep, "prompt"},
      {"/v1/completions", deep_objects, "a"},
      {"/v1/completions", million, "stop"},
      {"/v1/completions", "{}", "prompt"},
      {"/v1/completions", R"({"prompt": null})", "prompt"},
      {"/v1/completions", R"({"prompt": ""})", "prompt"},
      {"/v1/completions", R"({"prompt": []})", "prompt"},
      {"/v1/completions", R"({"prompt": [[]]})", "prompt"},
      {"/v1/completions", R"({"prompt": ["a", ""]})", "prompt"},
      {"/v1/completions", R"({"prompt": ["a", 1]})", "prompt"},
      {"/v1/completions", R"({"prompt": [1, "a"]})", "prompt"},
      {"/v1/completions", R"({"prompt": [4096]})", "prompt"},
      {"/v1/completions", R"({"prompt": [-1]})", "prompt"},
      {"/v1/completions", R"({"prompt": [1.5]})", "prompt"},
      {"/v1/completions", R"({"prompt": [1e300]})", "prompt"},
      {"/v1/completions", R"({"prompt": {"a": 1}})", "prompt"},
      {"/v1/completions", R"({"prompt": 5})", "prompt"},
      {"/v1/completions", R"({"prompt": "x", "max_tokens": 64})", "prompt"},
      {"/v1/completions", R"({"prompt": "x", "max_tokens": 2, "min_tokens": 3})", "min_tokens"},
      {"/v1/completions", R"({"prompt": "x", "stop": ""})", "stop"},
      {"/v1/completions", R"({"prompt": "x", "stop": ["a", ""]})", "stop"},
      {"/generate", R"({"text": "x", "sampling_params": {"stop": [""]}})", "sampling_params.stop"},
      {"/v1/completions", R"({"prompt": "x", "logit_bias": {"4096": 1}})", "logit_bias"},
      {"/v1/completions", R"({"prompt": "x", "logit_bias": {"1": 101}})", "logit_bias"},
      {"/v1/completions", R"({"prompt": "x", "logit_bias": {"x": 1}})", "logit_bias"},
      {"/v1/completions", R"({"prompt": "x", "stream_options": {"include_usage": true}})",
       "stream_options"},
      {"/v1/completions", R"({"prompt": "x", "stream": true, "prompt_logprobs": 1})",
       "prompt_logprobs"},
      {"/v1/completions", R"({"prompt": "x", "gate": {"top_k": 1}})", "gate"},
      {"/v1/completions", R"({"prompt": "x", "request_id": "a b"})", "request_id"},
      {"/v1/completions", R"({"prompt": "x", "truncate_prompt_tokens": 0})",
       "truncate_prompt_tokens"},
      {"/v1/chat/completions", "{}", "messages"},
      {"/v1/chat/completions", R"({"messages": []})", "messages"},
      {"/v1/chat/completions", R"({"messages": [1]})", "messages"},
      {"/v1/chat/completions", R"({"messages": [{"content": "x"}]})", "messages"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user"}]})", "messages"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": 1}]})", "messages"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]})",
       "messages"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2})", "top_logprobs"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": "required"})",
       "tool_choice"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": "sometimes"})",
       "tool_choice"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": "function"}})",
       "tool_choice"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": 5})", "tool_choice"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "tools": [1]})",
       "tools"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"function": {"name": ""}}]})",
       "tools"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"function": {"name": "f"}}]})",
       "tools"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "x", "function": {"name": "f"}}]})",
       "tools"},
      // The template of this test shows no tools.
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "f"}}]})",
       "tools"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "assistant", "content": "x", "reasoning_content": 5}]})",
       "messages"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"messages": []}})",
       "chat_template_kwargs"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]})",
       "tools"},
      {"/generate", "{}", "text"},
      {"/generate", R"({"text": "x", "input_ids": [1]})", "text"},
      {"/generate", R"({"text": []})", "text"},
      {"/generate", R"({"input_ids": [[]]})", "input_ids"},
      {"/tokenize", "{}", "prompt"},
      {"/tokenize", R"({"prompt": 1})", "prompt"},
      {"/detokenize", R"({"tokens": [9999]})", "tokens"},
      {"/detokenize", "{}", "tokens"},
  };
  for (const BadBody& bad : bodies) {
    const auto answer = Send("POST", bad.path, bad.body);
    const std::string start = bad.body.substr(0, 100);
    ASSERT_TRUE(answer->answered) << start;
    EXPECT_EQ(answer->response.status, 400) << start << answer->response.body;
    if (bad.param != nullptr) {
      EXPECT_EQ(answer->json()["error"]["param"], bad.param) << start << answer->response.body;
    }
  }
  EXPECT_TRUE(engine.taken.empty());
  ExpectGood();
}

TEST_F(BadFields, TooLongPromptsNameTheLimit) {
  std::string words;
  for (int i = 0; i < 100; ++i) words += "beginning ";
  for (const std::string& text : {words, std::string(10'000'000, 'x')}) {
    const auto answer = Post("/v1/completions", {{"prompt", text}});
    EXPECT_EQ(answer->response.status, 400);
    const Json error = answer->json()["error"];
    EXPECT_NE(error["message"].get<std::string>().find("maximum context length is 64 tokens"),
              std::string::npos);
    EXPECT_EQ(error["code"], "context_length_exceeded");
  }
  const auto cut = Post("/v1/completions", {{"prompt", words}, {"truncate_prompt_tokens", 5}});
  EXPECT_FALSE(cut->answered);
  EXPECT_EQ(taken().prompt.size(), 5u);
}

TEST(JsonBody, EqualKeysTheLastCountsAlsoInLargeObjects) {
  std::string text = "{";
  for (int i = 0; i < 1000; ++i) text += fmt::format("\"k{}\": {}, ", i % 100, i);
  const absl::StatusOr<Json> json = ParseBody(text + "\"x\": {\"a\": 1, \"a\": [2]}}");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->size(), 101u);
  EXPECT_EQ((*json)["k7"], 907);
  EXPECT_EQ((*json)["x"], Json::parse(R"({"a": [2]})"));
  EXPECT_EQ(*ParseBody(R"({"z": [1, {"y": null}, "\u00e9"], "a": -1.5})"),
            Json::parse(R"({"z": [1, {"y": null}, "é"], "a": -1.5})"));
}

TEST(JsonBody, LimitsHold) {
  EXPECT_TRUE(ParseBody(R"({"a": [[1]]})", {.depth = 3}).ok());
  EXPECT_FALSE(ParseBody(R"({"a": [[1]]})", {.depth = 2}).ok());
  EXPECT_TRUE(ParseBody(R"({"a": [1, 2]})", {.values = 4}).ok());
  EXPECT_FALSE(ParseBody(R"({"a": [1, 2]})", {.values = 3}).ok());
  EXPECT_TRUE(ParseBody(R"({"a": 1, "b": 2})", {.members = 2}).ok());
  EXPECT_FALSE(ParseBody(R"({"a": 1, "b": 2})", {.members = 1}).ok());
}

}  // namespace
}  // namespace folkmoot
