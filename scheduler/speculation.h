// SPDX-License-Identifier: Apache-2.0
// Guesses for the tokens that a sequence will write next. A step that carries guesses computes a
// row for each of them behind the row of the last known token, and samples after every row the
// token that would have been sampled without any guesses, from the same random number. As long as
// that token is the one that was guessed, the next row was the right one and its token counts too.
// So guesses decide how many tokens a step gives, and never which.
//
// Prompt look-up is the method of Saxena, "Prompt Lookup Decoding" (2023); names are vLLM's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace folkmoot {

// kPromptLookup: the text so far is searched here, and guesses travel with the plan. kDraftModel:
// each rank asks its own small model for as many guesses as the plan says.
enum class SpeculationMethod : uint8_t { kPromptLookup, kDraftModel };

// Replaces `*guesses` by at most `most` guesses for what follows `tokens`.
using Guesser = std::function<void(std::span<const int32_t> tokens, int64_t most,
                                   std::vector<int32_t>* guesses)>;

struct SpeculationOptions {
  SpeculationMethod method = SpeculationMethod::kPromptLookup;
  int64_t tokens = 0;      // the most guesses of one sequence in one step; 0: none
  int64_t lookup_max = 4;  // tokens at the end of the text that are looked for, the longest first
  int64_t lookup_min = 2;
  Guesser guesser = nullptr;  // in place of prompt look-up: for tests and `folkmoot verify`
};

// Sums since the start.
struct SpeculationCounts {
  int64_t drafts = 0;    // slices with guesses
  int64_t drafted = 0;   // guesses that were verified
  int64_t accepted = 0;  // of them, those that became tokens of an output
};

// Looks for the last lookup_max tokens earlier in the text, then for fewer of them down to
// lookup_min; the latest place wins. Guesses are what followed there; where the place is less than
// `most` tokens from the end, its guesses follow (a text that repeats itself goes on repeating).
// Replaces `*guesses`; none when the text holds no such place. Looks back kLookupWindow tokens at
// most, so that a step's work is bounded.
constexpr int64_t kLookupWindow = int64_t{1} << 16;
void LookUp(std::span<const int32_t> tokens, const SpeculationOptions& options, int64_t most,
            std::vector<int32_t>* guesses);

// Guesses of one who knows the answer, for tests and `folkmoot verify`: adds what `text` goes on
// with behind `tokens`, but for another token at every `slip`-th place. False: `text` does not
// begin with `tokens`.
bool Recite(std::span<const int32_t> text, std::span<const int32_t> tokens, int64_t most,
            size_t slip, std::vector<int32_t>* guesses);

// How many guesses a sequence is worth in its next step, from how its last ones fared: twice as
// many after all were right, up to `tokens`; one more than were right after some; after none, half
// as many, and then for a while no guesses at all: 1, 3, 7 ... 31 steps.
class DraftPace {
 public:
  // For the next step. Call once per step in which the sequence could have guesses.
  int64_t Next(int64_t tokens);
  void Heard(int64_t drafted, int64_t accepted);

 private:
  static constexpr int64_t kLongestRest = 31;
  int64_t length_ = 0;  // 0: not begun
  int64_t pause_ = 0;   // steps of the last rest
  int64_t rest_ = 0;    // steps left of it
};

}  // namespace folkmoot
