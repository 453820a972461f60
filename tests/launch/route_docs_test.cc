// SPDX-License-Identifier: Apache-2.0
// docs/gates.md says what its commands print; this runs them. In a ```console block a line that
// begins with "$ " is a command and the lines up to the next one are its output:
//   $ cat F                                    what follows is the content of the file F
//   $ folkmoot route --gate G [--input F]      routed; quotes as in a shell
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

#include "gtest/gtest.h"
#include "launch/commands/route_command.h"

namespace folkmoot {
namespace {

struct Step {
  int line = 0;
  std::string command;
  std::string output;
};

std::vector<Step> ReadSteps(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::vector<Step> steps;
  bool inside = false;
  std::string text;
  for (int line = 1; std::getline(file, text); ++line) {
    if (text.rfind("```", 0) == 0) {
      inside = !inside && text == "```console";
    } else if (inside && text.rfind("$ ", 0) == 0) {
      steps.push_back({line, text.substr(2), ""});
    } else if (inside && !steps.empty()) {
      steps.back().output += text + "\n";
    }
  }
  return steps;
}

// Words of a command; single quotes group.
std::vector<std::string> Words(const std::string& command) {
  std::vector<std::string> words;
  bool quoted = false;
  bool open = false;
  for (const char c : command) {
    if (c == '\'') {
      quoted = !quoted;
      if (!open) words.emplace_back();
      open = true;
    } else if (c == ' ' && !quoted) {
      open = false;
    } else {
      if (!open) words.emplace_back();
      open = true;
      words.back() += c;
    }
  }
  return words;
}

std::string RunRoute(const std::vector<std::string>& words,
                     std::map<std::string, std::string>& files) {
  std::string gate, input;
  for (size_t i = 2; i + 1 < words.size(); i += 2) {
    if (words[i] == "--gate") gate = words[i + 1];
    if (words[i] == "--input") input = words[i + 1];
  }
  EXPECT_TRUE(files.count(input) == 1) << "no such file in the document: " << input;
  if (files.count(gate) == 1) gate = files[gate];
  auto router = LineRouter::Create(gate);
  if (!router.ok()) return "folkmoot: error: " + std::string(Message(router.status())) + "\n";
  std::istringstream in(files[input]);
  std::ostringstream out;
  const absl::Status status = router->RouteAll(in, input, out);
  if (status.ok()) return out.str();
  return out.str() + "folkmoot: error: " + std::string(Message(status)) + "\n";
}

TEST(RouteDocs, EveryExamplePrintsWhatTheDocumentSays) {
  const std::vector<Step> steps = ReadSteps(std::string(FOLKMOOT_SOURCE_DIR) + "/docs/gates.md");
  std::map<std::string, std::string> files;
  int routed = 0;
  for (const Step& step : steps) {
    const std::vector<std::string> words = Words(step.command);
    ASSERT_GE(words.size(), 2u) << step.line;
    if (words[0] == "cat") {
      files[words[1]] = step.output;
      continue;
    }
    ASSERT_EQ(words[0] + " " + words[1], "folkmoot route") << "docs/gates.md:" << step.line;
    EXPECT_EQ(RunRoute(words, files), step.output) << "docs/gates.md:" << step.line;
    ++routed;
  }
  EXPECT_GE(routed, 8);
}

}  // namespace
}  // namespace folkmoot
