// SPDX-License-Identifier: Apache-2.0
// Random gates on random logits against tools/make_gate_goldens.py, an independent implementation
// in float64. The format of the file is explained there.
#include "gtest/gtest.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

using Json = nlohmann::json;

std::string Letters(const GateDecisions& decisions) {
  std::string letters;
  for (const std::string& state : decisions.state) {
    letters += state == "rerouted" ? 'm' : state[0];
  }
  return letters;
}

TEST(GateRandomCases, AgreeWithTheIndependentImplementation) {
  const Json cases = ReadTestJson("gates/random_cases.json");
  ASSERT_GE(cases.size(), 400u);
  size_t index = 0;
  for (const Json& test : cases) {
    SCOPED_TRACE(fmt::format("case {}: gate {}", index++, test["gate"].dump()));
    const GateConfig config = MustParse(test["gate"].dump());
    const GateRows rows = RowsOfCase(test);
    const GateDecisions got = RouteRows(config, rows);
    EXPECT_EQ(got.expert, test["expert"].get<std::vector<int32_t>>());
    EXPECT_EQ(Letters(got), test["state"]);
    EXPECT_EQ(got.place, test["pos"].get<std::vector<int32_t>>());
    int64_t real = rows.rows;
    for (const uint8_t valid : rows.valid) real -= valid == 0 ? 1 : 0;
    const auto capacity = config.Capacity(config.NeedsChunkCounters() ? config.group_size : real);
    EXPECT_EQ(capacity ? Json(*capacity) : Json(), test["capacity"]);
    ASSERT_EQ(got.weight.size(), test["weight"].size());
    for (size_t c = 0; c < got.weight.size(); ++c) {
      const double want = test["weight"][c];
      EXPECT_NEAR(got.weight[c], want, 1e-6 * std::max(1.0, std::abs(want))) << c;
    }
    if (HasFailure()) break;  // one case is enough to read
  }
}

// The file must reach every value of every knob, or the comparison above proves less than it says.
TEST(GateRandomCases, CoverTheKnobs) {
  std::string text;
  for (const Json& test : ReadTestJson("gates/random_cases.json")) text += test.dump();
  for (const char* value : {"sigmoid",
                            "sqrt_softplus",
                            "\"logits\"",
                            "\"select_on\":\"logit\"",
                            "softmax_selected",
                            "router_bias",
                            "selection_bias",
                            "token_table",
                            "sum_top2",
                            "sum_topn",
                            "group_fill",
                            "before_drop",
                            "after_drop",
                            "clamp",
                            "\"extra_policy\":\"none\"",
                            "threshold",
                            "\"extra_policy\":\"random\"",
                            "sample",
                            "\"raw\"",
                            "rejected_consumes",
                            "fixed",
                            "fraction",
                            "ceil_k",
                            "floor",
                            "round",
                            "k_ceil",
                            "k_floor_ceil",
                            "ceil_k_div",
                            "k_div",
                            "min_capacity",
                            "capacity_multiple",
                            "sequence_chunk",
                            "\"rank\"",
                            "token_major",
                            "batch_prioritized",
                            "weight_desc",
                            "\"priority\":\"random\"",
                            "passthrough",
                            "reroute",
                            "scale",
                            "bf16",
                            "uniforms",
                            "valid"}) {
    EXPECT_NE(text.find(value), std::string::npos) << value;
  }
}

}  // namespace
}  // namespace folkmoot
