// SPDX-License-Identifier: Apache-2.0
// Text from tokens that arrive one at a time.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/tokenizer/decode_stream.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {

// Gives only whole characters; all pieces together equal Tokenizer::Decode of all ids.
// Bytes that cannot become a character give U+FFFD, at the latest in Finish.
//
// With a SentencePiece-style vocabulary a run of byte tokens (<0x0A>, ...) is held back until
// another token ends it, because a later byte may still make the whole run invalid.
// One thread at a time.
class IncrementalDecoder {
 public:
  // `tokenizer` must outlive the decoder.
  IncrementalDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);

  // The text that is certain after this id and was not given before; often empty.
  std::string Push(int32_t id);
  // The rest. The decoder is used up after it.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  DecodeStream stream_;
};

}  // namespace folkmoot
