// SPDX-License-Identifier: Apache-2.0
// Forms from outside that are wrong, too large or not supported: an error that names the construct.
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "tests/runtime/grammar/grammar_testing.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

class BadForm : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    vocabulary_ =
        new TestVocabulary(TestVocabulary::Load(FOLKMOOT_TEST_DATA "/tokenizers/gpt2_style.json"));
  }
  static void TearDownTestSuite() {
    delete vocabulary_;
    vocabulary_ = nullptr;
  }

  static absl::Status Regex(std::string_view regex) {
    return vocabulary_->compiler->Regex(regex).status();
  }
  static absl::Status Schema(const Json& schema) {
    return vocabulary_->compiler->JsonSchema(schema).status();
  }
  static void ExpectError(const absl::Status& status, std::string_view part) {
    EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status)) << part;
    EXPECT_NE(Message(status).find(part), std::string_view::npos)
        << Message(status) << "\n  does not say: " << part;
  }

  static TestVocabulary* vocabulary_;
};

TestVocabulary* BadForm::vocabulary_ = nullptr;

TEST_F(BadForm, RegexesNameTheConstruct) {
  const std::pair<const char*, const char*> cases[] = {
      {"*a", "nothing to repeat"},
      {"a|+", "nothing to repeat"},
      {"{2}", "nothing to repeat"},
      {"a**", "a quantifier after a quantifier"},
      {"a++", "possessive"},
      {"a{3,2}", "backwards"},
      {"a{,3}", "{0,n}"},
      {"(a", "not closed"},
      {"a)", "closes nothing"},
      {"[a", "not closed"},
      {"[]", "begin with ]"},
      {"[z-a]", "backwards"},
      {"[a-\\d]", "both ends"},
      {"[[:alpha:]]", "POSIX"},
      {"a(?=b)", "look-ahead"},
      {"(?<!a)b", "look-behind"},
      {"(a)\\1", "back references"},
      {"(?P<x>a)(?P=x)", "back references"},
      {"\\bword", "word boundaries"},
      {"\\p{L}", "Unicode properties"},
      {"(?i)a", "flags"},
      {"a^b", "^ is supported only"},
      {"a$b", "$ is supported only"},
      {"(^a)*", "cannot be repeated"},
      {"\\q", "\\q"},
      {"\\", "escapes nothing"},
      {"\\ud800", "surrogate"},
      {"\\x4", "hexadecimal"},
      {"\xff", "UTF-8"},
      {"[^\\s\\S]", "no text can satisfy"},
      {"a{0,100000}", "repetitions"},
  };
  for (const auto& [regex, part] : cases) {
    ExpectError(Regex(regex), part);
  }
}

TEST_F(BadForm, SchemasNameTheConstructAndItsPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([])", "#"},
      {R"({"not": {"type": "null"}})", "#/not"},
      {R"({"type": "object", "properties": {"a": {"if": true, "then": false}}})",
       "#/properties/a/if"},
      {R"({"patternProperties": {"^a": {}}})", "#/patternProperties"},
      {R"({"type": "array", "uniqueItems": true})", "#/uniqueItems"},
      {R"({"contains": {"const": 1}})", "#/contains"},
      {R"({"dependentSchemas": {"a": {"const": 1}}})", "#/dependentSchemas"},
      {R"({"unevaluatedProperties": false})", "#/unevaluatedProperties"},
      {R"({"type": "text"})", "#/type"},
      {R"({"type": []})", "#/type"},
      {R"({"type": "string", "minLength": -1})", "#/minLength"},
      {R"({"type": "string", "maxLength": 1.5})", "#/maxLength"},
      {R"({"type": "string", "minLength": 1000000000})", "#/minLength"},
      {R"({"type": "string", "format": "color"})", "#/format"},
      {R"({"type": "string", "pattern": "(a"})", "#/pattern: regular expression, at byte 2"},
      {R"({"type": "string", "pattern": "(ab)+", "maxLength": 3})", "#/pattern"},
      {R"({"type": "number", "minimum": "1"})", "#/minimum"},
      {R"({"type": "number", "multipleOf": 0.1})", "#/multipleOf"},
      {R"({"type": "integer", "multipleOf": 0})", "#/multipleOf"},
      {R"({"type": "integer", "minimum": 5, "maximum": 4})", "no text"},
      {R"({"type": "number", "minimum": 1e300})", "#/minimum"},
      {R"({"enum": 3})", "#/enum"},
      {R"({"enum": []})", "#/enum"},
      {R"({"enum": ["a"], "minLength": 2})", "#/minLength"},
      {R"({"required": "a"})", "#/required"},
      {R"({"properties": []})", "#/properties"},
      {R"({"type": "object", "minProperties": 2})", "#/minProperties"},
      {R"({"anyOf": []})", "#/anyOf"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "branches 0 and 1"},
      {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}]})", "#/allOf/1/pattern"},
      {R"({"$ref": "http://x/y"})", "http://x/y"},
      {R"({"$ref": "#/$defs/none"})", "leads nowhere"},
      {R"({"$ref": 3})", "#/$ref"},
      {R"({"$ref": "#"})", "no text"},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "leads back to itself"},
      {R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
           "$ref": "#/$defs/a", "type": "null"})",
       "circle"},
      {R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no text"},
      {R"(false)", "no text"},
  };
  for (const auto& [schema, part] : cases) ExpectError(Schema(Json::parse(schema)), part);
}

TEST_F(BadForm, HugeInputsAreRefusedSoon) {
  const auto begin = std::chrono::steady_clock::now();
  const auto repeat = [](std::string_view text, size_t count) {
    std::string all;
    for (size_t i = 0; i < count; ++i) all += text;
    return all;
  };
  ExpectError(Regex(repeat("(", 60'000)), "bytes");
  ExpectError(Regex(repeat("(", 8'000) + repeat(")", 8'000)), "nested");
  ExpectError(Regex(repeat("a", 1 << 20)), "bytes");
  ExpectError(Regex("(a?){2000}"), "ambiguous");
  ExpectError(Regex(repeat("(?:", 60) + "a" + repeat("{0,20000})", 60)), "");
  Json deep = Json::object();
  for (int i = 0; i < 70; ++i) deep = Json{{"items", deep}};
  ExpectError(Schema(deep), "nested");
  Json wide = Json::object();
  for (int i = 0; i < 30'000; ++i) wide["enum"].push_back(i);
  ExpectError(Schema(wide), "large");
  ExpectError(Schema(Json{{"const", std::string(1 << 20, 'a')}}), "large");
  // Each level would double: merged again and again.
  Json bomb = Json::parse(R"({"$ref": "#/$defs/l0", "$defs": {}})");
  for (int i = 0; i < 60; ++i) {
    const Json next{{"$ref", fmt::format("#/$defs/l{}", i + 1)}, {"minLength", i}};
    bomb["$defs"][fmt::format("l{}", i)] = Json{{"anyOf", Json::array({next, next})}};
  }
  bomb["$defs"]["l60"] = Json{{"type", "string"}};
  ExpectError(Schema(bomb), "merge");
  ExpectError(vocabulary_->compiler->Choice({}).status(), "empty");
  ExpectError(vocabulary_->compiler->Choice({"\xff"}).status(), "UTF-8");
  ExpectError(vocabulary_->compiler->Choice({std::string(1 << 20, 'a')}).status(), "bytes");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST_F(BadForm, MutatedFormsNeverBreakAnything) {
  const std::string seeds[] = {
      R"({"type":"object","properties":{"a":{"type":"integer","minimum":-3},"b":{"$ref":"#"}}})",
      R"({"allOf":[{"anyOf":[{"enum":[1,"a",null]},{"type":["string","null"],"maxLength":3}]}]})",
      R"({"type":"array","prefixItems":[{"format":"date"},{"pattern":"^[a-z]+$"}],"minItems":1})",
      R"(^(a|[b-d]{2,3}|\d+\.\u00e9)*?(?:x|y)$)"};
  std::mt19937 random(23);
  int accepted = 0;
  for (int i = 0; i < 4'000; ++i) {
    std::string text = seeds[random() % std::size(seeds)];
    for (auto edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text.erase(at, 1 + random() % 6);
          break;
        case 1:
          text.insert(at, 1, "(){}[]|*+?\\\"0,:^$-"[random() % 18]);
          break;
        case 2:
          text[at] = static_cast<char>(random() % 256);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 12));
      }
      if (text.empty()) text = "a";
    }
    const Json schema = Json::parse(text, nullptr, false);
    const auto form = schema.is_discarded() ? vocabulary_->compiler->Regex(text)
                                            : vocabulary_->compiler->JsonSchema(schema);
    if (!form.ok()) {
      EXPECT_FALSE(Message(form.status()).empty());
      continue;
    }
    ++accepted;
    EXPECT_EQ(Sample(*vocabulary_, **form, &random, 5, 20).problem, "") << text;
  }
  EXPECT_GT(accepted, 400);
}

}  // namespace
}  // namespace folkmoot
