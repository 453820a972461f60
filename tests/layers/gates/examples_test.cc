// SPDX-License-Identifier: Apache-2.0
// The worked examples of tests/data/gates/gating_examples.json: discrete results exact, weights to
// 1e-6. The file was computed in float64 by a program that is not ours to ship.
#include <cmath>

#include "gtest/gtest.h"
#include "layers/gates/presets.h"
#include "runtime/random.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

using Json = nlohmann::json;

constexpr double kTolerance = 1e-6;

const Json& Examples() {
  static const Json examples = ReadTestJson("gates/gating_examples.json");
  return examples;
}
const Json& SharedLogits() { return Examples()["1_gshard_top2_overflow"]["logits"]; }

void ExpectTokens(const GateDecisions& got, const Json& tokens) {
  ASSERT_FALSE(tokens.empty());
  const size_t k = tokens[0]["experts"].size();
  ASSERT_EQ(got.expert.size(), tokens.size() * k);
  for (size_t c = 0; c < got.expert.size(); ++c) {
    const Json& token = tokens[c / k];
    const size_t slot = c % k;
    SCOPED_TRACE(fmt::format("token {} slot {}", c / k, slot));
    EXPECT_EQ(got.expert[c], token["experts"][slot]);
    EXPECT_EQ(got.state[c], token["state"][slot]);
    EXPECT_EQ(got.place[c], token["pos"][slot].is_null() ? -1 : token["pos"][slot].get<int>());
    EXPECT_NEAR(got.weight[c], token["weight"][slot].get<double>(), kTolerance);
  }
}

// The MoE layer of the examples, with expert e(v) = (e + 1) v + b_e and no skip connection.
std::vector<std::vector<double>> ToyLayer(const GateConfig& config, const GateDecisions& decided,
                                          const Json& x) {
  constexpr double kBias[] = {0.5, -0.5, 0.25, -0.25};
  std::vector<std::vector<double>> y;
  const auto k = static_cast<size_t>(config.top_k);
  for (size_t t = 0; t < decided.expert.size() / k; ++t) {
    std::vector<double> row(x[t].size(), 0.0);
    for (size_t c = t * k; c < (t + 1) * k; ++c) {
      const double weight = decided.weight[c];
      const int expert = decided.expert[c];
      for (size_t h = 0; h < row.size(); ++h) {
        const double in = x[t][h].get<double>();
        const auto toy = [&](double v) { return (expert + 1) * v + kBias[expert % 4]; };
        if (decided.action[c] == SlotAction::kIdentity) row[h] += weight * in;
        if (decided.action[c] != SlotAction::kExpert) continue;
        row[h] += config.apply_to == ApplyTo::kInput ? toy(weight * in) : weight * toy(in);
      }
    }
    y.push_back(row);
  }
  return y;
}

void ExpectRows(const std::vector<std::vector<double>>& got, const Json& rows) {
  ASSERT_EQ(got.size(), rows.size());
  for (size_t t = 0; t < got.size(); ++t) {
    for (size_t h = 0; h < got[t].size(); ++h) {
      EXPECT_NEAR(got[t][h], rows[t][h].get<double>(), 4 * kTolerance) << t << "," << h;
    }
  }
}

// Example 1's base: two choices, normalised before dropping, three places.
GateConfig Base() {
  return MustParse(R"({"num_experts":4,"top_k":2,"normalize":"before_drop",
                       "capacity":"fixed","capacity_fixed":3})");
}
GateConfig With(GateConfig config, std::string_view overrides) {
  const absl::Status status = ApplyOverrides(overrides, &config);
  EXPECT_TRUE(status.ok()) << Message(status);
  return config;
}

TEST(GateExamples, Example1Overflow) {
  const Json& example = Examples()["1_gshard_top2_overflow"];
  const GateRows rows = RowsOf(SharedLogits());
  const std::vector<std::pair<std::string, std::string>> kVariants = {
      {"before_drop", "overflow=drop"},
      {"after_drop", "normalize=after_drop"},
      {"unnormalised", "normalize=none"},
      {"token_major", "priority=token_major"},
      {"batch_prioritized", "priority=batch_prioritized"},
      {"weight_desc", "priority=weight_desc"},
      {"passthrough", "overflow=passthrough"}};
  for (const auto& [name, overrides] : kVariants) {
    SCOPED_TRACE(name);
    ExpectTokens(RouteRows(With(Base(), overrides), rows), example[name]["tokens"]);
  }
  ExpectRows(ToyLayer(Base(), RouteRows(Base(), rows), example["x"]), example["before_drop"]["y"]);
}

TEST(GateExamples, Example1OverflowedTokenLeavesThroughTheSkipConnection) {
  const Json& example = Examples()["1_gshard_top2_overflow"];
  auto block = ToyLayer(Base(), RouteRows(Base(), RowsOf(SharedLogits())), example["x"]);
  for (size_t t = 0; t < block.size(); ++t) {
    for (size_t h = 0; h < block[t].size(); ++h) block[t][h] += example["x"][t][h].get<double>();
  }
  ExpectRows(block, example["before_drop"]["block_out"]);
  EXPECT_EQ(block[4], (std::vector<double>{2.0, 1.0}));  // nothing ran for token 4
}

TEST(GateExamples, Example1PassthroughActsAsIdentity) {
  const GateDecisions got = RouteRows(With(Base(), "overflow=passthrough"), RowsOf(SharedLogits()));
  EXPECT_EQ(got.action[8], SlotAction::kIdentity);
  EXPECT_EQ(got.state[8], "overflow");
}

// ZAYA1: the last class is no expert; biases choose it, and it weighs nothing.
TEST(GateExamples, ATokenMaySkipTheExperts) {
  const GateConfig gate = With(*MakePreset("zaya1", 4), "selection_bias=[0,0,0,0.5]");
  const GateDecisions got =
      RouteRows(gate, RowsOf(Json::parse("[[2.0,0.5,0.0,0.0],[0.0,0.2,0.1,0.0]]")));
  EXPECT_EQ(got.expert, (std::vector<int32_t>{0, 3}));
  EXPECT_EQ(got.state, (std::vector<std::string>{"kept", "kept"}));
  EXPECT_EQ(got.action, (std::vector<SlotAction>{SlotAction::kExpert, SlotAction::kNone}));
  EXPECT_NEAR(got.weight[0], std::exp(2.0) / (std::exp(2.0) + std::exp(0.5) + 2.0), kTolerance);
  EXPECT_EQ(got.weight[1], 0.0f);
  const GateDecisions identity =
      RouteRows(With(gate, "zero_output=identity"), RowsOf(Json::parse("[[0.0,0.2,0.1,0.0]]")));
  EXPECT_EQ(identity.action[0], SlotAction::kIdentity);
  EXPECT_GT(identity.weight[0], 0.2f);
}

TEST(GateExamples, Example1Reroute) {
  const Json& example = Examples()["1_gshard_top2_overflow"]["reroute_first_5_tokens"];
  const GateRows rows = Slice(RowsOf(SharedLogits()), 0, 5);
  ExpectTokens(RouteRows(With(Base(), "overflow=reroute"), rows), example["tokens"]);
}

TEST(GateExamples, Example2RandomSecondExpert) {
  const Json& example = Examples()["2_random_second_expert"];
  GateRows rows = RowsOf(SharedLogits());
  rows.uniforms = example["uniforms"].get<std::vector<float>>();
  const GateConfig random = With(Base(), "extra_policy=random,extra_threshold=0.5");
  const std::vector<std::pair<std::string, std::string>> kVariants = {
      {"paper_rejected_consumes", "rejected_consumes=true"},
      {"lingvo_mesh_fairseq_rejected_free", "rejected_consumes=false"},
      {"raw_gate", "extra_gate=raw"},
      {"after_drop", "normalize=after_drop"},
      {"threshold_0.2", "extra_threshold=0.2"},
      {"hard_threshold_0.3", "extra_policy=threshold,extra_threshold=0.3"}};
  for (const auto& [name, overrides] : kVariants) {
    SCOPED_TRACE(name);
    ExpectTokens(RouteRows(With(random, overrides), rows), example[name]["tokens"]);
  }
}

TEST(GateExamples, Example3SwitchTop1) {
  const Json& example = Examples()["3_switch_top1"];
  const GateConfig config = With(*MakePreset("switch-mesh", 4), "min_capacity=0");
  const GateRows rows = RowsOf(example["logits"]);
  EXPECT_EQ(config.Capacity(8), example["capacity"]);
  ExpectTokens(RouteRows(config, rows), example["tokens"]);
  ExpectRows(ToyLayer(config, RouteRows(config, rows), example["x"]), example["y_residual"]);
  const GateConfig passing = With(config, "overflow=passthrough");
  ExpectRows(ToyLayer(passing, RouteRows(passing, rows), example["x"]), example["y_passthrough"]);
}

TEST(GateExamples, Example4And6Dropless) {
  const GateConfig qwen = With(*MakePreset("qwen2-moe", 4), "top_k=2");
  const Json& mixtral = Examples()["6_mixtral"];
  ExpectTokens(RouteRows(qwen, RowsOf(SharedLogits())), Examples()["4_qwen2_moe"]["tokens"]);
  const GateDecisions got = RouteRows(*MakePreset("mixtral", 4), RowsOf(SharedLogits()));
  ExpectTokens(got, mixtral["tokens"]);
  ExpectRows(ToyLayer(*MakePreset("mixtral", 4), got, mixtral["x"]), mixtral["y"]);
}

TEST(GateExamples, Example5Deepseek) {
  const Json& example = Examples()["5_deepseek_v3"];
  const GateRows rows = RowsOf(example["logits"]);
  const std::string bias = "selection_bias=" + example["selection_bias"].dump();
  const std::string small = "n_group=4,topk_group=2,top_k=3";
  const GateConfig plain = With(*MakePreset("deepseek-v3", 8), small);
  const GateConfig v3 = With(plain, bias);
  ExpectTokens(RouteRows(v3, rows), example["tokens"]);
  ExpectTokens(RouteRows(plain, rows), example["without_bias"]);
  ExpectTokens(RouteRows(With(v3, "n_group=1,topk_group=1"), rows), example["without_groups"]);
  const GateConfig v2 = With(*MakePreset("deepseek-v2", 8), small);
  ExpectTokens(RouteRows(v2, rows), example["v2_group_limited"]);
  const GateConfig v4 = With(*MakePreset("deepseek-v4", 8), "top_k=3");
  ExpectTokens(RouteRows(With(v4, bias), rows), example["v4_sqrt_softplus"]);

  GateRows hashed = rows;
  hashed.token_ids = {2, 0, 1};
  const GateConfig table = With(v4, "selection=token_table,token_table=[[1,2,3],[6,5,0],[7,0,4]]");
  ExpectTokens(RouteRows(table, hashed), example["v4_hash_layer"]);

  const Json& pitfall = example["fill_zero_pitfall"];
  const GateConfig low = With(plain, "selection_bias=[-1,-1,-1,-1,-1,-1,-1,-1]");
  EXPECT_EQ(RouteRows(low, RowsOf(pitfall["logits"])).expert, pitfall["minus_inf"]);
  EXPECT_EQ(RouteRows(With(low, "group_fill=0"), RowsOf(pitfall["logits"])).expert,
            pitfall["zero"]);
}

TEST(GateExamples, Example7Others) {
  const Json& example = Examples()["7_others"];
  const GateRows rows = RowsOf(SharedLogits());
  const GateRows first4 = Slice(rows, 0, 4);
  const GateConfig gpt =
      With(*MakePreset("gpt-oss", 4), "top_k=2,router_dtype=fp32,router_bias=[0,0,0.9,0]");
  ExpectTokens(RouteRows(gpt, first4), example["gpt_oss"]["tokens"]);
  ExpectTokens(RouteRows(*MakePreset("llama4", 4), first4), example["llama4"]["tokens"]);
  const Json& longcat = example["longcat_flash"];
  const GateConfig zero =
      With(*MakePreset("longcat-flash", 6), "top_k=2,selection_bias=[0,0,0,0,0.1,0]");
  const GateDecisions got = RouteRows(zero, RowsOf(longcat["logits"]));
  ExpectTokens(got, longcat["tokens"]);
  ExpectRows(ToyLayer(zero, got, Examples()["1_gshard_top2_overflow"]["x"]), longcat["y"]);
  const GateConfig hunyuan = With(*MakePreset("hunyuan-v1", 4), "top_k=2");
  EXPECT_EQ(hunyuan.Capacity(8), example["hunyuan_v1"]["capacity"]);
  ExpectTokens(RouteRows(hunyuan, rows), example["hunyuan_v1"]["tokens"]);
  ExpectTokens(RouteRows(With(*MakePreset("olmoe", 4), "top_k=2"), Slice(rows, 0, 1)),
               example["olmoe_first_token"]);
  ExpectTokens(RouteRows(*MakePreset("mixtral", 4), RowsOf(example["ties"]["logits"])),
               example["ties"]["tokens"]);
  GateRows padded = rows;
  padded.valid = example["padding"]["valid"].get<std::vector<uint8_t>>();
  ExpectTokens(RouteRows(Base(), padded), example["padding"]["tokens"]);
}

TEST(GateExamples, Example8RankLocalGroupsDependOnTheRankCount) {
  const Json& example = Examples()["8_expert_parallel"];
  const GateRows rows = RowsOf(SharedLogits());
  const GateConfig config = With(Base(), "capacity=floor,capacity_factor=2,group=rank");
  for (const int64_t ranks : {1, 2, 4}) {
    const std::string key = std::to_string(ranks);
    EXPECT_EQ(config.Capacity(8 / ranks), example["rank_local_capacity"][key]);
    GateDecisions all;
    for (int64_t r = 0; r < ranks; ++r) {
      Append(RouteRows(config, Slice(rows, r * 8 / ranks, 8 / ranks)), &all);
    }
    for (size_t c = 0; c < all.state.size(); ++c) {
      EXPECT_EQ(all.state[c], example["rank_local_groups"][key][c / 2][c % 2]) << key << " " << c;
    }
  }
}

TEST(GateExamples, Example9PrefillAndDecode) {
  const Json& example = Examples()["9_prefill_versus_decode"];
  const GateRows rows = RowsOf(SharedLogits());
  const auto expect = [](const GateDecisions& got, const Json& states) {
    ASSERT_EQ(got.state.size(), states.size() * 2);
    for (size_t c = 0; c < got.state.size(); ++c) {
      EXPECT_EQ(got.state[c], states[c / 2][c % 2]) << c;
    }
  };
  const GateConfig chunked = With(Base(), "priority=token_major,group=sequence_chunk,group_size=8");
  expect(RouteRows(chunked, rows), example["token_major_prefill"]);
  GateDecisions single;
  std::vector<int32_t> taken(4, 0);
  for (int64_t row = 0; row < 8; ++row) {
    Append(RouteRows(chunked, Slice(rows, row, 1), &taken), &single);
  }
  expect(single, example["token_major_one_by_one"]);
  expect(RouteRows(Base(), rows), example["slot_major_prefill_8"]);
  expect(RouteRows(Base(), Slice(rows, 0, 5)), example["slot_major_prefill_first_5_only"]);
}

TEST(GateExamples, Example10PhiloxAcceptance) {
  const Json& example = Examples()["10_philox"];
  GateRows rows = RowsOf(SharedLogits());
  rows.stream = 7;
  rows.layer = 3;
  const GateConfig config = With(*MakePreset("gshard", 4), "capacity=none,seed=1234");
  const GateDecisions got = RouteRows(config, rows);
  for (uint32_t p = 0; p < 8; ++p) {
    const DrawKey key = {.seed = 1234, .stream = 7, .layer = 3, .position = p};
    EXPECT_EQ(DrawWord(key, 1), example["word"][p]);
    EXPECT_NEAR(DrawUniform(key, 1), example["uniform"][p].get<double>(), 1e-9);
    EXPECT_EQ(got.state[2 * p + 1], example["accept_at_t_0.5"][p]);
  }
}

TEST(GateExamples, Example11Capacities) {
  const std::vector<std::pair<std::string, GateConfig>> kColumns = {
      {"gshard_paper 2S/E", *MakePreset("gshard-paper", 4)},
      {"mesh f=2 min4", *MakePreset("mesh-top2", 4)},
      {"lingvo f=2 align4", *MakePreset("gshard-lingvo", 4)},
      {"fairseq train", *MakePreset("fairseq-top2", 4)},
      {"fairseq eval 0.25", *MakePreset("fairseq-moe", 4)},
      {"deepspeed f=1 k=2 min8", *MakePreset("deepspeed-top2", 4)},
      {"tutel f=1 k=2", *MakePreset("tutel", 4)},
      {"fastmoe gshard f=2.4", *MakePreset("fastmoe-gshard", 4)},
      {"megatron f=1 k=2", *MakePreset("megatron-drop", 4)},
      {"flaxformer f=2 min4", With(*MakePreset("flaxformer", 4), "capacity_factor=2")},
      {"vmoe f=1 k=2 mult4", *MakePreset("vmoe-bpr", 4)},
      {"hunyuan", With(*MakePreset("hunyuan-v1", 4), "top_k=2")}};
  const Json& table = Examples()["11_capacity_E4_k2"];
  ASSERT_EQ(table.size(), 4u);
  for (const auto& [tokens, row] : table.items()) {
    ASSERT_EQ(row.size(), kColumns.size());
    for (const auto& [name, config] : kColumns) {
      EXPECT_EQ(config.Capacity(std::stoll(tokens)), row[name]) << tokens << " " << name;
    }
  }
}

}  // namespace
}  // namespace folkmoot
