// SPDX-License-Identifier: Apache-2.0
// Whole tokenizers against the ids and texts of the `tokenizers` package
// (tests/data/tokenizers/*.golden.jsonl, written by tools/make_tokenizer_goldens.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

using nlohmann::json;

const std::string kData = FOLKMOOT_TEST_DATA "/tokenizers/";

class Golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const bool demo = GetParam() == "demo";
    auto tokenizer = Tokenizer::Load(demo ? FOLKMOOT_SOURCE_DIR "/models/demo-kjv/tokenizer.json"
                                          : kData + GetParam() + ".json");
    ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    tokenizer_ = *std::move(tokenizer);
    std::ifstream file(kData + GetParam() + ".golden.jsonl");
    for (std::string line; std::getline(file, line);) records_.push_back(json::parse(line));
    ASSERT_GE(records_.size(), 300u);
  }

  // In the file, what is equal to another member is left out.
  static const json& Member(const json& record, const char* key, const char* same) {
    return record.contains(key) ? record[key] : record[same];
  }
  static const json& Text(const json& record) { return Member(record, "text", "input"); }
  static const json& Skipped(const json& record) {
    return record.contains("skipped") ? record["skipped"] : Text(record);
  }
  std::vector<int32_t> Encode(const json& text, const Tokenizer::EncodeOptions& options) const {
    const auto ids = tokenizer_->Encode(text.get<std::string>(), options);
    EXPECT_TRUE(ids.ok()) << Message(ids.status());
    return ids.ok() ? *ids : std::vector<int32_t>();
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<json> records_;
};

TEST_P(Golden, EncodesToTheSameIds) {
  for (const json& record : records_) {
    if (!record.contains("input")) continue;
    EXPECT_EQ(json(Encode(record["input"], {})), record["ids"]) << record["input"];
    const Tokenizer::EncodeOptions plain{.add_special_tokens = false, .parse_special = false};
    EXPECT_EQ(json(Encode(record["input"], plain)), Member(record, "plain", "ids"))
        << record["input"];
  }
}

TEST_P(Golden, DecodesToTheSameText) {
  for (const json& record : records_) {
    const auto ids = record["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(json(tokenizer_->Decode(ids, false)), Text(record)) << record["ids"];
    EXPECT_EQ(json(tokenizer_->Decode(ids, true)), Skipped(record)) << record["ids"];
  }
}

TEST_P(Golden, IncrementalDecodingGivesWholeCharactersAndTheSameText) {
  for (const json& record : records_) {
    IncrementalDecoder decoder(*tokenizer_, false);
    std::string text;
    for (const int32_t id : record["ids"].get<std::vector<int32_t>>()) {
      const std::string piece = decoder.Push(id);
      EXPECT_EQ(RepairUtf8(piece), piece) << record["ids"];
      text += piece;
    }
    text += decoder.Finish();
    EXPECT_EQ(json(text), Text(record)) << record["ids"];
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Golden,
                         testing::Values("gpt2_style", "llama3_style", "qwen2_style",
                                         "deepseek_style", "llama2_style", "metaspace_style",
                                         "word_style", "t5_style", "unigram_bytes_style", "demo"),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace folkmoot
