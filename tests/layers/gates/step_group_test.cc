// SPDX-License-Identifier: Apache-2.0
// `step` capacity over several ranks equals the same tokens in one place.
#include <thread>

#include "gtest/gtest.h"
#include "layers/gates/presets.h"
#include "parallel/thread_communicator.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {
namespace {

constexpr int kExperts = 5;

GateConfig Make(const std::string& overrides) {
  GateConfig config = *MakePreset("mixtral", kExperts);
  const absl::Status status = ApplyOverrides(overrides, &config);
  EXPECT_TRUE(status.ok()) << Message(status);
  return config;
}

// Sequences of 4, 1, 6, 0, 2 and 3 tokens; every fourth token of the step is padding if asked.
std::vector<GateRows> Sequences(bool padding) {
  std::vector<GateRows> sequences;
  uint64_t seed = 1;
  int64_t row = 0;
  for (const int64_t rows : {4, 1, 6, 0, 2, 3}) {
    GateRows sequence = RandomRows(rows, kExperts, seed);
    sequence.start = static_cast<int64_t>(10 * seed);
    sequence.stream = seed++;
    for (int64_t i = 0; padding && i < rows; ++i) sequence.valid.push_back(++row % 4 == 0 ? 0 : 1);
    sequences.push_back(sequence);
  }
  return sequences;
}

// The rows of the named sequences, as the batch of one rank.
GateRows Batch(const std::vector<GateRows>& sequences, const std::vector<size_t>& members) {
  GateRows batch;
  for (const size_t member : members) {
    const GateRows& from = sequences[member];
    batch.sequences.push_back({.first_row = batch.rows,
                               .rows = from.rows,
                               .start = from.start,
                               .order = static_cast<int64_t>(member)});
    batch.rows += from.rows;
    batch.logits.insert(batch.logits.end(), from.logits.begin(), from.logits.end());
    batch.valid.insert(batch.valid.end(), from.valid.begin(), from.valid.end());
    batch.streams.insert(batch.streams.end(), static_cast<size_t>(from.rows), from.stream);
  }
  return batch;
}

// Decisions per sequence, in the order of the sequences.
using PerSequence = std::vector<GateDecisions>;

void Split(const GateDecisions& from, const GateRows& batch, PerSequence* to) {
  const auto cut = [](const auto& source, size_t first, size_t count, auto* target) {
    const auto begin = source.begin() + static_cast<ptrdiff_t>(first);
    target->assign(begin, begin + static_cast<ptrdiff_t>(count));
  };
  for (const GateSequence& sequence : batch.sequences) {
    const size_t k = batch.rows == 0 ? 1 : from.state.size() / static_cast<size_t>(batch.rows);
    const size_t first = static_cast<size_t>(sequence.first_row) * k;
    const size_t count = static_cast<size_t>(sequence.rows) * k;
    GateDecisions& part = (*to)[static_cast<size_t>(sequence.order)];
    cut(from.expert, first, count, &part.expert);
    cut(from.weight, first, count, &part.weight);
    cut(from.state, first, count, &part.state);
    cut(from.place, first, count, &part.place);
    cut(from.action, first, count, &part.action);
  }
}

PerSequence OnRanks(const GateConfig& config, const std::vector<GateRows>& sequences,
                    const std::vector<std::vector<size_t>>& members) {
  const auto comms = MakeThreadCommunicators(static_cast<int>(members.size()));
  std::vector<GateDecisions> decided(members.size());
  std::vector<GateRows> batches;
  for (const auto& of_rank : members) batches.push_back(Batch(sequences, of_rank));
  std::vector<std::thread> threads;
  for (size_t r = 0; r < members.size(); ++r) {
    threads.emplace_back([&, r] { decided[r] = RouteRows(config, batches[r], *comms[r]); });
  }
  for (std::thread& thread : threads) thread.join();
  PerSequence result(sequences.size());
  for (size_t r = 0; r < members.size(); ++r) Split(decided[r], batches[r], &result);
  return result;
}

const std::vector<std::vector<std::vector<size_t>>> kSpreads = {
    {{2, 0, 5, 1, 3, 4}},           // one rank, rows not in admission order
    {{1, 3, 5}, {4, 2, 0}},         // two
    {{0, 1, 2, 3, 4, 5}, {}},       // all on the first
    {{3}, {5, 0}, {1, 2, 4}},       // three, one with nothing but an empty sequence
    {{}, {2}, {4, 5, 0, 1}, {3}}};  // four, idle ranks
const std::vector<std::vector<size_t>> kOnePlace = {{0, 1, 2, 3, 4, 5}};

TEST(StepGroup, IsIndependentOfTheRanks) {
  for (const char* priority :
       {"slot_major", "token_major", "batch_prioritized", "weight_desc", "random"}) {
    for (const char* rest : {"", ",overflow=reroute", ",overflow=passthrough,normalize=after_drop",
                             ",extra_policy=random,rejected_consumes=true"}) {
      for (const bool padding : {false, true}) {
        const GateConfig config =
            Make(std::string("capacity=ceil_k,capacity_factor=0.6,priority=") + priority + rest);
        const std::vector<GateRows> sequences = Sequences(padding);
        const PerSequence want = OnRanks(config, sequences, kOnePlace);
        for (const auto& spread : kSpreads) {
          EXPECT_EQ(OnRanks(config, sequences, spread), want)
              << priority << rest << " on " << spread.size() << " ranks";
        }
      }
    }
  }
}

TEST(StepGroup, OtherGroupsOfTheSameTokens) {
  const std::vector<GateRows> sequences = Sequences(false);
  const GateConfig local = Make("capacity=ceil_k,capacity_factor=0.6,group=rank");
  EXPECT_FALSE(local.invariance().rank_count);
  EXPECT_NE(OnRanks(local, sequences, kSpreads[3]), OnRanks(local, sequences, kOnePlace));

  const GateConfig dropless = Make("extra_policy=random");  // no exchange at all
  PerSequence want = OnRanks(dropless, sequences, kOnePlace);
  PerSequence got = OnRanks(dropless, sequences, kSpreads[3]);
  for (size_t s = 0; s < want.size(); ++s) {
    EXPECT_EQ(got[s].expert, want[s].expert);
    EXPECT_EQ(got[s].weight, want[s].weight);
    EXPECT_EQ(got[s].state, want[s].state);
  }
}

}  // namespace
}  // namespace folkmoot
