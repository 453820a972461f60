// SPDX-License-Identifier: Apache-2.0
// The bytes that each token adds to the decoded text, for masks over the vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

class Decoder;
class Tokenizer;

struct TokenBytes {
  // [vocab_size], by id. Special tokens and ids that are no token have none. Text may end inside a
  // character: the token after it completes it.
  std::vector<std::string> bytes;
  // The same for the first token of a text; empty when there is no difference.
  std::vector<std::string> first_bytes;
  // Decoding drops up to so many spaces at the very beginning of the text (SentencePiece).
  int32_t dropped_spaces = 0;

  // Concatenated, the bytes are what an IncrementalDecoder gives for the same ids, if they are
  // valid UTF-8. Error: FailedPrecondition when the decoder's steps work across tokens in another
  // way (a Replace after Fuse, a Strip at the end of the text).
  static absl::StatusOr<TokenBytes> Of(const Tokenizer& tokenizer);

 private:
  static absl::Status CheckSteps(const Decoder& decoder, TokenBytes* result, bool* first_differs);
  static std::string OneToken(const Decoder& decoder, std::string_view token, bool first);
};

}  // namespace folkmoot
