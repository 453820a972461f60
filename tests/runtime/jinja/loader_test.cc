// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/jinja/chat_template.h"

namespace folkmoot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ChatTemplateLoader : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "chat_template_loader";
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_ + "/additional_chat_templates");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name) << text;
  }
  std::string Standard() const {
    const auto templates = LoadChatTemplates(directory_);
    if (!templates.ok()) return std::string(Message(templates.status()));
    const auto rendered = templates->For(false).Render({{"x", "1"}});
    return rendered.ok() ? rendered->text : std::string(Message(rendered.status()));
  }

  std::string directory_;
};

TEST_F(ChatTemplateLoader, StringInTheConfiguration) {
  Write("tokenizer_config.json",
        R"({"chat_template":"{{ bos_token }}{{ x }}{{ eos_token }}{{ pad_token is defined }}",
            "bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false},"pad_token":null})");
  EXPECT_EQ(Standard(), "<s>1</s>False");
}

TEST_F(ChatTemplateLoader, TheFileWinsOverTheConfiguration) {
  Write("tokenizer_config.json", R"({"chat_template":"config","bos_token":"<s>"})");
  Write("special_tokens_map.json", R"({"bos_token":"<old>","unk_token":{"content":"<unk>"}})");
  Write("chat_template.jinja", "file {{ bos_token }}{{ unk_token }}\n");
  EXPECT_EQ(Standard(), "file <s><unk>");
}

TEST_F(ChatTemplateLoader, NamedTemplates) {
  Write(
      "tokenizer_config.json",
      R"({"chat_template":[{"name":"default","template":"plain"},{"name":"tool_use","template":"tools"},
            {"name":"rag","template":"{% broken"}]})");
  EXPECT_EQ(Standard(), "plain");
  const auto templates = LoadChatTemplates(directory_);
  EXPECT_EQ(templates->For(true).source(), "tools");
  Write("chat_template.jinja", "a");
  EXPECT_EQ(LoadChatTemplates(directory_)->For(true).source(), "a");
  Write("additional_chat_templates/tool_use.jinja", "b");
  EXPECT_EQ(LoadChatTemplates(directory_)->For(true).source(), "b");
}

TEST_F(ChatTemplateLoader, Errors) {
  EXPECT_EQ(LoadChatTemplates(directory_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Standard(), AllOf(HasSubstr(directory_), HasSubstr("no chat template")));
  Write("tokenizer_config.json", R"({"chat_template":null})");
  EXPECT_THAT(Standard(), HasSubstr("no chat template"));
  Write("tokenizer_config.json", R"({"chat_template":7})");
  EXPECT_THAT(Standard(), HasSubstr("must be a string or a list"));
  Write("tokenizer_config.json", R"({"chat_template":[{"name":"default"}]})");
  EXPECT_THAT(Standard(), HasSubstr("no \"name\" and \"template\""));
  Write("tokenizer_config.json", "{");
  EXPECT_THAT(Standard(), HasSubstr("not a JSON object"));
  Write("tokenizer_config.json", R"({"chat_template":"a\n{% if %}"})");
  EXPECT_THAT(Standard(),
              AllOf(HasSubstr("tokenizer_config.json: chat_template"), HasSubstr("line 2: ")));
}

}  // namespace
}  // namespace folkmoot
