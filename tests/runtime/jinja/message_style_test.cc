// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/message_style.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "runtime/jinja/chat_template.h"

namespace folkmoot {
namespace {

MessageStyle Of(const std::string& source) {
  const auto parsed =
      ChatTemplate::Parse(source, "template", {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? StyleOf(**parsed) : MessageStyle();
}

// A template with this text for the arguments of a call, in messages for which `when` holds.
std::string Showing(const std::string& arguments, const std::string& when = "true") {
  return "{% for m in messages %}{% if m.role == 'assistant' and " + when +
         " %}{% for c in m.tool_calls %}{{ " + arguments +
         " }}{% endfor %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
}

TEST(MessageStyle, IsWhatShowsTheCall) {
  const std::string arguments = "c.function.arguments";
  EXPECT_FALSE(Of(Showing(arguments + " | tojson")).arguments_as_text);
  EXPECT_FALSE(Of(Showing(arguments + ".probe_key")).arguments_as_text);
  EXPECT_FALSE(Of("{{ messages[0].content }}").arguments_as_text);
  // A string plus an object is an error, and an object printed has Python's quotes.
  EXPECT_TRUE(Of(Showing("'x' + " + arguments)).arguments_as_text);
  EXPECT_TRUE(Of(Showing(arguments)).arguments_as_text);
  EXPECT_FALSE(Of(Showing(arguments)).null_content);
  // As DeepSeek-V3's: what is not none is shown as text, and the calls are not.
  const MessageStyle deepseek = Of(Showing("'x' + " + arguments, "m.content is none"));
  EXPECT_TRUE(deepseek.arguments_as_text);
  EXPECT_TRUE(deepseek.null_content);
  const MessageStyle none = Of(Showing("c.nothing"));
  EXPECT_FALSE(none.arguments_as_text);
  EXPECT_FALSE(none.null_content);
}

TEST(MessageStyle, OfPublishedTemplates) {
  const std::set<std::string> wants_text = {"llama.cpp-meetkai-functionary-medium-v3.2.jinja",
                                            "trl-deepseekv3.jinja"};
  int count = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(FOLKMOOT_TEST_DATA "/chat_templates")) {
    if (file.path().extension() != ".jinja") continue;
    std::ifstream stream(file.path(), std::ios::binary);
    const MessageStyle style = Of({std::istreambuf_iterator<char>(stream), {}});
    EXPECT_EQ(style.arguments_as_text, wants_text.contains(file.path().filename().string()))
        << file.path();
    EXPECT_FALSE(style.null_content) << file.path();
    ++count;
  }
  EXPECT_EQ(count, 62);
}

}  // namespace
}  // namespace folkmoot
