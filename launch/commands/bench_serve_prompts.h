// SPDX-License-Identifier: Apache-2.0
// What `bench serve` asks for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

struct BenchPrompt {
  std::string text;  // used when there are no tokens
  std::vector<int32_t> tokens;
  int64_t output_tokens = 1;
};

struct BenchDataset {
  std::string name = "random";  // random, prefix_repetition, sharegpt, custom
  std::string path;             // of sharegpt (JSON) and custom (JSONL)
  int64_t prompts = 1000;
  uint64_t seed = 0;
  int64_t vocab = 1000;  // random token ids are in [0, vocab)
  bool as_text = false;  // words instead of token ids, for chat

  int64_t input_len = 1024;  // random
  int64_t output_len = 128;
  int64_t prefix_len = 0;    // of the random prompts, the same for all
  double range_ratio = 0.0;  // lengths are uniform in [len (1 - r), len (1 + r)]

  int64_t repetition_prefix_len = 256;  // prefix_repetition
  int64_t repetition_suffix_len = 256;
  int64_t repetition_prefixes = 10;
  int64_t repetition_output_len = 128;

  int64_t file_output_len = 0;  // sharegpt and custom; 0: what the file says
};

// As many prompts as asked for; a file with fewer is gone through again. Same seed, same prompts.
// sharegpt: the first two turns of each conversation; without file_output_len the answer's length
// is taken as a token for four bytes. custom: {"prompt": text} a line, "output_tokens" optional
// (256).
absl::StatusOr<std::vector<BenchPrompt>> MakeBenchPrompts(const BenchDataset& dataset);

}  // namespace folkmoot
