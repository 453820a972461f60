// SPDX-License-Identifier: Apache-2.0
// Requests that have brought down other servers, by the names of what was published about them.
// Each is a 400 that names the field, and the next good request is answered. Those that come as
// HTTP are in tests/launch/http/http_hostile_test.cc, those of model files in tests/layers/config.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "runtime/grammar/grammar_compiler.h"
#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

constexpr char kCompletionsPath[] = "/v1/completions";
constexpr char kChatPath[] = "/v1/chat/completions";

struct Published {
  const char* known;
  std::string fields;  // of the body, besides the prompt unless it has its own
  const char* param;
  const char* path = kCompletionsPath;
};

std::string Repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

std::string BodyOf(const Published& row) {
  const bool chat = row.path == kChatPath;
  const std::string_view own = chat ? "\"messages\"" : "\"prompt\"";
  if (row.fields.starts_with(own)) return "{" + row.fields + "}";
  return (chat ? R"({"messages": [{"role": "user", "content": "x"}], )" : R"({"prompt": "x", )") +
         row.fields + "}";
}

std::vector<Published> Counts() {
  std::vector<Published> rows;
  for (const char* n : {"1000000000", "16384", "129", "2147483648"}) {
    rows.push_back({"CVE-2026-34756", fmt::format("\"n\": {}", n), "n"});
  }
  for (const char* field :
       {"n", "max_tokens", "min_tokens", "logprobs", "prompt_logprobs", "truncate_prompt_tokens"}) {
    for (const char* value : {"-2", "-2147483649", "9223372036854775808", "\"1\"", "true"}) {
      rows.push_back({"CVE-2026-21869, CVE-2026-24173, CVE-2026-24146",
                      fmt::format("\"{}\": {}", field, value), field});
    }
  }
  rows.push_back({"CVE-2026-34756", "\"logprobs\": 1000000000", "logprobs"});
  rows.push_back({"CVE-2026-34756", "\"top_k\": 1000000000000", "top_k"});
  rows.push_back({"CVE-2026-34756", "\"stop\": [\"a\"" + Repeat(",\"a\"", 64) + "]", "stop"});
  rows.push_back({"CVE-2026-34756", "\"stop\": \"" + std::string(1025, 'a') + "\"", "stop"});
  return rows;
}

std::vector<Published> Prompts() {
  std::vector<Published> rows;
  for (const char* prompt : {"\"\"", "[]", "[[]]", "[\"\"]", "[\"a\", \"\"]", "[[1], []]"}) {
    rows.push_back({"CVE-2024-8768", fmt::format("\"prompt\": {}", prompt), "prompt"});
  }
  rows.push_back({"CVE-2025-62164", "\"prompt_embeds\": \"gAJjdG9yY2g=\"", "prompt_embeds"});
  const char* kMedia = "GHSA-3f6c-7fw2-ppm4, CVE-2026-24779, CVE-2026-5497";
  for (const char* url : {"http://169.254.169.254/", R"(http://a\\@b/)", "file:///etc/passwd",
                          "data:image/gif;base64,"}) {
    for (const char* type : {"image_url", "video_url", "input_audio"}) {
      rows.push_back({kMedia,
                      fmt::format(R"("messages": [{{"role": "user", "content": [{{"type": "{0}", )"
                                  R"("{0}": {{"url": "{1}"}}}}]}}])",
                                  type, url),
                      "messages", kChatPath});
    }
  }
  return rows;
}

std::vector<Published> Forms() {
  const char* kCrash = "CVE-2025-48942, CVE-2025-48943, CVE-2025-48944";
  const char* kNested = "llama.cpp#26600, #25283, #25308, #22606";
  std::vector<Published> rows;
  for (const char* regex : {"(", "[", "a{2,1}", "*", "(?<a", "\\\\p{Nothing}", "a**"}) {
    rows.push_back({kCrash, fmt::format(R"("structured_outputs": {{"regex": "{}"}})", regex),
                    "structured_outputs"});
  }
  rows.push_back(
      {kNested,
       "\"structured_outputs\": {\"regex\": \"" + Repeat("(", 60'000) + Repeat(")", 60'000) + "\"}",
       "structured_outputs"});
  rows.push_back({kNested,
                  "\"structured_outputs\": {\"regex\": \"" + Repeat("(", 8000) + "a" +
                      Repeat(")", 8000) + "\"}",
                  "structured_outputs"});
  rows.push_back({"CVE-2025-29770", R"("structured_outputs": {"regex": "(a{1,999}){1,999}"})",
                  "structured_outputs"});
  for (const char* schema :
       {R"({"type": 5})", R"({"type": "thing"})", R"({"$ref": "#/nowhere"})",
        R"({"$ref": "http://a/b"})", R"({"pattern": "(", "type": "string"})", R"({"enum": []})",
        R"({"type": "integer", "minimum": 2, "maximum": 1})", R"({"$ref": "#"})"}) {
    rows.push_back({kCrash, fmt::format(R"("structured_outputs": {{"json": {}}})", schema),
                    "structured_outputs"});
  }
  rows.push_back({kNested, "\"structured_outputs\": {\"json\": " + Repeat("{\"items\":", 200'000),
                  "structured_outputs"});
  rows.push_back({kNested, "\"structured_outputs\": {\"json\": " + Repeat("[", 200'000),
                  "structured_outputs"});
  return rows;
}

std::vector<Published> Chats() {
  std::vector<Published> rows;
  for (const char* kwargs : {R"({"messages": []})", R"({"tools": []})", "5", "[]"}) {
    rows.push_back({"CVE-2025-62426", fmt::format("\"chat_template_kwargs\": {}", kwargs),
                    "chat_template_kwargs", kChatPath});
  }
  rows.push_back(
      {"CVE-2025-61620", "\"chat_template\": \"{% for x in y %}\"", "chat_template", kChatPath});
  for (const char* tools :
       {"5", "[5]", "[{}]", R"([{"type": 5}])",
        R"([{"type": "function", "function": {"name": 5}}])",
        R"([{"type": "function", "function": {"name": "f", "parameters": 5}}])"}) {
    rows.push_back({"CVE-2025-48944", fmt::format("\"tools\": {}", tools), "tools", kChatPath});
  }
  return rows;
}

class Advisories : public ApiTest {
 protected:
  Advisories() {
    model.render_chat = [](const Json& context) {
      const Json& last = context["messages"].back();
      return RenderedChat{.text = last["content"].get<std::string>(), .trusted = {}};
    };
    compiler_ = std::make_unique<GrammarCompiler>(*model.tokenizer, model.vocab, model.eos_ids);
    model.compile_regex = [this](std::string_view regex) { return compiler_->Regex(regex); };
    model.compile_schema = [this](const Json& schema) { return compiler_->JsonSchema(schema); };
    Attach();
  }

  void ExpectRefused(const std::vector<Published>& rows) {
    for (const Published& row : rows) {
      const std::string body = BodyOf(row);
      SCOPED_TRACE(fmt::format("{}: {}", row.known, body.substr(0, 200)));
      const auto answer = Send("POST", row.path, body);
      ASSERT_TRUE(answer->answered);
      EXPECT_EQ(answer->response.status, 400) << answer->response.body;
      const std::string param = answer->json()["error"].value("param", "");
      EXPECT_THAT(param, testing::StartsWith(row.param)) << answer->response.body;
      // CVE-2026-22778: an error that gives an address of memory away.
      EXPECT_THAT(answer->response.body, testing::Not(testing::HasSubstr("0x7")));
      EXPECT_LT(answer->response.body.size(), 4096u) << "repeats what the client sent";
      ExpectGood();
    }
  }
  void ExpectGood() {
    const auto good = Send("POST", kCompletionsPath, R"({"prompt": "x", "max_tokens": 1})");
    ASSERT_FALSE(good->answered);
    Say("x", FinishReason::kLength);
    EXPECT_EQ(good->response.status, 200);
  }

  std::unique_ptr<GrammarCompiler> compiler_;
};

TEST_F(Advisories, CountsAreBounded) { ExpectRefused(Counts()); }
TEST_F(Advisories, PromptsAreTextOrTokens) { ExpectRefused(Prompts()); }
TEST_F(Advisories, FormsAreRefusedOrCompiled) { ExpectRefused(Forms()); }
TEST_F(Advisories, TemplatesAreTheModels) { ExpectRefused(Chats()); }

// CVE-2025-29770: forms that are all different fill the memory of those that are kept.
TEST_F(Advisories, FormsThatAreAllDifferentTakeNoMoreMemory) {
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(compiler_->Regex(fmt::format("a{{1,50}}{}", i)).ok());
    ASSERT_LE(compiler_->cache_bytes(), GrammarCompiler::kMaxCacheBytes);
  }
}

// CVE-2026-44222: special tokens as text are text.
TEST_F(Advisories, SpecialTokensOfUsersAreText) {
  int count = 0;
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    if (!tokenizer->IsSpecial(id)) continue;
    ++count;
    const std::string text(tokenizer->IdToToken(id));
    const auto good = Post(kChatPath, {{"messages", {{{"role", "user"}, {"content", text}}}}});
    EXPECT_FALSE(good->answered) << good->response.body;
    EXPECT_THAT(taken().prompt, testing::Not(testing::Contains(id)));
  }
  EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace folkmoot
