// SPDX-License-Identifier: Apache-2.0
// Forms of the output in a whole engine: what else a request asks for never stands in their way.
#include <gtest/gtest.h>

#include "runtime/grammar/grammar_compiler.h"
#include "tests/support/engine_run.h"

namespace folkmoot {
namespace {

class EngineConstraint : public testing::Test {
 protected:
  EngineConstraint() {
    setup_.options.model = std::string(FOLKMOOT_SOURCE_DIR) + "/models/demo-kjv";
    setup_.ranks = 2;
    auto tokenizer = Tokenizer::Load(setup_.options.model + "/tokenizer.json");
    if (!tokenizer.ok()) ADD_FAILURE() << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    end_ = *tokenizer_->eos_id();
    compiler_ = std::make_unique<GrammarCompiler>(*tokenizer_, 4096, std::vector<int32_t>{end_});
  }

  Request Ask(std::shared_ptr<const TokenConstraint> form) const {
    Request request;
    request.prompt = *tokenizer_->Encode("And God said");
    request.max_tokens = 40;
    request.stop_ids = {end_};
    request.constraint = std::move(form);
    return request;
  }
  RunOutcome Run(const Request& request) {
    const auto outcomes = RunRequests(setup_, {request});
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    return outcomes.ok() ? outcomes->front() : RunOutcome();
  }
  std::string Text(const RunOutcome& outcome) const {
    return tokenizer_->Decode(outcome.tokens, /*skip_special_tokens=*/true);
  }

  RunSetup setup_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<GrammarCompiler> compiler_;
  int32_t end_ = 0;
};

TEST_F(EngineConstraint, ACompleteFormEndsBeforeMinTokens) {
  Request request = Ask(*compiler_->Choice({"Let there be light"}));
  request.sampling.min_tokens = 30;
  request.sampling.suppressed_ids = {end_};
  const RunOutcome outcome = Run(request);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.finish, FinishReason::kStop);
  EXPECT_EQ(Text(outcome), "Let there be light");
  EXPECT_EQ(outcome.tokens.back(), end_);
}

TEST_F(EngineConstraint, MinTokensChooseAmongForms) {
  Request request = Ask(*compiler_->Regex("a{1,40}"));
  request.max_tokens = 60;
  request.sampling.min_tokens = 4;
  request.sampling.suppressed_ids = {end_};
  for (uint64_t seed = 0; seed < 4; ++seed) {
    request.sampling.seed = seed;
    const RunOutcome outcome = Run(request);
    EXPECT_EQ(outcome.finish, FinishReason::kStop);
    EXPECT_GT(outcome.tokens.size(), 4u) << "the form could go on";
    EXPECT_EQ(Text(outcome), std::string(Text(outcome).size(), 'a'));
  }
}

TEST_F(EngineConstraint, ACompleteFormEndsWithIgnoreEos) {
  Request request = Ask(*compiler_->Choice({"Let there be light"}));
  request.stop_ids = {};  // ignore_eos
  request.sampling.min_tokens = 30;
  const RunOutcome outcome = Run(request);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.finish, FinishReason::kStop);
  EXPECT_EQ(Text(outcome), "Let there be light");
}

}  // namespace
}  // namespace folkmoot
