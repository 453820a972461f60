// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "layers/gates/placement.h"
#include "layers/gates/presets.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

// What a token does to the counters can be told from its routing.
TEST(CountClaims, GivesTheCountersOfRouting) {
  for (const std::string policy :
       {"extra_policy=all", "extra_policy=threshold,extra_threshold=0.3",
        "extra_policy=threshold,extra_threshold=0.3,rejected_consumes=true"}) {
    GateConfig config = *MakePreset("mixtral", 6);
    const absl::Status status =
        ApplyOverrides(policy +
                           ",capacity=ceil_k,capacity_factor=0.8,group=sequence_chunk,"
                           "group_size=7,priority=token_major",
                       &config);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(config.invariance().kind, InvarianceClass::kSequenceChunkCausal);
    const GateRows rows = RandomRows(40, 6, 3);
    std::vector<int32_t> taken(6, 0);
    std::vector<int32_t> counted(6, 0);
    for (int64_t row = 0; row < rows.rows; ++row) {
      const GateDecisions got = RouteRows(config, Slice(rows, row, 1), &taken);
      std::vector<SlotState> states;
      for (const std::string& state : got.state) {
        states.push_back(state == "kept"       ? SlotState::kKept
                         : state == "overflow" ? SlotState::kOverflow
                                               : SlotState::kRejected);
      }
      CountClaims(config, row, got.expert, states, counted);
      EXPECT_EQ(counted, taken) << policy << ", row " << row;
    }
  }
}

}  // namespace
}  // namespace folkmoot
