// SPDX-License-Identifier: Apache-2.0
// How the next token is chosen. Names and meanings are vLLM's SamplingParams.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace folkmoot {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int32_t top_k = 0;         // 0 or -1: off
  float top_p = 1.0f;
  float min_p = 0.0f;  // keep tokens with p >= min_p * max p
  uint64_t seed = 0;   // draws are keyed by (seed, position)

  // Over the output so far (presence, frequency) or prompt and output (repetition).
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  float repetition_penalty = 1.0f;  // > 0

  std::vector<std::pair<int32_t, float>> logit_bias;  // added; ids ascending, each once
  std::vector<int32_t> allowed_ids;                   // empty: all
  std::vector<std::vector<int32_t>> bad_words;        // token sequences that may not appear
  int64_t min_tokens = 0;                             // no id of suppressed_ids before so many
  std::vector<int32_t> suppressed_ids;                // the end tokens, for min_tokens

  // Does any choice depend on the tokens before?
  bool NeedsHistory() const {
    return presence_penalty != 0 || frequency_penalty != 0 || repetition_penalty != 1 ||
           !bad_words.empty();
  }
};

// All that counts for one token where the logits alone do: no history, no biases, no masks.
struct PlainSampling {
  float temperature = 0;  // 0: greedy
  float top_p = 1;
  float min_p = 0;
  int32_t top_k = 0;  // 0: all
  uint64_t seed = 0;
  int64_t position = 0;  // that the token will have
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
};

}  // namespace folkmoot
