// SPDX-License-Identifier: Apache-2.0
// GateConfig from text, its errors, its presets and what it promises about invariance.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/gates/presets.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOf(const std::string& json) {
  const auto config = ParseGateConfig(json);
  const absl::Status status = config.ok() ? config->Validate() : config.status();
  return std::string(Message(status));
}
std::string OverrideError(std::string_view overrides) {
  GateConfig config = *MakePreset("mixtral", 8);
  const GateConfig before = config;
  absl::Status status = ApplyOverrides(overrides, &config);
  if (!status.ok()) {
    EXPECT_EQ(config, before) << "a refused override changed something";
  }
  if (status.ok()) status = config.Validate();
  return std::string(Message(status));
}

TEST(GateConfig, PlainFieldsAndDefaults) {
  const GateConfig config = MustParse(R"({"num_experts":8,"top_k":2,"norm_eps":1e-9,"shared":true,
      "router_bias":[0,1,2,3,4,5,6,7],"selection_bias":null,"seed":18446744073709551615})");
  EXPECT_EQ(config.num_experts, 8);
  EXPECT_EQ(config.norm_eps, 1e-9);
  EXPECT_TRUE(config.shared);
  EXPECT_EQ(config.router_bias[7], 7.0f);
  EXPECT_EQ(config.seed, ~uint64_t{0});
  EXPECT_EQ(config.score_fn, ScoreFn::kSoftmax);
  EXPECT_EQ(config.capacity, CapacityMode::kNone);
  EXPECT_TRUE(config.Validate().ok());
}

TEST(GateConfig, PresetWithOverrides) {
  const GateConfig config =
      MustParse(R"({"preset":"deepseek_v3","num_experts":64,"topk_group":2,"scale":1.5})");
  EXPECT_EQ(config.num_experts, 64);
  EXPECT_EQ(config.topk_group, 2);
  EXPECT_EQ(config.top_k, 8);
  EXPECT_EQ(config.scale, 1.5);
  EXPECT_EQ(config.score_fn, ScoreFn::kSigmoid);
  EXPECT_EQ(ParseGateConfig(R"({"preset":"mixtral"})", 16)->num_experts, 16);
  EXPECT_EQ(ParseGateConfig(R"({"preset":"mixtral","num_experts":4})", 16)->num_experts, 4);
}

TEST(GateConfig, SequenceChunkShorthand) {
  const GateConfig config = MustParse(R"j({"preset":"switch","group":"sequence_chunk(96)"})j");
  EXPECT_EQ(config.group, CapacityGroup::kSequenceChunk);
  EXPECT_EQ(config.group_size, 96);
  EXPECT_THAT(ErrorOf(R"j({"preset":"switch","group":"sequence_chunk(x)"})j"),
              HasSubstr("group=\"sequence_chunk(x)\""));
}

TEST(GateConfig, ParseErrorsNameTheFieldAndTheRemedy) {
  EXPECT_THAT(ErrorOf("{\"top_k\":"), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("[1]"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(ErrorOf(R"({"topk":2})"), HasSubstr("unknown field 'topk'; did you mean 'top_k'?"));
  EXPECT_THAT(ErrorOf(R"({"capacity_facter":2})"), HasSubstr("did you mean 'capacity_factor'?"));
  EXPECT_THAT(ErrorOf(R"({"preset":"mixtrall"})"), HasSubstr("did you mean 'mixtral'?"));
  EXPECT_THAT(ErrorOf(R"({"preset":7})"), HasSubstr("preset=7"));
  EXPECT_THAT(ErrorOf(R"({"top_k":2.5})"), HasSubstr("top_k=2.5 must be an integer"));
  EXPECT_THAT(ErrorOf(R"({"top_k":"2"})"), HasSubstr("top_k=\"2\" must be an integer"));
  EXPECT_THAT(ErrorOf(R"({"top_k":99999999999})"), HasSubstr("top_k=99999999999"));
  EXPECT_THAT(ErrorOf(R"({"seed":-1})"), HasSubstr("seed=-1"));
  EXPECT_THAT(ErrorOf(R"({"shared":1})"), HasSubstr("shared=1 must be true or false"));
  EXPECT_THAT(ErrorOf(R"({"scale":"big"})"), HasSubstr("scale=\"big\" must be a number"));
  EXPECT_THAT(ErrorOf(R"({"score_fn":"tanh"})"),
              AllOf(HasSubstr("score_fn=\"tanh\""), HasSubstr("softmax, sigmoid")));
  EXPECT_THAT(ErrorOf(R"({"router_bias":[1,"x"]})"), HasSubstr("router_bias"));
  EXPECT_THAT(ErrorOf(R"({"router_bias":3})"), HasSubstr("list of numbers"));
  EXPECT_THAT(ErrorOf(R"({"token_table":[[0,1],[1]]})"), HasSubstr("token_table"));
  EXPECT_THAT(ErrorOf(R"({"num_experts":4,"top_k":2,"selection":"token_table",
                          "token_table":[[0],[1]]})"),
              HasSubstr("rows of token_table have 1 ids; give top_k=2"));
}

TEST(GateConfig, ValidateErrors) {
  const auto with = [](const std::string& fields) {
    return ErrorOf(R"({"preset":"mixtral",)" + fields + "}");
  };
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("num_experts=0"));
  EXPECT_THAT(with(R"("top_k":9)"), HasSubstr("top_k=9 must be between 1 and num_experts=8"));
  EXPECT_THAT(with(R"("top_k":0)"), HasSubstr("top_k=0"));
  EXPECT_THAT(with(R"("num_experts":-3)"), HasSubstr("num_experts=-3"));
  EXPECT_THAT(with(R"("router_bias":[1,2])"), HasSubstr("router_bias has 2 values"));
  EXPECT_THAT(with(R"("router_bias":[1,2,3,4,5,6,7,1e300])"), HasSubstr("router_bias[7]"));
  EXPECT_THAT(with(R"("n_group":3)"), HasSubstr("n_group=3 must divide num_experts=8"));
  EXPECT_THAT(with(R"("n_group":4,"topk_group":5)"), HasSubstr("topk_group=5"));
  EXPECT_THAT(with(R"("n_group":4,"topk_group":1,"top_k":3)"), HasSubstr("keep more groups"));
  EXPECT_THAT(with(R"("n_group":4,"topk_group":3,"group_score":"sum_topn")"),
              HasSubstr("sum_topn"));
  EXPECT_THAT(with(R"("extra_policy":"sample","top_k":3)"), HasSubstr("needs top_k=2"));
  EXPECT_THAT(with(R"("extra_threshold":-1)"), HasSubstr("extra_threshold=-1"));
  EXPECT_THAT(with(R"("norm_eps":-1)"), HasSubstr("norm_eps=-1"));
  EXPECT_THAT(with(R"("norm_eps":"-inf")"), HasSubstr("norm_eps=-inf"));
  EXPECT_THAT(with(R"("capacity_factor":-0.5)"), HasSubstr("capacity_factor=-0.5"));
  EXPECT_THAT(with(R"("capacity_multiple":0)"), HasSubstr("capacity_multiple=0"));
  EXPECT_THAT(with(R"("capacity_fixed":-1)"), HasSubstr("capacity_fixed=-1"));
  EXPECT_THAT(with(R"("group_size":0)"), HasSubstr("group_size=0"));
  EXPECT_THAT(with(R"("min_capacity":9223372036854775807)"), HasSubstr("min_capacity="));
  EXPECT_THAT(with(R"("zero_experts":9)"), HasSubstr("zero_experts=9"));
  EXPECT_THAT(with(R"("shared_sinks":-1)"), HasSubstr("shared_sinks=-1 must be between 0 and 16"));
  EXPECT_THAT(with(R"("shared_sinks":17)"), HasSubstr("shared_sinks=17"));
  EXPECT_THAT(with(R"("shared_sinks":1,"weight_from":"softmax_selected")"),
              HasSubstr("shared_sinks=1 needs weight_from=score"));
  EXPECT_THAT(with(R"("zero_output":"x")"), HasSubstr("identity, nothing"));
  EXPECT_THAT(with(R"("shared_gate":"sigmoid")"), HasSubstr("shared=true"));
  EXPECT_THAT(with(R"("selection":"token_table")"), HasSubstr("needs token_table"));
  EXPECT_THAT(with(R"("token_table":[[0,1]])"), HasSubstr("selection=learned"));
  EXPECT_THAT(with(R"("selection":"token_table","token_table":[[0,8]])"),
              HasSubstr("token_table[0][1]=8"));
  EXPECT_THAT(with(R"("selection":"token_table","token_table":[[3,3]])"), HasSubstr("twice"));
}

TEST(GateConfig, Overrides) {
  GateConfig config = *MakePreset("mixtral", 8);
  ASSERT_TRUE(ApplyOverrides("top_k=3, extra_policy=random,capacity=ceil_k,capacity_factor=1.25,"
                             "rejected_consumes=true,selection_bias=[0,1,2,3,4,5,6,7],"
                             "group_fill=-inf,group=sequence_chunk(32)",
                             &config)
                  .ok());
  EXPECT_EQ(config.top_k, 3);
  EXPECT_EQ(config.extra_policy, ExtraPolicy::kRandom);
  EXPECT_EQ(config.capacity, CapacityMode::kCeilK);
  EXPECT_EQ(config.capacity_factor, 1.25);
  EXPECT_TRUE(config.rejected_consumes);
  EXPECT_EQ(config.selection_bias.size(), 8u);
  EXPECT_EQ(config.group_size, 32);
  EXPECT_EQ(config.normalize, Normalize::kBeforeDrop);  // what was not named stays

  ASSERT_TRUE(ApplyOverrides("switch,capacity_factor=2", &config).ok());
  EXPECT_EQ(config.num_experts, 8);
  EXPECT_EQ(config.top_k, 1);
  EXPECT_EQ(config.capacity_factor, 2.0);
  ASSERT_TRUE(ApplyOverrides("preset=olmoe,num_experts=16", &config).ok());
  EXPECT_EQ(config.num_experts, 16);
}

TEST(GateConfig, OverrideErrors) {
  EXPECT_THAT(OverrideError(""), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(OverrideError("top_k"), HasSubstr("'top_k'"));
  EXPECT_THAT(OverrideError("top_k="), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(OverrideError("=2"), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(OverrideError("top_k=2,"), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(OverrideError("topk=2"), HasSubstr("did you mean 'top_k'?"));
  EXPECT_THAT(OverrideError("top_k=2,topp=3"), HasSubstr("topp"));
  EXPECT_THAT(OverrideError("top_k=two"), HasSubstr("top_k=\"two\" must be an integer"));
  EXPECT_THAT(OverrideError("extra_policy=randm"), HasSubstr("threshold, random, sample"));
  EXPECT_THAT(OverrideError("top_k=2,preset=switch"), HasSubstr("must come first"));
  EXPECT_THAT(OverrideError("top_k=2,switch"), HasSubstr("is not KEY=VALUE"));
  EXPECT_THAT(OverrideError("top_k=64"), HasSubstr("top_k=64"));
}

TEST(GateConfig, JsonRoundTrip) {
  for (const GatePreset& preset : GatePresets()) {
    const GateConfig config = *MakePreset(preset.name);
    EXPECT_EQ(MustParse(ToJson(config)), config) << ToJson(config);
  }
  const GateConfig table = MustParse(R"({"num_experts":4,"top_k":2,"selection":"token_table",
      "token_table":[[0,1],[3,2]],"selection_bias":[0.5,0,0,0.25],"seed":77})");
  EXPECT_EQ(MustParse(ToJson(table)), table);
  EXPECT_THAT(ToJson(table), HasSubstr("[[0,1],[3,2]]"));
}

TEST(GatePresets, AreValidAtTheirPublishedSize) {
  std::vector<std::string> names;
  for (const GatePreset& preset : GatePresets()) {
    const GateConfig config = *MakePreset(preset.name);
    EXPECT_TRUE(config.Validate().ok()) << preset.name << ": " << Message(config.Validate());
    EXPECT_EQ(config.num_experts, preset.num_experts);
    EXPECT_FALSE(preset.source.empty());
    names.emplace_back(preset.name);
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
  EXPECT_GE(names.size(), 45u);
}

TEST(GateConfig, InvarianceClasses) {
  const auto check = [](std::string_view overrides, InvarianceClass kind, bool ranks, bool mates,
                        bool split) {
    GateConfig config = *MakePreset("mixtral", 8);
    ASSERT_TRUE(ApplyOverrides(overrides, &config).ok());
    const Invariance got = config.invariance();
    EXPECT_EQ(Name(got.kind), Name(kind)) << overrides;
    EXPECT_EQ(got.rank_count, ranks) << overrides;
    EXPECT_EQ(got.batch_mates, mates) << overrides;
    EXPECT_EQ(got.prefill_split, split) << overrides;
  };
  using enum InvarianceClass;
  const std::string chunk = "capacity=ceil_k,group=sequence_chunk,priority=";
  check("capacity=none", kDropless, true, true, true);
  check("extra_policy=random", kDroplessRandom, true, true, true);
  check("extra_policy=random,top_k=1", kDropless, true, true, true);
  check("capacity=ceil_k", kStep, true, false, false);
  check("capacity=ceil_k,group=rank", kRank, false, false, false);
  check(chunk + "token_major", kSequenceChunkCausal, true, true, true);
  check(chunk + "slot_major", kSequenceChunk, true, true, false);
  check(chunk + "random", kSequenceChunk, true, true, false);
  check(chunk + "token_major,overflow=reroute", kSequenceChunk, true, true, false);
  check("capacity=ceil_k,group=sequence", kSequence, true, true, false);
}

TEST(GateConfig, WhatTheCallerMustProvide) {
  const GateConfig plain = *MakePreset("mixtral");
  EXPECT_FALSE(plain.NeedsPrefixStreams() || plain.NeedsChunkCounters() || plain.CanDrop());
  GateConfig ours = *MakePreset("top2-random-shared");
  EXPECT_TRUE(ours.NeedsPrefixStreams());
  EXPECT_FALSE(ours.CanDrop() || ours.NeedsChunkCounters());
  ASSERT_TRUE(ApplyOverrides("capacity=ceil_k,rng_scope=sequence_id", &ours).ok());
  EXPECT_TRUE(ours.CanDrop() && ours.NeedsChunkCounters() && ours.UsesRandom());
  EXPECT_FALSE(ours.NeedsPrefixStreams());
  EXPECT_TRUE(MakePreset("deepspeed-top1")->UsesRandom());  // random drop order
}

}  // namespace
}  // namespace folkmoot
