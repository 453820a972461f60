// SPDX-License-Identifier: Apache-2.0
// Forms and verdicts made by tools/make_grammar_goldens.py with Python's re and jsonschema.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/runtime/grammar/grammar_testing.h"
#include "tests/runtime/grammar/schema_validator.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

std::vector<Json> ReadForms() {
  std::ifstream file(FOLKMOOT_TEST_DATA "/grammar/forms.jsonl");
  std::vector<Json> forms;
  for (std::string line; std::getline(file, line);) forms.push_back(Json::parse(line));
  return forms;
}

const char* const kVocabularies[] = {
    FOLKMOOT_SOURCE_DIR "/models/demo-kjv/tokenizer.json",
    FOLKMOOT_TEST_DATA "/tokenizers/deepseek_style.json",
    FOLKMOOT_TEST_DATA "/tokenizers/gpt2_style.json",
    FOLKMOOT_TEST_DATA "/tokenizers/llama2_style.json",
    FOLKMOOT_TEST_DATA "/tokenizers/llama3_style.json",
    FOLKMOOT_TEST_DATA "/tokenizers/qwen2_style.json",
};

absl::StatusOr<std::shared_ptr<const TokenConstraint>> Compile(const TestVocabulary& vocabulary,
                                                               const Json& form) {
  if (form.contains("regex")) return vocabulary.compiler->Regex(form["regex"].get<std::string>());
  return vocabulary.compiler->JsonSchema(form["schema"]);
}

TEST(FormGolden, AcceptsWhatTheOraclesAccept) {
  const TestVocabulary vocabulary = TestVocabulary::Load(kVocabularies[0]);
  int regex_texts = 0, schema_texts = 0, accepted = 0, valid = 0;
  for (const Json& form : ReadForms()) {
    const auto constraint = Compile(vocabulary, form);
    ASSERT_TRUE(constraint.ok()) << form << Message(constraint.status());
    for (const auto& [text, verdict] : form["texts"].items()) {
      const bool ours = Accepts(vocabulary, **constraint, text);
      if (form.contains("regex")) {
        ++regex_texts;
        // \s and \S are narrower than the oracle's, and the goldens have no such text.
        EXPECT_EQ(ours, verdict.get<bool>()) << form["regex"] << " on " << text;
        continue;
      }
      ++schema_texts;
      valid += verdict.get<bool>() ? 1 : 0;
      accepted += ours ? 1 : 0;
      // Valid texts with members that the schema does not name are left out on purpose.
      EXPECT_TRUE(verdict.get<bool>() || !ours) << form["schema"] << " on " << text;
    }
  }
  EXPECT_GT(regex_texts, 2500);
  EXPECT_GT(schema_texts, 900);
  EXPECT_GT(accepted, valid * 3 / 4) << valid;
}

TEST(FormGolden, EveryOutputOfARandomModelIsValid) {
  const std::vector<Json> forms = ReadForms();
  std::mt19937 random(3);
  int checked = 0;
  for (const char* path : kVocabularies) {
    const TestVocabulary vocabulary = TestVocabulary::Load(path);
    for (const Json& form : forms) {
      const auto constraint = Compile(vocabulary, form);
      ASSERT_TRUE(constraint.ok());
      const RandomText output = Sample(vocabulary, **constraint, &random, 30, 400);
      ASSERT_EQ(output.problem, "") << path << form << output.text;
      if (!output.ended) continue;
      ++checked;
      if (form.contains("regex")) {
        // Spelled in other tokens the text must be allowed again.
        EXPECT_TRUE(Accepts(vocabulary, **constraint, output.text))
            << path << form["regex"] << " gave " << output.text;
        continue;
      }
      const Json value = Json::parse(output.text, nullptr, /*allow_exceptions=*/false);
      ASSERT_FALSE(value.is_discarded()) << path << form["schema"] << " gave " << output.text;
      EXPECT_TRUE(IsValid(value, form["schema"], form["schema"]))
          << path << form["schema"] << " gave " << output.text;
    }
  }
  EXPECT_GT(checked, 1800);
}

TEST(FormGolden, JsonObjectsAreObjects) {
  const TestVocabulary vocabulary = TestVocabulary::Load(kVocabularies[0]);
  const auto constraint = vocabulary.compiler->JsonObject();
  ASSERT_TRUE(constraint.ok());
  std::mt19937 random(5);
  int ended = 0;
  for (int i = 0; i < 200; ++i) {
    const RandomText output = Sample(vocabulary, **constraint, &random, 30, 1000);
    ASSERT_EQ(output.problem, "");
    if (!output.ended) continue;
    ++ended;
    EXPECT_TRUE(Json::parse(output.text, nullptr, false).is_object()) << output.text;
  }
  EXPECT_GT(ended, 150);
  EXPECT_TRUE(Accepts(vocabulary, **constraint,
                      R"({"a": [1, -2.5e+10, {"b": null}], "\u00e9\ud83d\ude00":"\n/"})"));
  EXPECT_FALSE(Accepts(vocabulary, **constraint, R"({"a": "\ud83d"})"));
  EXPECT_FALSE(Accepts(vocabulary, **constraint, R"({"a": 01})"));
  EXPECT_FALSE(Accepts(vocabulary, **constraint, R"({"a": 1,})"));
  EXPECT_FALSE(Accepts(vocabulary, **constraint, "{\"a\": \"\n\"}"));
  EXPECT_FALSE(Accepts(vocabulary, **constraint, "[]"));
}

}  // namespace
}  // namespace folkmoot
