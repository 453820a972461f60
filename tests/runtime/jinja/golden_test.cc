// SPDX-License-Identifier: Apache-2.0
// Renderings against those of Transformers (tests/data/chat_templates, written by
// tools/make_chat_template_goldens.py).
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/jinja/chat_template.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

const std::string kData = FOLKMOOT_TEST_DATA "/chat_templates/";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

const Json& Goldens() {
  static const Json json = Json::parse(ReadFile(kData + "goldens.json"));
  return json;
}

RenderLimits LimitsAt(const Json& now) {
  setenv("TZ", "UTC", 1);
  tzset();
  RenderLimits limits;
  limits.now = std::chrono::system_clock::from_time_t(now.get<std::time_t>());
  return limits;
}

std::string Fnv(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char byte : text) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3;
  return fmt::format("{:016x}", hash);
}

Json ContextOf(const Json& conversation) {
  Json context = {{"tools", nullptr}, {"documents", nullptr}, {"add_generation_prompt", false}};
  context.update(Goldens()["tokens"]);
  context.update(conversation);
  return context;
}

TEST(ChatTemplateGolden, RealTemplatesWriteWhatTransformersWrites) {
  const RenderLimits limits = LimitsAt(Goldens()["now"]);
  size_t renderings = 0;
  for (const auto& [file, results] : Goldens()["templates"].items()) {
    const auto parsed = ChatTemplate::Parse(ReadFile(kData + file), file);
    ASSERT_TRUE(parsed.ok()) << Message(parsed.status());
    for (const auto& [name, expected] : results.items()) {
      const auto rendered = (*parsed)->Render(ContextOf(Goldens()["conversations"][name]), limits);
      const std::string got = rendered.ok() ? Fnv(rendered->text) : "raises";
      EXPECT_EQ(got, expected.get<std::string>())
          << file << " with " << name << ":\n"
          << (rendered.ok() ? rendered->text : std::string(Message(rendered.status())));
      ++renderings;
    }
  }
  EXPECT_GE(renderings, 60u * 29u);
}

TEST(ChatTemplateGolden, TheLanguageIsJinja) {
  const Json language = Json::parse(ReadFile(kData + "language.json"));
  const RenderLimits limits = LimitsAt(language["now"]);
  ASSERT_GE(language["snippets"].size(), 500u);
  for (const Json& snippet : language["snippets"]) {
    const std::string source = snippet[0].get<std::string>();
    const auto parsed = ChatTemplate::Parse(source, "snippet");
    const absl::StatusOr<ChatTemplate::Rendered> rendered =
        parsed.ok() ? (*parsed)->Render(language["variables"], limits)
                    : absl::StatusOr<ChatTemplate::Rendered>(parsed.status());
    if (snippet[1].is_null()) {
      EXPECT_FALSE(rendered.ok()) << source << " gives " << rendered->text;
    } else {
      ASSERT_TRUE(rendered.ok()) << source << "\n" << Message(rendered.status());
      EXPECT_EQ(rendered->text, snippet[1].get<std::string>()) << source;
    }
  }
}

// With text that holds no special token, the safe way of encoding gives Transformers' ids.
TEST(ChatTemplateGolden, IdsAreThoseOfTransformers) {
  size_t compared = 0;
  for (const Json& row : Goldens()["ids"]) {
    const std::string name = row[0].get<std::string>();
    const auto tokenizer =
        Tokenizer::Load(name == "demo" ? FOLKMOOT_SOURCE_DIR "/models/demo-kjv/tokenizer.json"
                                       : FOLKMOOT_TEST_DATA "/tokenizers/" + name + ".json");
    ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    const auto parsed = ChatTemplate::Parse(row[1].get<std::string>(), name);
    ASSERT_TRUE(parsed.ok()) << Message(parsed.status());
    Json context = Goldens()["conversations"][row[2].get<std::string>()];
    if (!context.contains("add_generation_prompt")) context["add_generation_prompt"] = false;
    const auto rendered = (*parsed)->Render(context);
    ASSERT_TRUE(rendered.ok()) << Message(rendered.status());
    Tokenizer::EncodeOptions options{.add_special_tokens = false};
    options.special_ranges = rendered->trusted;
    const auto ids = (*tokenizer)->Encode(rendered->text, options);
    ASSERT_TRUE(ids.ok()) << Message(ids.status());
    EXPECT_EQ(*ids, row[3].get<std::vector<int32_t>>()) << name << ": " << rendered->text;
    ++compared;
  }
  EXPECT_GE(compared, 40u);
}

}  // namespace
}  // namespace folkmoot
