// SPDX-License-Identifier: Apache-2.0
// Markers of calls and of reasoning that are special tokens, and forms that begin behind reasoning.
#include <fstream>

#include "runtime/grammar/grammar_compiler.h"
#include "tests/launch/api/tool_fixture.h"

namespace folkmoot {
namespace {

// A tokenizer with more special tokens.
class SpecialTokens : public ToolCalls {
 protected:
  void AddTokens(const std::vector<std::string>& texts) {
    std::ifstream file(std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv/tokenizer.json");
    Json json = Json::parse(file);
    for (const std::string& text : texts) {
      Json token = json["added_tokens"][0];
      token["id"] = 4095 + json["added_tokens"].size();
      token["content"] = text;
      json["added_tokens"].push_back(token);
    }
    auto loaded = Tokenizer::FromJson(json.dump(), "test");
    if (!loaded.ok()) ADD_FAILURE() << loaded.status();
    model.tokenizer = *std::move(loaded);
    tokenizer = model.tokenizer.get();
    model.vocab = 4096 + static_cast<int64_t>(texts.size());
  }
};

// Markers of some models are special tokens, which are no text otherwise.
TEST_F(SpecialTokens, ThatAreMarkersAreSeenByTheParserAlone) {
  AddTokens({"[TOOL_CALLS]", "<other>"});
  model.tool_format = FindFormat(ToolFormats(), "mistral");
  Attach();
  const std::string text = "a<other>b[TOOL_CALLS]get_time{}";
  const Json choice = Choice("", text);
  EXPECT_EQ(choice["message"]["content"], "ab");
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "get_time");
  // Without tools it is a special token as any other.
  EXPECT_EQ(Choice("", text, FinishReason::kStop, /*tools=*/false)["message"]["content"],
            "abget_time{}");
}

// A form of the output begins behind the reasoning.
class FormsAfterReasoning : public SpecialTokens {
 protected:
  FormsAfterReasoning() {
    AddTokens({"<think>", "</think>"});
    compiler_ = std::make_unique<GrammarCompiler>(*tokenizer, model.vocab, model.eos_ids);
    model.compile_schema = [this](const Json& schema) { return compiler_->JsonSchema(schema); };
    Attach();
  }
  // What may come after the tokens of `text`: "<" begins reasoning, ">" ends it, "[" and "{" begin
  // the form, "a" is any text, "." is the end.
  std::string After(const std::string& text) {
    const std::unique_ptr<TokenConstraint> first = taken().constraint->Clone();
    for (const int32_t id : Ids(text)) first->Accept(id);
    const std::unique_ptr<TokenConstraint> form = first->Clone();
    std::vector<uint32_t> mask((4098 + 31) / 32);
    EXPECT_TRUE(form->FillMask(mask));
    EXPECT_EQ(mask.back() >> (4098 % 32), 0u) << "ids that are none";
    std::string allowed;
    const std::pair<char, int32_t> ids[] = {{'<', 4096},        {'>', 4097},
                                            {'[', Ids("[")[0]}, {'{', Ids("{")[0]},
                                            {'a', Ids("a")[0]}, {'.', 0}};
    for (const auto& [name, id] : ids) {
      if ((mask[static_cast<size_t>(id) / 32] >> (id % 32)) & 1) allowed += name;
    }
    return allowed;
  }

  std::unique_ptr<GrammarCompiler> compiler_;
};

constexpr char kRequired[] = R"(, "tool_choice": "required")";

TEST_F(FormsAfterReasoning, ThatTheModelMayBegin) {
  Ask(kRequired);
  EXPECT_EQ(After(""), "<[");
  EXPECT_EQ(After("<think>"), "<>[{a");
  EXPECT_EQ(After("<think>a a"), "<>[{a");
  EXPECT_EQ(After("<think>a</think>"), "[");
  EXPECT_EQ(After("["), "{");
  const Json choice =
      Choice(kRequired, R"(<think>Hm.</think>[{"name": "get_time", "parameters": {}}])");
  EXPECT_EQ(choice["message"]["reasoning_content"], "Hm.");
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "get_time");
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
}

TEST_F(FormsAfterReasoning, ThatThePromptBegan) {
  tail_ = "<think>\n";
  const std::string schema = R"(, "response_format": {"type": "json_schema", "json_schema":
                                {"schema": {"type": "object"}}})";
  const Json choice = Choice(schema, "Hm.</think>{}", FinishReason::kStop, /*tools=*/false);
  EXPECT_EQ(After(""), "<>[{a");
  EXPECT_EQ(After("a</think>"), "{");
  EXPECT_EQ(choice["message"]["reasoning_content"], "Hm.");
  EXPECT_EQ(choice["message"]["content"], "{}");
}

TEST_F(FormsAfterReasoning, ThatThePromptHasEnded) {
  tail_ = "<think>\n\n</think>\n\n";
  Ask(kRequired);
  EXPECT_EQ(After(""), "[");
}

// No token of its own ends the reasoning: the form begins at once, and is no reasoning.
TEST_F(ToolCalls, FormsWithoutMarksOfReasoningBeginAtOnce) {
  tail_ = "<think>\n";
  Attach();
  const Json choice = Choice(R"(, "response_format": {"type": "json_schema", "json_schema":
                                {"schema": {"type": "object"}}})",
                             "{}", FinishReason::kStop, /*tools=*/false);
  EXPECT_EQ(choice["message"]["content"], "{}");
  EXPECT_FALSE(choice["message"].contains("reasoning_content"));
}

}  // namespace
}  // namespace folkmoot
