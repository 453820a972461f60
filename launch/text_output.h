// SPDX-License-Identifier: Apache-2.0
// Turns sampled ids into text that may be shown: whole characters only, and nothing that could
// still become a stop string.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {

class TextOutput {
 public:
  TextOutput() = default;  // no tokenizer: no text
  // `tokenizer` may be null and must outlive the object. Text ends before the first of `stops`.
  TextOutput(const Tokenizer* tokenizer, std::vector<std::string> stops);

  // The text that became final with this token.
  std::string Push(int32_t token);
  // The rest: what was held back. No token may follow.
  std::string Finish();

  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }  // all that was returned so far

 private:
  std::string Release(bool final);

  std::unique_ptr<IncrementalDecoder> decoder_;
  std::vector<std::string> stops_;
  std::string held_;
  std::string text_;
  bool stopped_ = false;
};

}  // namespace folkmoot
