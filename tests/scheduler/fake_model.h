// SPDX-License-Identifier: Apache-2.0
// A model of a few lines whose next token depends on every token before, and what it generates when
// nobody schedules anything. Keys and values of a position are a hash of all tokens up to it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/token_constraint.h"
#include "scheduler/request.h"

namespace folkmoot {

inline constexpr int64_t kFakeVocab = 40;
// A gate with which some tokens are an error, and one whose results no other sequence may use.
inline constexpr char kFragileGate[] = "fragile";
inline constexpr char kPrivateGate[] = "private";

inline uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = (a ^ (b * 0x9e3779b97f4a7c15ull)) + 0x632be59bd9b4e019ull;
  x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9ull;
  return x ^ (x >> 29);
}

// Before the first token. With the private gate every sequence has its own, and so has every
// source: what an encoder computes depends on all of it.
uint64_t RootState(const std::string& gate, int64_t sequence, std::span<const int32_t> source);
inline uint64_t NextState(uint64_t state, int32_t token) {
  return Mix(state, static_cast<uint64_t>(token) + 1);
}
// Behind the token at `position`. A window of so many tokens (0: none) that keeps the `given` ones
// of the prompt: rows from which it hides something know where the prompt ends.
inline uint64_t RowState(uint64_t state, int32_t token, int64_t position, int64_t given,
                         int64_t window) {
  const uint64_t next = NextState(state, token);
  const bool hides = window > 0 && position >= given + window;
  return hides ? Mix(next, static_cast<uint64_t>(given)) : next;
}
inline bool IsError(const std::string& gate, uint64_t state) {
  return gate == kFragileGate && state % 67 == 0;
}
// `allowed`: a mask over the vocabulary; empty: all. The text of seed 2 is dull: easy to guess.
int32_t SampleToken(uint64_t state, uint64_t seed, std::span<const uint32_t> allowed);

// Allows tokens of one residue class modulo 3 after another, `length` in all, and then only `end`,
// or nothing when that is -1. Copies count their masks together.
class FakeConstraint : public TokenConstraint {
 public:
  FakeConstraint(int length, int32_t end) : length_(length), end_(end) {}
  bool FillMask(std::span<uint32_t> mask) override;
  void Accept(int32_t token) override;
  std::unique_ptr<TokenConstraint> Clone() const override;
  int64_t masks() const { return *masks_; }

 private:
  int length_;
  int32_t end_;
  int seen_ = 0;
  std::shared_ptr<int64_t> masks_ = std::make_shared<int64_t>(0);
};

struct Expected {
  std::vector<int32_t> tokens;
  FinishReason finish = FinishReason::kNone;
  uint64_t digest = 0;  // state after the last computed row
  int64_t rows = 0;     // computed
};
// What choice `choice`, which is sequence `sequence`, must hear of a model with such a window.
Expected Expect(const Request& request, int32_t choice, int64_t sequence,
                int64_t output_window = 0);

}  // namespace folkmoot
