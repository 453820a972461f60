// SPDX-License-Identifier: Apache-2.0
// Model directories that are broken in one place each: all are refused, with one status and a
// message that names the file and the culprit. `known` is the published fault that a row is after.
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "layers/models/load_config.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/jinja/chat_template.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/layers/config/broken_models.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

// What is read before a model is computed with: its shape, its tokenizer, its chat template, once
// used, and the headers of its weights.
absl::Status OpenAll(const std::string& model) {
  const auto config = LoadModelConfig(model);
  if (!config.ok()) return config.status();
  const auto tokenizer = Tokenizer::OfModel(model);
  if (!tokenizer.ok()) return tokenizer.status();
  const auto templates = LoadChatTemplates(model);
  if (!templates.ok()) return templates.status();
  const auto context = nlohmann::ordered_json::parse(
      R"({"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": true})");
  const auto rendered = templates->standard->Render(context);
  if (!rendered.ok()) return rendered.status();
  return Checkpoint::Open(model).status();
}

class BrokenModels : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  // The good model with the files of `broken` in place of its own.
  std::string Make(const BrokenModel& broken) {
    const fs::path model = root_ / "model";
    fs::remove_all(model);
    fs::create_directories(model);
    ModelFiles files = GoodModel();
    for (const auto& [name, contents] : broken.files) files[name] = contents;
    for (const std::string& name : broken.missing) files.erase(name);
    for (const auto& [name, contents] : files) {
      std::ofstream(model / name, std::ios::binary) << contents;
    }
    return model.string();
  }

  const fs::path root_ = fs::path(testing::TempDir()) / "broken_models";
};

TEST_F(BrokenModels, TheBaseIsGood) {
  const absl::Status status = OpenAll(Make({}));
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(BrokenModels, EachIsRefusedAndNamed) {
  const std::vector<BrokenModel> table = AllBrokenModels();
  EXPECT_GE(table.size(), 250u);
  RecordProperty("models", static_cast<int>(table.size()));
  // Some name all architectures.
  const size_t longest = fmt::format("{}", fmt::join(KnownArchitectures(), ", ")).size() + 250;
  for (const BrokenModel& broken : table) {
    SCOPED_TRACE(broken.name + " " + broken.known);
    const std::string model = Make(broken);
    const auto start = std::chrono::steady_clock::now();
    const absl::Status status = OpenAll(model);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(status.code(), broken.code) << status;
    const std::string message(Message(status));
    for (const std::string& part : broken.named) EXPECT_THAT(message, testing::HasSubstr(part));
    EXPECT_LT(message.size(), longest) << "the message repeats the file";
    EXPECT_LT(took.count(), 10) << "seconds";
  }
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 1 << 20) << "kilobytes";
}

}  // namespace
}  // namespace folkmoot
