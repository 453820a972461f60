// SPDX-License-Identifier: Apache-2.0
// Shared experts whose scores are part of the sum that weights are divided by (Inkling).
#include <cmath>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "layers/gates/presets.h"
#include "layers/moe_router.h"
#include "parallel/thread_communicator.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

constexpr int kExperts = 6;
constexpr int kSinks = 2;

GateConfig Gate(const std::string& more = "") {
  return MustParse(R"({"num_experts":6,"top_k":2,"score_fn":"sigmoid","normalize":"before_drop",
                       "shared":true,"shared_sinks":2,"scale":8)" +
                   more + "}");
}

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

TEST(SharedSinks, TakePartInTheSum) {
  const GateRows rows = RandomRows(20, kExperts + kSinks, 3);
  const GateDecisions got = RouteRows(Gate(), rows);
  const auto logit = [&](size_t row, size_t output) {
    return static_cast<double>(rows.logits[row * (kExperts + kSinks) + output]);
  };
  ASSERT_EQ(got.shared.size(), 20u * kSinks);
  for (size_t t = 0; t < 20; ++t) {
    double sum = 0;
    for (size_t k = 0; k < 2; ++k) {
      ASSERT_LT(got.expert[2 * t + k], kExperts);  // no shared expert is chosen
      sum += Sigmoid(logit(t, static_cast<size_t>(got.expert[2 * t + k])));
    }
    for (size_t s = 0; s < kSinks; ++s) sum += Sigmoid(logit(t, kExperts + s));
    for (size_t k = 0; k < 2; ++k) {
      const double own = Sigmoid(logit(t, static_cast<size_t>(got.expert[2 * t + k])));
      EXPECT_NEAR(got.weight[2 * t + k], 8 * own / sum, 1e-6);
    }
    for (size_t s = 0; s < kSinks; ++s) {
      EXPECT_NEAR(got.shared[t * kSinks + s], 8 * Sigmoid(logit(t, kExperts + s)) / sum, 1e-6);
    }
  }
}

// Choices are those of the gate without them, of the same logits of experts.
TEST(SharedSinks, ChangeNoChoice) {
  const GateRows rows = RandomRows(20, kExperts + kSinks, 4);
  GateRows alone = rows;
  alone.logits.clear();
  for (size_t t = 0; t < 20; ++t) {
    const auto row = rows.logits.begin() + static_cast<std::ptrdiff_t>(t) * (kExperts + kSinks);
    alone.logits.insert(alone.logits.end(), row, row + kExperts);
  }
  for (const char* more : {"", R"(,"selection_bias":[0.3,0,-0.3,0.1,0,0])",
                           R"(,"capacity":"fixed","capacity_fixed":5)"}) {
    GateConfig without = Gate(more);
    without.shared_sinks = 0;
    const GateDecisions got = RouteRows(Gate(more), rows);
    const GateDecisions wanted = RouteRows(without, alone);
    EXPECT_EQ(got.expert, wanted.expert) << more;
    EXPECT_EQ(got.state, wanted.state) << more;
    EXPECT_TRUE(wanted.shared.empty());
  }
}

// All scores together are 1, however few of them are experts', and whoever was dropped.
TEST(SharedSinks, AfterSoftmaxAndDrops) {
  const GateRows rows = RandomRows(16, kExperts + kSinks, 5);
  GateConfig config = Gate(R"(,"capacity":"fixed","capacity_fixed":3)");
  config.score_fn = ScoreFn::kSoftmax;
  config.normalize = Normalize::kAfterDrop;
  config.scale = 1;
  for (const Overflow overflow : {Overflow::kResidual, Overflow::kReroute}) {
    config.overflow = overflow;
    const GateDecisions got = RouteRows(config, rows);
    for (size_t t = 0; t < 16; ++t) {
      const float sum =
          got.weight[2 * t] + got.weight[2 * t + 1] + got.shared[2 * t] + got.shared[2 * t + 1];
      EXPECT_NEAR(sum, 1.0f, 1e-6f) << t;
    }
  }
}

// Sequences of one step whose gates differ have the weights that each has alone.
TEST(SharedSinks, OfRequestsWithGatesOfTheirOwn) {
  const GateRows rows = RandomRows(5, kExperts + kSinks, 6);
  GateConfig configs[] = {Gate(), Gate()};
  configs[1].top_k = 1;
  configs[1].scale = 2;
  const auto first = MakeGate(configs[0]);
  const auto second = MakeGate(configs[1]);
  ForwardBatch batch;
  batch.gates = {first.get(), second.get()};
  batch.token_ids.resize(5);
  batch.streams.resize(5);
  batch.sequences = {{.rows = 2, .gate = 1}, {.first_row = 2, .rows = 3, .gate = 0}};
  ThreadPool pool(1);
  Workspace workspace;
  const auto comms = MakeThreadCommunicators(1);
  LayerContext ctx = {.pool = pool, .workspace = workspace, .experts = *comms[0]};
  MoeRouter router(0, 0, *first);
  const auto routing = router.Route(ctx, batch, {rows.logits.data(), 5, kExperts + kSinks});
  ASSERT_TRUE(routing.ok()) << routing.status();
  for (size_t t = 0; t < 5; ++t) {
    const GateDecisions alone =
        RouteRows(configs[t < 2 ? 1 : 0], Slice(rows, static_cast<int64_t>(t), 1));
    EXPECT_EQ(routing->expert[2 * t], alone.expert[0]);
    for (int s = 0; s < kSinks; ++s) {
      EXPECT_EQ(routing->SharedWeights(s)[t], alone.shared[static_cast<size_t>(s)]) << t;
    }
  }
}

TEST(SharedSinks, APresetHasThem) {
  const GateConfig config = *MakePreset("inkling", 64);
  EXPECT_EQ(config.outputs(), 66);
  EXPECT_TRUE(config.PrefixCacheable());
  const GateDecisions got = RouteRows(config, RandomRows(3, 66, 7));
  const float sum = std::accumulate(got.weight.begin(), got.weight.end(), 0.0f) +
                    std::accumulate(got.shared.begin(), got.shared.end(), 0.0f);
  EXPECT_NEAR(sum, 3 * 8.0f, 1e-4f);
}

}  // namespace
}  // namespace folkmoot
