// SPDX-License-Identifier: Apache-2.0
// A layer that has a table of its own for the experts of each token (GateInput::token_table).
#include <vector>

#include "gtest/gtest.h"
#include "parallel/thread_communicator.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kTableExperts = 3;
const std::vector<int32_t> kLayerTable = {5, 1, 2, 0, 4, 3, 2, 5, 0};  // of three tokens

GateConfig GateOver(int top_k) {
  return MustParse(fmt::format(
      R"({{"num_experts":6,"top_k":{},"score_fn":"sqrt_softplus","normalize":"before_drop"}})",
      top_k));
}

GateDecisions RouteWithTable(const GateConfig& config, const GateRows& rows) {
  const std::vector<int64_t> widths = {kTableExperts};
  const std::vector<GateSequence> sequence = {{.rows = rows.rows}};
  Workspace workspace;
  const auto comms = MakeThreadCommunicators(1);
  const auto routing = MakeGate(config, widths)
                           ->Route({.logits = {rows.logits.data(), rows.rows, config.num_experts},
                                    .sequences = sequence,
                                    .token_ids = rows.token_ids,
                                    .top_k = kTableExperts,
                                    .token_table = kLayerTable,
                                    .token_experts = kTableExperts},
                                   *comms[0], workspace);
  EXPECT_TRUE(routing.ok()) << routing.status();
  GateDecisions result;
  if (!routing.ok()) return result;
  result.expert.assign(routing->expert.begin(), routing->expert.end());
  result.weight.assign(routing->weight.begin(), routing->weight.end());
  return result;
}

// What a gate with the first `top_k` columns of the table decides.
GateDecisions Wanted(int top_k, const GateRows& rows) {
  GateConfig config = GateOver(top_k);
  config.selection = Selection::kTokenTable;
  for (size_t at = 0; at < kLayerTable.size(); at += kTableExperts) {
    config.token_table.insert(config.token_table.end(), kLayerTable.begin() + at,
                              kLayerTable.begin() + at + top_k);
  }
  return RouteRows(config, rows);
}

TEST(LayerTable, SaysTheExpertsAndScoresWeigh) {
  GateRows rows = RandomRows(4, 6, 9);
  rows.token_ids = {2, 0, 1, 2};
  // A request may want fewer experts than the table has, and gets no more.
  for (const auto& [asked, got] :
       {std::pair{3, 3}, std::pair{2, 2}, std::pair{1, 1}, std::pair{5, 3}}) {
    const GateDecisions decided = RouteWithTable(GateOver(asked), rows);
    const GateDecisions wanted = Wanted(got, rows);
    EXPECT_EQ(decided.expert, wanted.expert) << asked;
    EXPECT_EQ(decided.weight, wanted.weight) << asked;
  }
}

TEST(LayerTable, AGateWithATableOfItsOwnKeepsIt) {
  GateRows rows = RandomRows(3, 6, 9);
  rows.token_ids = {0, 1, 2};
  GateConfig config = GateOver(1);
  config.selection = Selection::kTokenTable;
  config.token_table = {3, 3, 4};
  EXPECT_EQ(RouteWithTable(config, rows).expert, (std::vector<int32_t>{3, 3, 4}));
}

}  // namespace
}  // namespace folkmoot
