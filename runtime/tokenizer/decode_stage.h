// SPDX-License-Identifier: Apache-2.0
// The stages of which a DecodeStream is made. Private to runtime/tokenizer.
#pragma once

#include <absl/functional/function_ref.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace folkmoot {

// Takes tokens, gives tokens. A stage whose input is "fused" takes pieces of one long token.
// Stages hold the state of one decoding; one thread at a time.
class DecodeStage {
 public:
  using Sink = absl::FunctionRef<void(std::string_view)>;
  virtual ~DecodeStage() = default;
  virtual void Push(std::string_view token, Sink sink) = 0;
  virtual void Finish(Sink /*sink*/) {}
};

// Byte alphabet to bytes to characters; a token with a character outside the alphabet counts as
// its own UTF-8. Output is fused.
std::unique_ptr<DecodeStage> NewByteLevelStage();
// Runs of <0xNN> tokens become text if all of the run is valid UTF-8, else one U+FFFD per byte.
// A run is held back until it ends: a later byte can still turn all of it into U+FFFD.
std::unique_ptr<DecodeStage> NewByteFallbackStage();
// Passes everything on; its output is fused.
std::unique_ptr<DecodeStage> NewFuseStage();
// A space between tokens.
std::unique_ptr<DecodeStage> NewJoinStage();
// `text` with every `pattern` (not empty) replaced by `content`.
std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content);

// Replaces every `pattern` (not empty) by `content`.
std::unique_ptr<DecodeStage> NewReplaceStage(std::string pattern, std::string content, bool fused);
// Drops up to `start` leading and `stop` trailing `character`s of each token.
std::unique_ptr<DecodeStage> NewStripStage(std::string character, size_t start, size_t stop,
                                           bool fused);
// `replacement` becomes a space, or nothing in the first token if `drop_in_first`.
std::unique_ptr<DecodeStage> NewMetaspaceStage(std::string replacement, bool drop_in_first);

}  // namespace folkmoot
