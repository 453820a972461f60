// SPDX-License-Identifier: Apache-2.0
// weight_from=sparse_mixer against the published code of Phi-3.5-MoE, step by step in double.
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/gates/presets.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kMasked = -std::numeric_limits<double>::infinity();

struct Choice {
  int32_t expert = 0;
  double weight = 0.0;
};

// The greatest of `rest` and its part of the softmax over those that the ratio test leaves.
// `scores` are all logits, with those that were taken before.
Choice BestOf(const std::vector<double>& scores, const std::vector<double>& rest, double noise) {
  const auto best = std::max_element(rest.begin(), rest.end());
  const auto at = static_cast<size_t>(best - rest.begin());
  std::vector<double> masked = rest;
  for (size_t e = 0; e < scores.size(); ++e) {
    const double factor = std::max(std::abs(scores[e]), *best);
    if ((*best - scores[e]) / factor > 2 * noise) masked[e] = kMasked;
  }
  double sum = 0.0;
  for (const double score : masked) sum += std::exp(score - *best);
  return {static_cast<int32_t>(at), std::exp(masked[at] - *best) / sum};
}

std::array<Choice, 2> Published(std::span<const float> logits, double noise) {
  const std::vector<double> scores(logits.begin(), logits.end());
  const Choice first = BestOf(scores, scores, noise);
  std::vector<double> rest = scores;
  rest[static_cast<size_t>(first.expert)] = kMasked;
  return {first, BestOf(scores, rest, noise)};
}

GateConfig Mixer(int experts, double noise) {
  GateConfig config = *MakePreset("phimoe", experts);
  config.mixer_eps = noise;
  return config;
}

void ExpectPublished(const GateRows& rows, int experts, double noise) {
  const GateDecisions got = RouteRows(Mixer(experts, noise), rows);
  const auto width = static_cast<size_t>(experts);
  for (size_t row = 0; row < static_cast<size_t>(rows.rows); ++row) {
    SCOPED_TRACE(fmt::format("noise {} row {}", noise, row));
    const auto want = Published(std::span(rows.logits).subspan(row * width, width), noise);
    for (size_t j = 0; j < 2; ++j) {
      EXPECT_EQ(got.expert[2 * row + j], want[j].expert);
      EXPECT_NEAR(got.weight[2 * row + j], want[j].weight, 1e-7);
    }
  }
}

TEST(SparseMixer, EqualsThePublishedCode) {
  for (const int experts : {2, 6, 16}) {
    for (const float spread : {0.02f, 1.5f, 20.0f}) {
      const GateRows rows = RandomRows(200, experts, 17, spread);
      for (const double noise : {0.0, 0.01, 0.1, 0.4, 1.0}) ExpectPublished(rows, experts, noise);
    }
  }
}

TEST(SparseMixer, LogitsOfOneSign) {
  GateRows rows = RandomRows(200, 8, 23, 0.3f);
  for (float& logit : rows.logits) logit = -5.0f + logit;
  for (const double noise : {0.01, 0.05, 0.2}) ExpectPublished(rows, 8, noise);
  for (float& logit : rows.logits) logit += 10.0f;
  for (const double noise : {0.01, 0.05, 0.2}) ExpectPublished(rows, 8, noise);
}

// 0 / 0 is no distance, ties go to the lower expert, and a clear choice weighs 1.
TEST(SparseMixer, EdgesOfTheRatio) {
  const auto route = [](const char* logits) {
    return RouteRows(Mixer(4, 0.01), RowsOf(nlohmann::json::parse(logits)));
  };
  const GateDecisions zeros = route("[[0, 0, 0, 0]]");
  EXPECT_THAT(zeros.expert, ElementsAre(0, 1));
  EXPECT_THAT(zeros.weight, ElementsAre(0.25f, 1.0f / 3.0f));
  const GateDecisions ties = route("[[1, 3, 3, -3]]");
  EXPECT_THAT(ties.expert, ElementsAre(1, 2));
  EXPECT_THAT(ties.weight, ElementsAre(0.5f, 1.0f));
  const GateDecisions clear = route("[[0, -1, -2, -3]]");
  EXPECT_THAT(clear.expert, ElementsAre(0, 1));
  EXPECT_THAT(clear.weight, ElementsAre(1.0f, 1.0f));
  // 1500 below the best, where a softmax over all would be 0 for both of the others.
  const GateDecisions far = route("[[1000, -900, -500, -800]]");
  EXPECT_THAT(far.expert, ElementsAre(0, 2));
  EXPECT_THAT(far.weight, ElementsAre(1.0f, 1.0f));
}

// Other knobs see its weights as they see any.
TEST(SparseMixer, LaterStages) {
  const GateRows rows = RowsOf(nlohmann::json::parse("[[1, 0.99, 0.985, -1]]"));
  GateConfig config = Mixer(4, 0.01);
  const GateDecisions plain = RouteRows(config, rows);
  config.normalize = Normalize::kBeforeDrop;
  config.scale = 2.0;
  const GateDecisions normed = RouteRows(config, rows);
  for (size_t j = 0; j < 2; ++j) {
    EXPECT_NEAR(normed.weight[j], 2 * plain.weight[j] / (plain.weight[0] + plain.weight[1]), 1e-6);
  }
  config = Mixer(4, 0.01);
  config.extra_policy = ExtraPolicy::kThreshold;
  config.extra_gate = ExtraGate::kRaw;
  EXPECT_THAT(RouteRows(config, rows).state, ElementsAre("kept", "kept"));  // weighs 0.5 and a bit
  config.extra_threshold = 0.6;
  EXPECT_THAT(RouteRows(config, rows).state, ElementsAre("kept", "rejected"));
}

TEST(SparseMixer, RefusesOtherChoices) {
  const auto error = [](const std::string& overrides) {
    GateConfig config = *MakePreset("phimoe", 8);
    EXPECT_TRUE(ApplyOverrides(overrides, &config).ok()) << overrides;
    return std::string(Message(config.Validate()));
  };
  EXPECT_EQ(error("mixer_eps=0"), "");
  EXPECT_THAT(error("mixer_eps=-0.1"), HasSubstr("mixer_eps=-0.1"));
  EXPECT_THAT(error("top_k=1"), HasSubstr("sparse_mixer needs top_k=2"));
  EXPECT_THAT(error("score_fn=logits"), HasSubstr("needs score_fn=softmax"));
  EXPECT_THAT(error("select_on=score"), HasSubstr("needs select_on=logit"));
  EXPECT_THAT(error("selection_bias=[0,0,0,0,0,0,0,1]"), HasSubstr("needs selection_bias=null"));
  EXPECT_THAT(error("n_group=2,topk_group=1"), HasSubstr("needs n_group=1"));
  EXPECT_THAT(error("extra_policy=sample"), HasSubstr("extra_policy other than sample"));
  EXPECT_THAT(error("zero_experts=2"), HasSubstr("needs zero_experts=0"));
  GateConfig table = *MakePreset("phimoe", 4);
  table.selection = Selection::kTokenTable;
  table.token_table = {0, 1};
  EXPECT_THAT(std::string(Message(table.Validate())), HasSubstr("needs selection=learned"));
}

}  // namespace
}  // namespace folkmoot
