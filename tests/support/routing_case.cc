// SPDX-License-Identifier: Apache-2.0
#include "tests/support/routing_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace folkmoot {
namespace {

SlotAction ActionOf(ChoicePattern pattern, uint32_t hash) {
  if (pattern == ChoicePattern::kNoneKept) return SlotAction::kNone;
  if (pattern != ChoicePattern::kMixed) return SlotAction::kExpert;
  switch (hash % 8) {
    case 0:
    case 1:
      return SlotAction::kNone;
    case 2:
      return SlotAction::kIdentity;
    default:
      return SlotAction::kExpert;
  }
}

}  // namespace

std::string RoutingCase::Name() const {
  return fmt::format(
      "tokens {} hidden {} experts {} top_k {} weight_on_input {} pattern {} split {}", tokens,
      hidden, experts, top_k, weight_on_input, static_cast<int>(pattern), static_cast<int>(split));
}

int64_t RoutingCase::FirstToken(int rank, int ranks) const {
  if (rank == ranks) return tokens;
  switch (split) {
    case TokenSplit::kEven:
      return tokens * rank / ranks;
    case TokenSplit::kLastRankOnly:
      return 0;
    case TokenSplit::kFirstRankEmpty:
      return ranks == 1 ? 0 : tokens * std::max(rank - 1, 0) / (ranks - 1);
  }
  return 0;
}

std::vector<RoutingCase> AllCases() {
  std::vector<RoutingCase> cases;
  for (const int top_k : {1, 2, 4}) {
    for (const bool weight_on_input : {false, true}) {
      for (const ChoicePattern pattern : {ChoicePattern::kMixed, ChoicePattern::kOneExpert,
                                          ChoicePattern::kNoneKept, ChoicePattern::kAllKept}) {
        for (const TokenSplit split :
             {TokenSplit::kEven, TokenSplit::kLastRankOnly, TokenSplit::kFirstRankEmpty}) {
          RoutingCase test;
          test.top_k = top_k;
          test.weight_on_input = weight_on_input;
          test.pattern = pattern;
          test.split = split;
          test.seed = static_cast<uint32_t>(cases.size() + 1);
          cases.push_back(test);
        }
      }
    }
  }
  RoutingCase empty;
  empty.tokens = 0;
  cases.push_back(empty);
  RoutingCase wide;  // messages beyond the eager size of MPI
  wide.tokens = 40;
  wide.hidden = 1100;
  wide.top_k = 4;
  cases.push_back(wide);
  RoutingCase few_experts;  // more ranks than experts
  few_experts.experts = 2;
  cases.push_back(few_experts);
  return cases;
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) return false;
  }
  return true;
}

uint32_t TestHash(uint32_t seed, int64_t a, int64_t b) {
  uint64_t z = seed + 0x9e3779b97f4a7c15u * static_cast<uint64_t>(a * 1000003 + b + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return static_cast<uint32_t>(z >> 32);
}

float TestNumber(uint32_t seed, int64_t a, int64_t b) {
  return static_cast<float>(TestHash(seed, a, b) >> 8) * 0x1p-23f - 1.0f;
}

TestTokens::TestTokens(const RoutingCase& test, int64_t first, int64_t count)
    : hidden(test.hidden) {
  for (int64_t t = first; t < first + count; ++t) {
    for (int64_t h = 0; h < hidden; ++h) values.push_back(TestNumber(test.seed, t, h));
    for (int k = 0; k < test.top_k; ++k) {
      const uint32_t hash = TestHash(test.seed + 7, t, k);
      const bool one = test.pattern == ChoicePattern::kOneExpert;
      expert.push_back(one ? test.experts - 1
                           : static_cast<int32_t>(hash % static_cast<uint32_t>(test.experts)));
      weight.push_back(TestNumber(test.seed + 13, t, k));
      action.push_back(ActionOf(test.pattern, hash >> 16));
      state.push_back(action.back() == SlotAction::kNone ? SlotState::kRejected : SlotState::kKept);
      place.push_back(-1);
    }
  }
  routing.tokens = count;
  routing.top_k = test.top_k;
  routing.weight_on_input = test.weight_on_input;
  routing.expert = expert;
  routing.weight = weight;
  routing.state = state;
  routing.action = action;
  routing.place = place;
}

float ExpertFactor(int expert) { return 0.7f + 0.3f * static_cast<float>(expert); }

ExpectedBatch DenseBatch(const RoutingCase& test, const ExpertPlacement& placement, int rank) {
  const TestTokens all(test, 0, test.tokens);
  ExpectedBatch batch;
  batch.offsets.push_back(0);
  int64_t rows = 0;
  for (const int expert : placement.experts_of(rank)) {
    for (int64_t t = 0; t < test.tokens; ++t) {
      for (int k = 0; k < test.top_k; ++k) {
        const size_t choice = static_cast<size_t>(t * test.top_k + k);
        if (all.action[choice] != SlotAction::kExpert || all.expert[choice] != expert) continue;
        for (int64_t h = 0; h < test.hidden; ++h) {
          const float x = all.x().Row(t)[h];
          batch.rows.push_back(test.weight_on_input ? all.weight[choice] * x : x);
        }
        ++rows;
      }
    }
    batch.offsets.push_back(rows);
  }
  return batch;
}

std::vector<float> DenseSum(const RoutingCase& test, int64_t first, int64_t count) {
  const TestTokens tokens(test, first, count);
  std::vector<float> sums;
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t h = 0; h < test.hidden; ++h) {
      const float x = tokens.x().Row(t)[h];
      float sum = 0.0f;
      for (int k = 0; k < test.top_k; ++k) {
        const size_t choice = static_cast<size_t>(t * test.top_k + k);
        const float weight = tokens.weight[choice];
        const float factor = ExpertFactor(tokens.expert[choice]);
        if (tokens.action[choice] == SlotAction::kIdentity) {
          sum += weight * x;
        } else if (tokens.action[choice] == SlotAction::kExpert) {
          sum += test.weight_on_input ? factor * (weight * x) : weight * (factor * x);
        }
      }
      sums.push_back(sum);
    }
  }
  return sums;
}

}  // namespace folkmoot
