// SPDX-License-Identifier: Apache-2.0
// Tokens, choices and experts of the dispatcher tests, and their dense oracle. A token's row and
// choices depend on its global number alone, so every split over ranks must give the same sums.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/expert_placement.h"
#include "parallel/routing.h"
#include "runtime/tensor.h"

namespace folkmoot {

enum class ChoicePattern { kMixed, kOneExpert, kNoneKept, kAllKept };
enum class TokenSplit { kEven, kLastRankOnly, kFirstRankEmpty };

struct RoutingCase {
  int64_t tokens = 13;
  int64_t hidden = 5;
  int experts = 7;
  int top_k = 2;
  bool weight_on_input = false;
  ChoicePattern pattern = ChoicePattern::kMixed;
  TokenSplit split = TokenSplit::kEven;
  uint32_t seed = 1;

  std::string Name() const;
  // Global number of the first token of `rank`; FirstToken(ranks, ranks) == tokens.
  int64_t FirstToken(int rank, int ranks) const;
};

// What every dispatcher is tested with.
std::vector<RoutingCase> AllCases();

bool SameBits(std::span<const float> a, std::span<const float> b);

// Hash of its arguments; uniform in [-1, 1) for floats.
uint32_t TestHash(uint32_t seed, int64_t a, int64_t b);
float TestNumber(uint32_t seed, int64_t a, int64_t b);

// Tokens first .. first + count - 1 with their choices. Owns the memory that `routing` shows.
struct TestTokens {
  TestTokens(const RoutingCase& test, int64_t first, int64_t count);
  TestTokens(const TestTokens&) = delete;
  TestTokens& operator=(const TestTokens&) = delete;

  ConstMatrix x() const { return {values.data(), routing.tokens, hidden}; }

  int64_t hidden;
  std::vector<float> values;
  std::vector<int32_t> expert;
  std::vector<float> weight;
  std::vector<SlotState> state;
  std::vector<SlotAction> action;
  std::vector<int32_t> place;
  Routing routing;
};

// Each expert multiplies by a constant of its own, so a row at the wrong expert is noticed.
float ExpertFactor(int expert);

// The rows that rank `rank` must get for its expert slots, in order, and their offsets.
struct ExpectedBatch {
  std::vector<float> rows;
  std::vector<int64_t> offsets;
};
ExpectedBatch DenseBatch(const RoutingCase& test, const ExpertPlacement& placement, int rank);

// The sums of tokens first .. first + count - 1: plain loops, slot order, float32.
std::vector<float> DenseSum(const RoutingCase& test, int64_t first, int64_t count);

}  // namespace folkmoot
