// SPDX-License-Identifier: Apache-2.0
// How well a model knows a text.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/status.h"

namespace folkmoot {

struct TextBits {
  int64_t tokens = 0;  // predicted
  int64_t bytes = 0;   // of UTF-8, of these tokens
  double bits = 0;     // -log2 of their probabilities, summed

  double per_byte() const { return bits / static_cast<double>(bytes); }
};

// The text in windows of up to 1024 tokens (less where the model's context is shorter), each
// beginning with the last token of the one before it: every token but the first is predicted once.
// On the CPU, in this process; `threads` 0: as many as there are cores.
absl::StatusOr<TextBits> MeasureTextBits(const std::string& model, const std::string& text,
                                         int threads);

}  // namespace folkmoot
