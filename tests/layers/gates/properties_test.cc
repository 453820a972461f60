// SPDX-License-Identifier: Apache-2.0
// What must hold for every gate of a kind: capacities, invariances (and their absence where the
// configuration promises none), padding, randomness, errors.
#include <cmath>
#include <limits>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/gates/presets.h"
#include "parallel/thread_communicator.h"
#include "runtime/random.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPriorities[] = {"slot_major", "token_major", "batch_prioritized",
                                       "weight_desc", "random"};

GateConfig Make(const std::string& overrides, int experts = 6) {
  GateConfig config = *MakePreset("mixtral", experts);
  const absl::Status status = ApplyOverrides(overrides, &config);
  EXPECT_TRUE(status.ok()) << Message(status);
  return config;
}

bool IsKept(const std::string& state) { return state == "kept" || state == "rerouted"; }

// Prefill in pieces of `piece` rows with carried counters.
GateDecisions InPieces(const GateConfig& config, const GateRows& rows, int64_t piece) {
  GateDecisions all;
  std::vector<int32_t> taken(static_cast<size_t>(config.num_experts), 0);
  for (int64_t first = 0; first < rows.rows; first += piece) {
    Append(RouteRows(config, Slice(rows, first, std::min(piece, rows.rows - first)), &taken), &all);
  }
  return all;
}

TEST(GateProperties, CapacityHoldsAndPlacesAreUnique) {
  for (const std::string priority : kPriorities) {
    for (const std::string overflow : {"residual", "passthrough", "reroute"}) {
      for (uint64_t seed = 0; seed < 6; ++seed) {
        const GateConfig config = Make("capacity=fixed,capacity_fixed=" + std::to_string(seed) +
                                       ",top_k=3,priority=" + priority + ",overflow=" + overflow);
        const GateDecisions got = RouteRows(config, RandomRows(17, 6, seed));
        std::vector<std::set<int32_t>> places(6);
        for (size_t c = 0; c < got.expert.size(); ++c) {
          if (!IsKept(got.state[c])) continue;
          EXPECT_LT(got.place[c], static_cast<int32_t>(seed));
          EXPECT_TRUE(places[static_cast<size_t>(got.expert[c])].insert(got.place[c]).second);
        }
        for (const std::set<int32_t>& taken : places) {  // contiguous: nothing was rejected
          EXPECT_TRUE(taken.empty() || *taken.rbegin() + 1 == static_cast<int32_t>(taken.size()));
        }
      }
    }
  }
}

TEST(GateProperties, MoreCapacityRemovesNothing) {
  for (const std::string priority : kPriorities) {
    const GateRows rows = RandomRows(20, 6, 11);
    GateDecisions before = RouteRows(Make("capacity=fixed,priority=" + priority), rows);
    for (int places = 1; places <= 20; ++places) {
      const GateDecisions after = RouteRows(
          Make("capacity=fixed,priority=" + priority + ",capacity_fixed=" + std::to_string(places)),
          rows);
      for (size_t c = 0; c < after.state.size(); ++c) {
        EXPECT_TRUE(after.state[c] == "kept" || before.state[c] == "overflow");
      }
      before = after;
    }
    EXPECT_EQ(std::count(before.state.begin(), before.state.end(), "kept"), 40);
  }
}

TEST(GateProperties, NoCapacityEqualsCapacityOfAllTokens) {
  const GateRows rows = RandomRows(16, 6, 3);
  EXPECT_EQ(RouteRows(Make("capacity=none"), rows),
            RouteRows(Make("capacity=fixed,capacity_fixed=16"), rows));
}

TEST(GateProperties, AllExpertsEqualADenseMixture) {
  const GateRows rows = RandomRows(5, 4, 8);
  const GateDecisions got = RouteRows(Make("top_k=4", 4), rows);
  for (size_t t = 0; t < 5; ++t) {
    double sum = 0;
    for (size_t e = 0; e < 4; ++e) sum += std::exp(static_cast<double>(rows.logits[t * 4 + e]));
    for (size_t c = t * 4; c < t * 4 + 4; ++c) {
      const auto logit = rows.logits[t * 4 + static_cast<size_t>(got.expert[c])];
      EXPECT_NEAR(got.weight[c], std::exp(static_cast<double>(logit)) / sum, 1e-6);
    }
  }
}

TEST(GateProperties, NormalisedSoftmaxEqualsSoftmaxOverTheSelected) {
  const GateRows rows = RandomRows(40, 6, 5);
  const GateDecisions a = RouteRows(Make("top_k=3"), rows);
  const GateDecisions b =
      RouteRows(Make("top_k=3,normalize=none,score_fn=logits,weight_from=softmax_selected"), rows);
  EXPECT_EQ(a.expert, b.expert);
  for (size_t c = 0; c < a.weight.size(); ++c) EXPECT_NEAR(a.weight[c], b.weight[c], 1e-6);
}

TEST(GateProperties, SelectionBiasMovesChoicesButNeverWeights) {
  const GateRows rows = RandomRows(1, 4, 2);
  const GateDecisions all = RouteRows(Make("top_k=4,normalize=none", 4), rows);
  const GateDecisions biased =
      RouteRows(Make("top_k=1,normalize=none,selection_bias=[0,0,9,0]", 4), rows);
  EXPECT_EQ(biased.expert[0], 2);
  for (size_t c = 0; c < 4; ++c) {
    if (all.expert[c] == 2) {
      EXPECT_EQ(biased.weight[0], all.weight[c]);
    }
  }
}

TEST(GateProperties, BiasesOfTheLayerReplaceThoseOfTheConfig) {
  const std::vector<float> logits = {0, 1, 2, 3};
  const std::vector<float> bias = {9, 0, 0, 0};
  const std::vector<GateSequence> sequence = {{.rows = 1}};
  Workspace workspace;
  const auto comms = MakeThreadCommunicators(1);
  const auto gate = MakeGate(Make("top_k=1,selection_bias=[0,9,0,0]", 4));
  GateInput input = {.logits = {logits.data(), 1, 4}, .sequences = sequence};
  EXPECT_EQ(gate->Route(input, *comms[0], workspace)->expert[0], 1);
  input.selection_bias = bias;
  EXPECT_EQ(gate->Route(input, *comms[0], workspace)->expert[0], 0);
  input.selection_bias = {};
  input.router_bias = bias;
  EXPECT_EQ(gate->Route(input, *comms[0], workspace)->expert[0], 1);  // key of 1: < 1 + 9
}

TEST(GateInvariance, TokenMajorChunksForgetHowThePrefillWasCut) {
  for (const std::string extra : {"all", "random"}) {
    const GateConfig config = Make(
        "capacity=ceil_k,capacity_factor=0.75,group=sequence_chunk(8),priority=token_major,"
        "rejected_consumes=true,extra_policy=" +
        extra);
    for (const int64_t start : {0, 5}) {
      GateRows rows = RandomRows(43, 6, 21);
      rows.start = start;
      const GateDecisions once = RouteRows(config, rows);
      EXPECT_THAT(once.state, ::testing::Contains("overflow"));
      for (const int64_t piece : {1, 2, 3, 7, 8, 9, 40}) {
        EXPECT_EQ(InPieces(config, rows, piece), once) << "pieces of " << piece;
      }
    }
  }
}

TEST(GateInvariance, SlotMajorChunksDoNot) {  // and the class says so
  const GateConfig config =
      Make("capacity=ceil_k,capacity_factor=0.75,group=sequence_chunk(8),priority=slot_major");
  EXPECT_FALSE(config.invariance().prefill_split);
  const GateRows rows = RandomRows(43, 6, 21);
  EXPECT_NE(InPieces(config, rows, 3).state, RouteRows(config, rows).state);
  EXPECT_EQ(InPieces(config, rows, 8), RouteRows(config, rows));  // whole chunks are safe
}

// A source is one group; other rows are groups of their own and lose nothing.
TEST(GateInvariance, SequencesAreGroups) {
  const GateConfig config = Make("capacity=fraction,capacity_factor=0.25,group=sequence");
  GateRows rows = RandomRows(12, 6, 21);
  rows.sequences = {{.rows = 8, .whole = true}, {.first_row = 8, .rows = 4, .start = 3}};
  const GateDecisions got = RouteRows(config, rows);
  GateRows source = Slice(rows, 0, 8);
  source.sequences = {{.rows = 8, .whole = true}};
  const GateDecisions alone = RouteRows(config, source);
  EXPECT_THAT(alone.state, ::testing::Contains("overflow"));
  for (size_t c = 0; c < got.state.size(); ++c) {
    EXPECT_EQ(got.state[c], c < alone.state.size() ? alone.state[c] : "kept") << c;
  }
  const GateConfig whole = Make("capacity=fraction,capacity_factor=0.25");
  EXPECT_EQ(RouteRows(whole, Slice(rows, 0, 8)).state, alone.state);
}

// Two sequences in one step, in the given order of rows.
GateDecisions Together(const GateConfig& config, const GateRows& a, const GateRows& b) {
  GateRows both;
  std::vector<int32_t> taken(static_cast<size_t>(config.num_experts) * 2, 0);
  const auto half = static_cast<size_t>(config.num_experts);
  both.rows = a.rows + b.rows;
  for (const GateRows* part : {&a, &b}) {
    both.logits.insert(both.logits.end(), part->logits.begin(), part->logits.end());
    both.streams.insert(both.streams.end(), static_cast<size_t>(part->rows), part->stream);
  }
  both.sequences = {{.rows = a.rows, .start = a.start, .order = 0},
                    {.first_row = a.rows, .rows = b.rows, .start = b.start, .order = 1}};
  both.sequences[0].taken = std::span(taken).first(half);
  both.sequences[1].taken = std::span(taken).last(half);
  return RouteRows(config, both);
}

TEST(GateInvariance, BatchMatesChangeNothingWhereTheClassSaysSo) {
  GateRows mine = RandomRows(10, 6, 1);
  GateRows mate = RandomRows(13, 6, 2);
  mine.stream = 1;
  mate.stream = 2;
  for (const std::string overrides :
       {"capacity=none", "extra_policy=random", "extra_policy=sample",
        "capacity=k_div,group=sequence_chunk(4),priority=slot_major",
        "capacity=k_div,group=sequence_chunk(4),priority=random",
        "capacity=k_div,group=sequence_chunk(4),priority=token_major,extra_policy=random"}) {
    const GateConfig config = Make(overrides);
    EXPECT_TRUE(config.invariance().batch_mates);
    const GateDecisions alone = RouteRows(config, mine);
    const GateDecisions first = Together(config, mine, mate);
    const GateDecisions last = Together(config, mate, mine);
    for (size_t c = 0; c < alone.state.size(); ++c) {
      const size_t behind = static_cast<size_t>(mate.rows) * 2 + c;
      EXPECT_EQ(first.expert[c], alone.expert[c]) << overrides;
      EXPECT_EQ(first.weight[c], alone.weight[c]) << overrides;
      EXPECT_EQ(first.state[c], alone.state[c]) << overrides;
      EXPECT_EQ(last.expert[behind], alone.expert[c]) << overrides;
      EXPECT_EQ(last.weight[behind], alone.weight[c]) << overrides;
      EXPECT_EQ(last.state[behind], alone.state[c]) << overrides;
    }
  }
}

TEST(GateInvariance, BatchMatesCompeteInAStepGroup) {
  const GateConfig config = Make("capacity=fixed,capacity_fixed=2");
  EXPECT_FALSE(config.invariance().batch_mates);
  const GateRows mine = RandomRows(10, 6, 1);
  GateDecisions behind = Together(config, RandomRows(13, 6, 2), mine);
  const std::vector<std::string> tail(behind.state.begin() + 26, behind.state.end());
  EXPECT_NE(tail, RouteRows(config, mine).state);
}

TEST(GateInvariance, OrderOfRowsInAStepGroupIsTheAdmissionOrder) {
  const GateConfig config = Make("capacity=fixed,capacity_fixed=2");
  GateRows a = RandomRows(5, 6, 1);
  GateRows b = RandomRows(7, 6, 2);
  const GateDecisions ab = Together(config, a, b);
  GateRows swapped;
  swapped.rows = 12;
  swapped.logits = b.logits;
  swapped.logits.insert(swapped.logits.end(), a.logits.begin(), a.logits.end());
  swapped.sequences = {{.rows = 7, .order = 1}, {.first_row = 7, .rows = 5, .order = 0}};
  const GateDecisions ba = RouteRows(config, swapped);
  EXPECT_TRUE(std::equal(ab.state.begin(), ab.state.begin() + 10, ba.state.begin() + 14));
  EXPECT_TRUE(std::equal(ab.state.begin() + 10, ab.state.end(), ba.state.begin()));
}

TEST(GatePadding, TakesNoPlaceAndDisturbsNoDraw) {
  for (const std::string overrides :
       {"capacity=ceil_k,extra_policy=random,rejected_consumes=true",
        "capacity=ceil_k,priority=random", "capacity=ceil_k,priority=weight_desc,overflow=reroute",
        "extra_policy=sample,capacity=fraction,capacity_factor=0.3"}) {
    const GateConfig config = Make(overrides);
    const GateRows real = RandomRows(9, 6, 4);
    GateRows padded = real;  // three rows of rubbish behind the real ones
    padded.rows = 12;
    padded.logits.insert(padded.logits.end(), 18, std::numeric_limits<float>::quiet_NaN());
    padded.valid = {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0};
    const GateDecisions want = RouteRows(config, real);
    GateDecisions got = RouteRows(config, padded);
    for (size_t c = want.state.size(); c < got.state.size(); ++c) {
      EXPECT_EQ(got.state[c], "invalid");
      EXPECT_EQ(got.weight[c], 0.0f);
      EXPECT_EQ(got.place[c], -1);
      EXPECT_EQ(got.action[c], SlotAction::kNone);
    }
    got.state.resize(want.state.size());
    got.weight.resize(want.state.size());
    EXPECT_EQ(got.state, want.state) << overrides;
    EXPECT_EQ(got.weight, want.weight) << overrides;
  }
}

TEST(GateRandom, AcceptanceRateIsTheGateOverTheThreshold) {
  // One row of fixed logits at 1e5 positions: rate = min(1, g2 / t), within four sigma.
  constexpr int64_t kRows = 100000;
  const GateConfig config = Make("extra_policy=random,seed=5", 2);
  GateRows rows;
  rows.rows = kRows;
  for (int64_t i = 0; i < kRows; ++i) rows.logits.insert(rows.logits.end(), {1.0f, 0.0f});
  const GateDecisions got = RouteRows(config, rows);
  const double g2 = 1.0 / (1.0 + std::exp(1.0));
  const double want = g2 / 0.5;
  const auto accepted = static_cast<double>(std::count(got.state.begin(), got.state.end(), "kept"));
  const double rate = accepted / static_cast<double>(kRows) - 1.0;
  EXPECT_NEAR(rate, want, 4 * std::sqrt(want * (1 - want) / static_cast<double>(kRows)));
}

TEST(GateRandom, SampledExpertFollowsTheSoftmaxWithoutTheFirst) {
  constexpr int64_t kRows = 50000;
  GateRows rows;
  rows.rows = kRows;
  for (int64_t i = 0; i < kRows; ++i) rows.logits.insert(rows.logits.end(), {3.0f, 1.0f, 0.0f});
  const GateDecisions got = RouteRows(Make("extra_policy=sample", 3), rows);
  double seconds = 0;
  for (size_t c = 1; c < got.expert.size(); c += 2) {
    ASSERT_NE(got.expert[c], 0);
    seconds += got.expert[c] == 1 ? 1 : 0;
  }
  const double want = std::exp(1.0) / (std::exp(1.0) + 1.0);
  EXPECT_NEAR(seconds / kRows, want, 4 * std::sqrt(want * (1 - want) / kRows));
}

TEST(GateRandom, SeedStreamLayerAndPositionAllMatter) {
  const GateRows rows = RandomRows(64, 6, 9, 0.3f);
  const auto states = [&](uint64_t seed, uint64_t stream, int layer, int64_t start) {
    GateRows variant = rows;
    variant.stream = stream;
    variant.layer = layer;
    variant.start = start;
    return RouteRows(Make("extra_policy=random,extra_threshold=1,seed=" + std::to_string(seed)),
                     variant)
        .state;
  };
  const auto base = states(1, 1, 1, 0);
  EXPECT_EQ(states(1, 1, 1, 0), base);
  EXPECT_NE(states(2, 1, 1, 0), base);
  EXPECT_NE(states(1, 2, 1, 0), base);
  EXPECT_NE(states(1, uint64_t{1} << 40 | 1, 1, 0), base);
  EXPECT_NE(states(1, 1, 2, 0), base);
  EXPECT_NE(states(1, 1, 1, 1), base);
}

TEST(GateTies, GoToTheLowerExpert) {
  GateRows rows;
  rows.rows = 2;
  rows.logits = {1, 1, 1, 1, 1, 1, 0, 7, 3, 7, 3, 7};
  const GateDecisions got = RouteRows(Make("top_k=4"), rows);
  EXPECT_EQ(got.expert, (std::vector<int32_t>{0, 1, 2, 3, 1, 3, 5, 2}));
}

TEST(GateErrors, LogitsThatAreNotFiniteAreMarkedAndDisturbNobody) {
  for (const std::string overrides :
       {"top_k=2", "extra_policy=random", "capacity=fixed,capacity_fixed=2",
        "capacity=fixed,capacity_fixed=2,group=sequence_chunk,priority=token_major"}) {
    const GateConfig config = Make(overrides);
    GateRows rows = RandomRows(5, 6, 1);
    rows.streams = {1, 2, 3, 4, 5};
    GateRows padded = rows;
    padded.valid = {1, 1, 0, 1, 1};
    const GateDecisions want = RouteRows(config, padded);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
      rows.logits[6 * 2 + 4] = bad;
      std::vector<int32_t> taken(6, 0);
      const std::vector<GateSequence> sequence = {{.rows = 5, .taken = taken}};
      Workspace workspace;
      const auto comms = MakeThreadCommunicators(1);
      const auto got = MakeGate(config)->Route(
          {.logits = {rows.logits.data(), 5, 6}, .sequences = sequence, .streams = rows.streams},
          *comms[0], workspace);
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(std::vector<uint8_t>(got->bad.begin(), got->bad.end()),
                (std::vector<uint8_t>{0, 0, 1, 0, 0}));
      for (size_t c = 0; c < want.action.size(); ++c) {
        EXPECT_EQ(got->action[c], want.action[c]) << overrides;
        EXPECT_EQ(got->place[c], want.place[c]) << overrides;
        EXPECT_EQ(got->weight[c], want.weight[c]) << overrides;
        if (c / 2 == 2) {
          EXPECT_EQ(got->action[c], SlotAction::kNone);
        }
      }
    }
  }
}

TEST(GateProperties, CountersAtPageEndsAreThoseOfShorterPrefills) {
  const GateConfig config = Make(
      "capacity=fixed,capacity_fixed=2,group=sequence_chunk,group_size=5,priority=token_major");
  constexpr int64_t kPage = 4;
  const GateRows rows = RandomRows(19, 6, 4);
  std::vector<std::vector<int32_t>> pages(4, std::vector<int32_t>(8, -1));  // offset 2
  std::vector<int32_t*> page_ends;
  for (auto& page : pages) page_ends.push_back(page.data());
  std::vector<int32_t> taken(6, 0);
  const std::vector<GateSequence> sequence = {
      {.rows = 19, .taken = taken, .page_ends = page_ends, .page_offset = 2, .page_size = kPage}};
  Workspace workspace;
  const auto comms = MakeThreadCommunicators(1);
  const auto got = MakeGate(config)->Route(
      {.logits = {rows.logits.data(), 19, 6}, .sequences = sequence}, *comms[0], workspace);
  ASSERT_TRUE(got.ok()) << got.status();
  const GateDecisions want = RouteRows(config, rows);
  for (size_t c = 0; c < want.place.size(); ++c) EXPECT_EQ(got->place[c], want.place[c]);
  for (size_t p = 0; p < pages.size(); ++p) {
    std::vector<int32_t> shorter(6, 0);
    RouteRows(config, Slice(rows, 0, static_cast<int64_t>(p + 1) * kPage), &shorter);
    EXPECT_EQ(std::vector<int32_t>(pages[p].begin() + 2, pages[p].end()), shorter) << "page " << p;
    EXPECT_EQ(pages[p][0], -1);
  }
}

TEST(GateProperties, PrefixesAreSharedOnlyWhereTheyDecideAlone) {
  const std::string chunk = "capacity=ceil_k,group=sequence_chunk,priority=";
  EXPECT_TRUE(Make("top_k=2").PrefixCacheable());
  EXPECT_TRUE(Make("extra_policy=random").PrefixCacheable());
  EXPECT_TRUE(Make(chunk + "token_major").PrefixCacheable());
  EXPECT_FALSE(Make("extra_policy=random,rng_scope=sequence_id").PrefixCacheable());
  EXPECT_FALSE(Make(chunk + "slot_major").PrefixCacheable());
  EXPECT_FALSE(Make(chunk + "token_major,overflow=reroute").PrefixCacheable());
  EXPECT_FALSE(Make("capacity=ceil_k,group=step").PrefixCacheable());
  EXPECT_FALSE(Make("capacity=ceil_k,group=rank").PrefixCacheable());
}

TEST(GateErrors, TokenTableNeedsKnownIds) {
  const GateConfig config = Make("selection=token_table,token_table=[[0,1],[2,3]]");
  const GateRows rows = RandomRows(1, 6, 1);
  const std::vector<GateSequence> sequence = {{.rows = 1}};
  const std::vector<int32_t> outside = {2};
  Workspace workspace;
  const auto comms = MakeThreadCommunicators(1);
  GateInput input = {.logits = {rows.logits.data(), 1, 6}, .sequences = sequence};
  EXPECT_THAT(std::string(Message(MakeGate(config)->Route(input, *comms[0], workspace).status())),
              HasSubstr("needs the token id"));
  input.token_ids = outside;
  EXPECT_THAT(std::string(Message(MakeGate(config)->Route(input, *comms[0], workspace).status())),
              HasSubstr("token id 2 is outside"));
}

TEST(GateMemory, NothingIsAllocatedOnceWarm) {
  const GateRows rows = RandomRows(300, 6, 1);
  const std::vector<uint64_t> streams(300, 1);
  const std::vector<GateSequence> sequence = {{.rows = 300}};
  const auto comms = MakeThreadCommunicators(1);
  const auto gate =
      MakeGate(Make("capacity=ceil_k,priority=random,overflow=reroute,n_group=3,"
                    "topk_group=2,extra_policy=random"));
  Workspace workspace;
  int64_t warm = 0;
  for (int step = 0; step < 3; ++step) {
    workspace.Reset();
    ASSERT_TRUE(
        gate->Route(
                {.logits = {rows.logits.data(), 300, 6}, .sequences = sequence, .streams = streams},
                *comms[0], workspace)
            .ok());
    if (step == 0) warm = workspace.allocations();
  }
  EXPECT_EQ(workspace.allocations(), warm);
}

}  // namespace
}  // namespace folkmoot
