// SPDX-License-Identifier: Apache-2.0
// The device decides as the host does: the same experts, states, actions, places, counters and
// weights, bit for bit, for gates and rows of all kinds.
#include "layers/gpu/device_gate.h"

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "gtest/gtest.h"
#include "layers/gates/presets.h"
#include "tests/layers/gates/device_routing.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot {
namespace {

using Json = nlohmann::json;

class DeviceGateTest : public cuda::CudaTest {
 protected:
  // Routes on both sides, and on the device again without places where that is possible.
  void ExpectSame(const GateConfig& config, const GateRows& rows, int padding = 0,
                  const RoutedCounters& before = {}) {
    RoutedCounters host = before;
    RoutedCounters device = before;
    const RoutedRows want = RouteOnHost(config, rows, &host);
    const RoutedRows got = RouteOnDevice(stream(), config, rows, {padding, true}, &device);
    EXPECT_EQ(got.expert, want.expert);
    EXPECT_EQ(got.state, want.state);
    EXPECT_EQ(got.place, want.place);
    EXPECT_EQ(got.action, want.action);
    EXPECT_EQ(got.bad, want.bad);
    EXPECT_EQ(Bits(got.weight), Bits(want.weight));
    Count(config, want);
    EXPECT_EQ(device.taken, host.taken);
    EXPECT_EQ(device.pages, host.pages);
    if (config.CanDrop()) return;
    RoutedCounters none;
    RoutedRows direct = RouteOnDevice(stream(), config, rows, {padding, false}, &none);
    direct.place = want.place;
    EXPECT_EQ(direct, want);
  }
  // How often something came up, so that a test can tell what it has seen.
  std::map<std::string, int> seen_;

 private:
  static std::vector<uint32_t> Bits(const std::vector<float>& values) {
    std::vector<uint32_t> bits;
    for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
    return bits;
  }
  void Count(const GateConfig& config, const RoutedRows& rows) {
    for (size_t c = 0; c < rows.state.size(); ++c) {
      ++seen_[fmt::format("state {} action {}", rows.state[c], rows.action[c])];
    }
    for (const uint8_t bad : rows.bad) seen_["bad"] += bad;
    seen_[config.NeedsChunkCounters() ? "chunks" : config.CanDrop() ? "step" : "dropless"] += 1;
  }
};

GateRows InOneSequence(GateRows rows) {
  rows.sequences = {{.first_row = 0, .rows = rows.rows, .start = rows.start}};
  return rows;
}

TEST_F(DeviceGateTest, GoldenCases) {
  int on_device = 0;
  size_t index = 0;
  for (const Json& test : ReadTestJson("gates/random_cases.json")) {
    SCOPED_TRACE(fmt::format("case {}: gate {}", index++, test["gate"].dump()));
    const GateConfig config = MustParse(test["gate"].dump());
    if (!WhyNotOnDevice(config, 1, 0).empty()) continue;
    ++on_device;
    const GateRows rows = RowsOfCase(test);
    if (config.selection == Selection::kTokenTable && rows.token_ids.empty()) continue;
    ExpectSame(config, InOneSequence(rows), static_cast<int>(index % 3));
    if (HasFailure()) return;  // one case is enough to read
  }
  EXPECT_GT(on_device, 150);
}

TEST_F(DeviceGateTest, PresetsOnTheWorkedExamples) {
  const Json examples = ReadTestJson("gates/gating_examples.json");
  int on_device = 0;
  for (const GatePreset& preset : GatePresets()) {
    SCOPED_TRACE(std::string(preset.name));
    for (const char* example : {"1_gshard_top2_overflow", "5_deepseek_v3"}) {
      const GateRows rows = InOneSequence(RowsOf(examples[example]["logits"]));
      const auto experts = static_cast<int>(examples[example]["logits"][0].size());
      auto config = MakePreset(preset.name, experts);
      if (!config.ok()) continue;
      config->top_k = std::min(config->top_k, 2);
      config->n_group = config->n_group > 1 ? 4 : 1;
      config->topk_group = config->n_group > 1 ? 2 : 1;
      if (!config->Validate().ok() || !WhyNotOnDevice(*config, 1, 1 << 20).empty()) continue;
      ++on_device;
      ExpectSame(*config, rows);
    }
  }
  EXPECT_GT(on_device, 30);
}

TEST_F(DeviceGateTest, PresetsAtTheirPublishedSizes) {
  int on_device = 0;
  for (const GatePreset& preset : GatePresets()) {
    SCOPED_TRACE(std::string(preset.name));
    const GateConfig config = *MakePreset(preset.name);
    if (!WhyNotOnDevice(config, 1, 1 << 20).empty()) continue;
    ++on_device;
    ExpectSame(config, InOneSequence(RandomRows(6, config.num_experts, 11)), 2);
  }
  EXPECT_GT(on_device, 20);
}

// Softmax terms that differ by a bit or two, some of which the division makes equal: lower indices
// come first then, but not where terms differ still.
TEST_F(DeviceGateTest, NearlyTiedScores) {
  for (const int experts : {5, 33, 130, 256, 300, 513}) {
    for (const int k : {1, 4, 5}) {
      SCOPED_TRACE(fmt::format("{} of {}", k, experts));
      GateConfig config = MustParse(fmt::format(R"({{"num_experts":{},"top_k":{}}})", experts, k));
      GateRows rows = RandomRows(24, experts, static_cast<uint64_t>(experts));
      for (size_t i = 0; i < rows.logits.size(); ++i) {
        // Steps of half a unit in the last place of e^0.
        const auto steps = static_cast<float>(static_cast<int>(rows.logits[i] * 1e4f) % 4);
        rows.logits[i] = steps * 0x1p-53f;
      }
      ExpectSame(config, InOneSequence(rows));
      if (experts % 2 != 0) continue;
      config.n_group = 2;
      config.topk_group = 1;
      if (k <= experts / 2) ExpectSame(config, InOneSequence(rows));
    }
  }
}

// Knobs and rows by chance.
class CaseMaker {
 public:
  explicit CaseMaker(uint64_t seed) : engine_(seed) {}

  int Below(int n) { return static_cast<int>(engine_() % static_cast<uint64_t>(n)); }
  bool Chance(int percent) { return Below(100) < percent; }
  double Unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

  GateConfig Config() {
    GateConfig config;
    config.num_experts = Chance(80) ? 1 + Below(17) : 1 + Below(140);
    config.top_k = 1 + Below(std::min(config.num_experts, Chance(90) ? 4 : 32));
    config.router_dtype = Chance(25) ? RouterDtype::kBf16 : RouterDtype::kFp32;
    if (Chance(30)) config.router_bias = Vector(config.num_experts, 1.0);
    config.score_fn = static_cast<ScoreFn>(Below(4));
    config.select_on = static_cast<SelectOn>(Below(2));
    if (Chance(30)) config.selection_bias = Vector(config.num_experts, 0.5);
    Groups(&config);
    config.weight_from = static_cast<WeightFrom>(Below(2));
    config.normalize = static_cast<Normalize>(Below(3));
    config.norm_eps = Chance(50) ? 0.0 : Unit() * 0.2;
    config.norm_eps_mode = static_cast<NormEpsMode>(Below(2));
    config.extra_policy = static_cast<ExtraPolicy>(Below(config.top_k == 2 ? 5 : 4));
    config.extra_threshold = Unit();
    config.extra_gate = static_cast<ExtraGate>(Below(2));
    config.rejected_consumes = Chance(50);
    Capacity(&config);
    config.scale = Chance(50) ? 1.0 : 2.5;
    config.zero_experts = Chance(70) ? 0 : Below(config.num_experts + 1);
    config.seed = engine_();
    if (Chance(10)) TokenTable(&config);
    return config;
  }

  GateRows Rows(const GateConfig& config) {
    GateRows rows;
    rows.rows = Chance(90) ? Below(10) : Below(70);
    rows.layer = Below(64);
    const double spread = Chance(80) ? 3.0 : 60.0;
    const bool ties = Chance(20);
    for (int64_t i = 0; i < rows.rows * config.num_experts; ++i) {
      const double value = (Unit() * 2 - 1) * spread;
      rows.logits.push_back(static_cast<float>(ties ? std::round(value) : value));
    }
    for (int64_t row = 0; row < rows.rows; ++row) {
      rows.streams.push_back(engine_());
      rows.token_ids.push_back(Below(kTokenIds));
      if (Chance(3)) Spoil(config, &rows, row);
    }
    if (Chance(30)) {
      for (int64_t row = 0; row < rows.rows; ++row) rows.valid.push_back(Chance(80) ? 1 : 0);
    }
    if (Chance(25) && config.top_k > 1) {
      const int64_t width = Chance(50) ? 1 : config.top_k - 1;
      for (int64_t i = 0; i < rows.rows * width; ++i) {
        rows.uniforms.push_back(static_cast<float>(Below(1024)) / 1024);
      }
    }
    Sequences(&rows);
    return rows;
  }

  RoutedCounters Counters(const GateConfig& config, const GateRows& rows) {
    RoutedCounters counters;
    if (!config.NeedsChunkCounters()) return counters;
    // The host cuts slot_major groups at pages too, but nobody asks it to.
    if (config.priority == Priority::kTokenMajor && Chance(50)) counters.page_size = 1 + Below(6);
    for (size_t s = 0; s < rows.sequences.size(); ++s) {
      counters.taken.emplace_back();
      for (int e = 0; e < config.num_experts; ++e) counters.taken.back().push_back(Below(3));
    }
    return counters;
  }

 private:
  static constexpr int kTokenIds = 7;

  std::vector<float> Vector(int count, double spread) {
    std::vector<float> values;
    for (int i = 0; i < count; ++i) {
      values.push_back(static_cast<float>((Unit() * 2 - 1) * spread));
    }
    return values;
  }
  void Groups(GateConfig* config) {
    const int groups = 2 + Below(4);
    if (Chance(60) || config->num_experts % groups != 0) return;
    config->n_group = groups;
    config->topk_group = 1 + Below(groups);
    config->group_score = static_cast<GroupScore>(Below(3));
    if (config->top_k < config->topk_group) config->group_score = GroupScore::kSumTop2;
    if (config->top_k > config->topk_group * (config->num_experts / groups) || Chance(30)) {
      config->group_fill = 0.0;
    }
  }
  void Capacity(GateConfig* config) {
    config->capacity = Chance(40) ? CapacityMode::kNone : static_cast<CapacityMode>(1 + Below(9));
    config->capacity_factor = Unit() * 2;
    config->capacity_fixed = Below(4);
    config->min_capacity = Below(3);
    config->capacity_multiple = 1 + Below(3);
    config->group = static_cast<CapacityGroup>(Below(3));
    config->group_size = 1 + Below(8);
    config->priority = Chance(50) ? Priority::kSlotMajor : Priority::kTokenMajor;
    config->overflow = Chance(70) ? Overflow::kResidual : Overflow::kPassthrough;
  }
  void TokenTable(GateConfig* config) {
    config->selection = Selection::kTokenTable;
    for (int id = 0; id < kTokenIds; ++id) {
      const int first = Below(config->num_experts);
      for (int j = 0; j < config->top_k; ++j) {
        config->token_table.push_back((first + j) % config->num_experts);
      }
    }
  }
  void Spoil(const GateConfig& config, GateRows* rows, int64_t row) {
    const int64_t at = row * config.num_experts + Below(config.num_experts);
    const float values[] = {std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()};
    rows->logits[static_cast<size_t>(at)] = values[Below(3)];
  }
  // Cuts the rows into sequences, admitted in another order than they stand.
  void Sequences(GateRows* rows) {
    for (int64_t row = 0; row < rows->rows;) {
      const int64_t count = std::min<int64_t>(rows->rows - row, Below(Chance(50) ? 3 : 20));
      rows->sequences.push_back({.first_row = row,
                                 .rows = count,
                                 .start = Chance(30) ? 0 : Below(40),
                                 .order = Below(1000)});
      row += count;
    }
  }

  std::mt19937_64 engine_;
};

class DeviceGateCases : public DeviceGateTest, public testing::WithParamInterface<int> {};

TEST_P(DeviceGateCases, DecideAsTheHost) {
  constexpr int kCases = 500;
  for (int i = 0; i < kCases; ++i) {
    CaseMaker maker(static_cast<uint64_t>(GetParam() * kCases + i));
    const GateConfig config = maker.Config();
    SCOPED_TRACE(fmt::format("case {}: {}", GetParam() * kCases + i, ToJson(config)));
    ASSERT_TRUE(config.Validate().ok()) << Message(config.Validate());
    ASSERT_EQ(WhyNotOnDevice(config, 1, 7), "");
    const GateRows rows = maker.Rows(config);
    ExpectSame(config, rows, maker.Below(4), maker.Counters(config, rows));
    if (HasFailure()) return;
  }
  for (const char* what :
       {"state 0 action 1", "state 0 action 2", "state 1 action 0", "state 2 action 0",
        "state 2 action 2", "bad", "chunks", "step", "dropless"}) {
    EXPECT_GT(seen_[what], 10) << what;
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, DeviceGateCases, testing::Range(0, 6));

// Enough rows that several blocks place and finish them.
TEST_F(DeviceGateTest, LargeSteps) {
  for (const char* gate :
       {R"({"num_experts":5,"top_k":3,"capacity":"ceil_k","capacity_factor":0.7,"group":"rank",
            "extra_policy":"random","rejected_consumes":true,"normalize":"after_drop"})",
        R"({"num_experts":5,"top_k":3,"capacity":"ceil_k","capacity_factor":0.9,"group":"rank",
            "priority":"token_major","overflow":"passthrough"})",
        R"({"num_experts":5,"top_k":3,"capacity":"fixed","capacity_fixed":9,"group_size":16,
            "group":"sequence_chunk","priority":"token_major"})"}) {
    GateRows rows = RandomRows(2800, 5, 7);
    rows.sequences = {{.first_row = 0, .rows = 1500, .start = 5, .order = 2},
                      {.first_row = 1500, .rows = 1, .start = 77, .order = 9},
                      {.first_row = 1501, .rows = 1299, .start = 16, .order = 1}};
    ExpectSame(MustParse(gate), rows, 3);
  }
}

TEST_F(DeviceGateTest, SaysWhatItCannot) {
  const auto why = [](const std::string& overrides, int ranks = 1) {
    GateConfig config = *MakePreset("mixtral", 8);
    const absl::Status status = ApplyOverrides(overrides, &config);
    EXPECT_TRUE(status.ok()) << Message(status);
    return WhyNotOnDevice(config, ranks, 100);
  };
  EXPECT_EQ(why("top_k=2"), "");
  EXPECT_EQ(why("capacity=ceil_k,group=rank", 4), "");
  EXPECT_EQ(why("capacity=ceil_k,group=sequence_chunk", 4), "");
  EXPECT_EQ(why("capacity=ceil_k,group=step", 1), "");
  EXPECT_NE(why("capacity=ceil_k,group=step", 2), "");
  EXPECT_NE(why("capacity=ceil_k,overflow=reroute"), "");
  EXPECT_NE(why("capacity=ceil_k,priority=batch_prioritized"), "");
  EXPECT_NE(why("capacity=ceil_k,priority=weight_desc"), "");
  EXPECT_NE(why("capacity=ceil_k,priority=random"), "");
  EXPECT_NE(why("num_experts=4096"), "");
  EXPECT_NE(why("num_experts=64,top_k=33"), "");
  EXPECT_NE(why("num_experts=64,n_group=64"), "");
  EXPECT_NE(why("selection=token_table,token_table=[[0,1],[2,3]]"), "");
  EXPECT_NE(why("shared=true,shared_sinks=1"), "");
  EXPECT_NE(why("zero_experts=1,zero_output=nothing"), "");
}

}  // namespace
}  // namespace folkmoot
