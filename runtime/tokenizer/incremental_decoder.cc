// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/incremental_decoder.h"

namespace folkmoot {

IncrementalDecoder::IncrementalDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer),
      skip_special_tokens_(skip_special_tokens),
      stream_(tokenizer.NewDecodeStream()) {}

std::string IncrementalDecoder::Push(int32_t id) {
  std::string text;
  if (const auto token = tokenizer_.DecoderInput(id, skip_special_tokens_)) {
    stream_.Push(*token, &text);
  }
  return text;
}

std::string IncrementalDecoder::Finish() {
  std::string text;
  stream_.Finish(&text);
  return text;
}

}  // namespace folkmoot
