// SPDX-License-Identifier: Apache-2.0
// Every broken file is refused with a message that names the file, the place and the culprit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string ErrorOf(const std::string& json) {
  const auto tokenizer = Tokenizer::FromJson(json, "dir/tokenizer.json");
  EXPECT_FALSE(tokenizer.ok()) << json;
  return std::string(Message(tokenizer.status()));
}

// A small right model; `more` goes after it.
std::string WithModel(const std::string& more) {
  return R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},)" + more + "}";
}
std::string Model(const std::string& fields) {
  return R"({"model":{"type":"BPE",)" + fields + "}}";
}

TEST(BadTokenizer, TheBaseOfTheseTestsIsRight) {
  EXPECT_TRUE(Tokenizer::FromJson(WithModel(R"("version":"1.0")"), "x").ok());
  EXPECT_TRUE(Tokenizer::FromJson(Model(R"("vocab":{"a":0},"merges":[])"), "x").ok());
}

TEST(BadTokenizer, MissingFile) {
  const auto tokenizer = Tokenizer::Load("/nowhere/tokenizer.json");
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(tokenizer.status())), HasSubstr("/nowhere/tokenizer.json"));
  EXPECT_FALSE(Tokenizer::Load(testing::TempDir()).ok());  // a folder
}

TEST(BadTokenizer, NotJson) {
  for (const char* text :
       {"", "{", "not json", "[1,2]", "3", "{\"model\": \"\xFF\"}", "{\"a\":1}}"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("dir/tokenizer.json: ")) << text;
  }
  EXPECT_THAT(ErrorOf("{"), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf(std::string(100000, '[')), HasSubstr("not JSON"));
}

TEST(BadTokenizer, NoModel) {
  EXPECT_THAT(ErrorOf("{}"), AllOf(HasSubstr("\"model\" is missing"), HasSubstr("$")));
  EXPECT_THAT(ErrorOf(R"({"model":null})"), HasSubstr("\"model\" is missing"));
  EXPECT_THAT(ErrorOf(R"({"model":{}})"), HasSubstr("$.model"));
  EXPECT_THAT(ErrorOf(R"({"model":{"type":"WordPiece","vocab":{}}})"),
              HasSubstr("\"WordPiece\" is not supported (BPE and Unigram are)"));
  EXPECT_THAT(ErrorOf(R"({"model":{"type":"BPE","merges":[]}})"),
              HasSubstr("\"vocab\" is missing"));
  EXPECT_THAT(ErrorOf(R"({"model":{"type":"BPE","vocab":{"a":0}}})"),
              HasSubstr("\"merges\" is missing"));
}

TEST(BadTokenizer, MergesNameTheNumberAndTheTokens) {
  const std::string vocab = R"("vocab":{"a":0,"b":1,"ab":2},)";
  EXPECT_THAT(ErrorOf(Model(vocab + R"("merges":["a b","ab c"])")),
              AllOf(HasSubstr("$.model.merges"), HasSubstr("merge 1"), HasSubstr("\"ab\" + \"c\""),
                    HasSubstr("token \"c\" is not in the vocabulary")));
  EXPECT_THAT(ErrorOf(Model(vocab + R"("merges":[["b","a"]])")),
              AllOf(HasSubstr("merge 0"), HasSubstr("token \"ba\" is not in the vocabulary")));
  for (const char* merge :
       {R"("ab")", R"("a b c")", R"(["a"])", R"(["a","b","c"])", "[1,2]", "7"}) {
    EXPECT_THAT(ErrorOf(Model(vocab + R"("merges":["a b",)" + merge + "]")), HasSubstr("merge 1"))
        << merge;
  }
}

TEST(BadTokenizer, Vocabulary) {
  const std::string merges = R"("merges":[])";
  EXPECT_THAT(ErrorOf(Model(R"("vocab":{"a":0,"b":0},)" + merges)),
              AllOf(HasSubstr("\"a\""), HasSubstr("\"b\""), HasSubstr("same id 0")));
  EXPECT_THAT(ErrorOf(Model(R"("vocab":{"a":0,"a":1},)" + merges)), HasSubstr("two ids, 0 and 1"));
  EXPECT_THAT(ErrorOf(Model(R"("vocab":{"a":-1},)" + merges)), HasSubstr("\"a\""));
  EXPECT_THAT(ErrorOf(Model(R"("vocab":{"a":4000000000},)" + merges)), HasSubstr("\"a\""));
  EXPECT_THAT(ErrorOf(Model(R"("vocab":{"a":"0"},)" + merges)), HasSubstr("\"a\""));
  EXPECT_THAT(ErrorOf(Model(R"("vocab":{},)" + merges)), HasSubstr("is empty"));
  EXPECT_THAT(ErrorOf(Model(R"("vocab":["a"],)" + merges)), HasSubstr("$.model.vocab"));
}

TEST(BadTokenizer, ModelOptions) {
  const std::string base = R"("vocab":{"a":0},"merges":[],)";
  EXPECT_THAT(ErrorOf(Model(base + R"("dropout":0.1)")), HasSubstr("dropout"));
  EXPECT_THAT(ErrorOf(Model(base + R"("unk_token":"<unk>")")), HasSubstr("\"<unk>\""));
  EXPECT_THAT(ErrorOf(Model(base + R"("byte_fallback":1)")), HasSubstr("$.model.byte_fallback"));
  EXPECT_THAT(ErrorOf(Model(base + R"("surprise":true)")), HasSubstr("unknown key \"surprise\""));
  EXPECT_THAT(ErrorOf(WithModel(R"("novelty":{})")), HasSubstr("unknown key \"novelty\""));
}

TEST(BadTokenizer, UnknownComponentsAreNamedWithTheirPlace) {
  EXPECT_THAT(ErrorOf(WithModel(R"("normalizer":{"type":"Nmt"})")),
              AllOf(HasSubstr("$.normalizer: "), HasSubstr("\"Nmt\"")));
  EXPECT_THAT(
      ErrorOf(WithModel(
          R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Magic"}]})")),
      AllOf(HasSubstr("dir/tokenizer.json: $.pre_tokenizer.pretokenizers[1]"),
            HasSubstr("\"Magic\"")));
  EXPECT_THAT(ErrorOf(WithModel(R"("decoder":{"type":"CTC"})")),
              AllOf(HasSubstr("$.decoder"), HasSubstr("\"CTC\"")));
  EXPECT_THAT(ErrorOf(WithModel(R"("post_processor":{"type":"BertProcessing"})")),
              AllOf(HasSubstr("$.post_processor"), HasSubstr("\"BertProcessing\"")));
  EXPECT_THAT(ErrorOf(WithModel(R"("normalizer":{})")), HasSubstr("\"type\" is missing"));
  EXPECT_THAT(ErrorOf(WithModel(R"("normalizer":7)")), HasSubstr("$.normalizer"));
}

TEST(BadTokenizer, SettingsOfComponents) {
  const auto split = [](const std::string& fields) {
    return WithModel(R"("pre_tokenizer":{"type":"Split",)" + fields + "}");
  };
  EXPECT_THAT(ErrorOf(split(R"("pattern":{"Regex":"(a"},"behavior":"Isolated","invert":false)")),
              AllOf(HasSubstr("$.pre_tokenizer.pattern"), HasSubstr("(a")));
  EXPECT_THAT(ErrorOf(split(R"("pattern":{"String":""},"behavior":"Isolated","invert":false)")),
              HasSubstr("empty"));
  EXPECT_THAT(ErrorOf(split(R"("pattern":{"String":"x"},"behavior":"Shredded","invert":false)")),
              HasSubstr("\"Shredded\""));
  EXPECT_THAT(ErrorOf(split(R"("pattern":{"String":"x"},"behavior":"Removed","invert":"no")")),
              HasSubstr("$.pre_tokenizer.invert"));
  EXPECT_THAT(
      ErrorOf(WithModel(
          R"("pre_tokenizer":{"type":"Metaspace","replacement":"__","prepend_scheme":"first"})")),
      HasSubstr("one character"));
  EXPECT_THAT(
      ErrorOf(WithModel(
          R"("decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteLevel"}]})")),
      HasSubstr("after Fuse"));
  EXPECT_THAT(
      ErrorOf(WithModel(R"("decoder":{"type":"Replace","pattern":{"Regex":"a"},"content":""})")),
      HasSubstr("regular expression"));
}

TEST(BadTokenizer, PostProcessorsWithForeignIds) {
  const auto with = [](const std::string& single, const std::string& ids) {
    return WithModel(R"("post_processor":{"type":"TemplateProcessing","single":[)" + single +
                     R"(],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[)" + ids +
                     R"(],"tokens":["<s>"]}}})");
  };
  const std::string text = R"({"Sequence":{"id":"A","type_id":0}})";
  const std::string bos = R"({"SpecialToken":{"id":"<s>","type_id":0}},)";
  EXPECT_TRUE(Tokenizer::FromJson(with(bos + text, "2"), "x").ok());
  EXPECT_THAT(ErrorOf(with(bos + text, "3")), AllOf(HasSubstr("\"<s>\""), HasSubstr("id 3")));
  EXPECT_THAT(ErrorOf(with(text + "," + text, "2")), HasSubstr("sequence A once"));
  EXPECT_THAT(ErrorOf(with("", "2")), HasSubstr("does not hold sequence A"));
}

TEST(BadTokenizer, AddedTokens) {
  const auto added = [](const std::string& tokens) {
    return WithModel(R"("added_tokens":[)" + tokens + "]");
  };
  EXPECT_THAT(ErrorOf(added(R"({"id":1,"content":"<x>"})")),
              AllOf(HasSubstr("$.added_tokens[0]"), HasSubstr("\"<x>\""), HasSubstr("\"b\"")));
  EXPECT_THAT(ErrorOf(added(R"({"id":7,"content":"<x>"},{"id":7,"content":"<y>"})")),
              HasSubstr("same id 7"));
  EXPECT_THAT(ErrorOf(added(R"({"id":7,"content":"<x>"},{"id":8,"content":"<x>"})")),
              HasSubstr("twice"));
  EXPECT_THAT(ErrorOf(added(R"({"id":-7,"content":"<x>"})")), HasSubstr("id -7"));
  EXPECT_THAT(ErrorOf(added(R"({"id":7,"content":""})")), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf(added(R"({"id":7})")), HasSubstr("\"content\" is missing"));
  EXPECT_THAT(ErrorOf(WithModel(R"("added_tokens":{})")), HasSubstr("must be an array"));
}

TEST(BadTokenizer, EndlessPatternsFailTheTextNotTheProcess) {
  const auto tokenizer = Tokenizer::FromJson(
      WithModel(
          R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated","invert":false})"),
      "x");
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  EXPECT_EQ((*tokenizer)->Encode(std::string(64, 'a') + "b").status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace folkmoot
