// SPDX-License-Identifier: Apache-2.0
// Sparse attention of whole models is dense attention as long as a query sees all keys: bit for
// bit, that of DeepSeek-V3 with the same weights.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/engine_run.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A golden, of DeepSeek-V3.2 if not another, with another config.json.
class ChangedModel {
 public:
  explicit ChangedModel(const std::string& role, const std::string& golden = "deepseek_v32-classic")
      : golden_(std::string(FOLKMOOT_SOURCE_DIR) + "/tests/data/goldens/" + golden),
        directory_(fs::path(testing::TempDir()) / (role + std::to_string(getpid()))),
        config(json::parse(std::ifstream(golden_ / "config.json"))) {
    fs::copy(golden_, directory_);
  }
  ~ChangedModel() { fs::remove_all(directory_); }
  ChangedModel(const ChangedModel&) = delete;
  ChangedModel& operator=(const ChangedModel&) = delete;

  // A prompt of so many tokens and its continuation.
  RunOutcome Run(int prompt, int more) const {
    std::ofstream(directory_ / "config.json") << config.dump();
    RunSetup setup;
    setup.options.model = directory_.string();
    Request request;
    for (int i = 0; i < prompt; ++i) request.prompt.push_back(i * 7 % 90);
    request.max_tokens = more;
    request.sampling.temperature = 0;
    request.prompt_logprobs = true;
    request.layer_digests = true;
    request.trace_routing = true;
    const auto outcomes = RunRequests(setup, {request});
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    return outcomes.ok() ? outcomes->front() : RunOutcome();
  }

 private:
  fs::path golden_;
  fs::path directory_;

 public:
  json config;
};

RunOutcome Dense(int prompt, int more) {
  ChangedModel dense("dense");
  dense.config["architectures"] = {"DeepseekV3ForCausalLM"};
  dense.config["model_type"] = "deepseek_v3";
  for (const char* key : {"index_topk", "index_n_heads", "index_head_dim"}) dense.config.erase(key);
  return dense.Run(prompt, more);
}

TEST(SparseModel, IsDeepseekV3WhereAllKeysAreSeen) {
  ChangedModel sparse("sparse");
  const RunOutcome dense = Dense(60, 20);
  ASSERT_EQ(std::ssize(dense.tokens), 20);
  ASSERT_FALSE(dense.layer_digests.empty());
  for (const int most : {79, 80, 2048}) {  // the last token is not read
    sparse.config["index_topk"] = most;
    EXPECT_TRUE(sparse.Run(60, 20) == dense) << most;
  }
  sparse.config["index_topk"] = 78;
  EXPECT_FALSE(sparse.Run(60, 20) == dense);
}

// The golden's queries see eight keys.
TEST(SparseModel, IsDeepseekV3AsLongAsSequencesAreShort) {
  ChangedModel sparse("sparse");
  EXPECT_TRUE(sparse.Run(5, 4) == Dense(5, 4));
  const RunOutcome longer = sparse.Run(60, 1);
  const RunOutcome dense = Dense(60, 1);
  ASSERT_EQ(longer.prompt_logprobs.size(), dense.prompt_logprobs.size());
  for (size_t i = 0; i < longer.prompt_logprobs.size(); ++i) {
    const bool same = longer.prompt_logprobs[i] == dense.prompt_logprobs[i];
    if (i < 8) {  // what the first eight queries say of the tokens behind them
      EXPECT_TRUE(same) << i;
    } else if (i >= 20) {
      EXPECT_FALSE(same) << i;
    }
  }
}

// MiniMax-M3: 20 blocks of 4 keys are all 80, and none is left out where 79 tokens are read.
TEST(SparseModel, ChoosesNothingWhereAllBlocksAreSeen) {
  ChangedModel sparse("blocks", "minimax_m3_vl_text-classic");
  const auto run = [&sparse](int size, int blocks) {
    sparse.config["index_block_size"] = size;
    sparse.config["index_topk_blocks"] = blocks;
    return sparse.Run(60, 20);
  };
  const RunOutcome all = run(128, 16);
  ASSERT_EQ(std::ssize(all.tokens), 20);
  ASSERT_FALSE(all.layer_digests.empty());
  EXPECT_TRUE(run(4, 20) == all);
  EXPECT_TRUE(run(79, 1) == all);
  EXPECT_FALSE(run(4, 19) == all);
  EXPECT_FALSE(run(78, 1) == all);
}

}  // namespace
}  // namespace folkmoot
