// SPDX-License-Identifier: Apache-2.0
// Single components against what the `tokenizers` package made of the same inputs
// (tests/data/tokenizers/components.json, written by tools/make_tokenizer_goldens.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/tokenizer/decoder.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {
namespace {

using nlohmann::json;

json PreTokenize(const PreTokenizer& part, const std::string& text) {
  Pieces pieces{text, {}, true};
  if (!text.empty()) pieces.spans.push_back({0, text.size()});
  const absl::Status status = part.Apply(&pieces);
  EXPECT_TRUE(status.ok()) << Message(status);
  json views = json::array();
  for (const ByteSpan span : pieces.spans) views.push_back(pieces.View(span));
  return views;
}

json Normalize(const Normalizer& part, std::string text) {
  bool keeps_start = true;
  const absl::Status status = part.Apply(&text, &keeps_start);
  EXPECT_TRUE(status.ok()) << Message(status);
  return text;
}

json Decode(const Decoder& part, const std::vector<std::string>& tokens) {
  DecodeStream stream = part.NewStream();
  std::string text;
  for (const std::string& token : tokens) stream.Push(token, &text);
  stream.Finish(&text);
  return text;
}

class Components : public testing::Test {
 protected:
  // Runs `apply(part, input)` for every case of every component of this kind; returns their number.
  template <typename Parse, typename Apply>
  int Check(const std::string& kind, const Parse& parse, const Apply& apply) {
    std::ifstream file(FOLKMOOT_TEST_DATA "/tokenizers/components.json");
    int count = 0;
    for (const json& golden : json::parse(file)) {
      if (!golden.contains(kind)) continue;
      const auto document = JsonDocument::Parse(golden[kind].dump(), "golden");
      EXPECT_TRUE(document.ok());
      const auto part = parse((*document)->root());
      EXPECT_TRUE(part.ok()) << Message(part.status());
      if (!part.ok()) continue;
      for (const json& one : golden["cases"]) {
        EXPECT_EQ(apply(*part, one[0]), one[1]) << golden[kind] << " of " << one[0];
        ++count;
      }
    }
    return count;
  }
};

TEST_F(Components, PreTokenizersCutAsTheReferenceDoes) {
  const auto apply = [](const auto& part, const json& text) { return PreTokenize(*part, text); };
  EXPECT_GT(Check("pre_tokenizer", ParsePreTokenizer, apply), 1000);
}

TEST_F(Components, NormalizersWriteWhatTheReferenceWrites) {
  const auto apply = [](const auto& part, const json& text) { return Normalize(*part, text); };
  EXPECT_GT(Check("normalizer", ParseNormalizer, apply), 200);
}

TEST_F(Components, DecodersWriteWhatTheReferenceWrites) {
  const auto parse = [](const JsonNode& node) { return Decoder::Parse(node); };
  const auto apply = [](const Decoder& part, const json& tokens) { return Decode(part, tokens); };
  EXPECT_GT(Check("decoder", parse, apply), 100);
}

}  // namespace
}  // namespace folkmoot
