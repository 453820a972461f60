// SPDX-License-Identifier: Apache-2.0
// Decoders of tokenizer.json: from the texts of tokens back to the text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/tokenizer/decode_stream.h"
#include "runtime/tokenizer/tokenizer_json.h"

namespace folkmoot {

// Immutable; any thread may call NewStream at the same time.
class Decoder {
 public:
  // ByteLevel, ByteFallback, Fuse, Strip, Replace (with a string), Metaspace and Sequence; refuses
  // others by name. Without a decoder, tokens are joined with one space.
  static absl::StatusOr<Decoder> Parse(const std::optional<JsonNode>& node);

  DecodeStream NewStream() const;

 private:
  friend struct TokenBytes;  // what the steps make of one token
  enum class Kind { kByteLevel, kByteFallback, kFuse, kStrip, kReplace, kMetaspace, kJoin };
  struct Step {
    Kind kind;
    bool fused = false;     // its input is one token in pieces
    std::string pattern{};  // kReplace, kMetaspace; the character of kStrip
    std::string content{};  // kReplace
    size_t start = 0;       // kStrip: at most so many characters
    size_t stop = 0;
    bool drop_in_first = false;  // kMetaspace
  };

  absl::Status ParseNode(const JsonNode& node);
  absl::Status ParseStrip(const JsonNode& node);
  absl::Status ParseMetaspace(const JsonNode& node);
  absl::Status Add(const JsonNode& node, Step step);
  static std::unique_ptr<DecodeStage> NewStage(const Step& step);

  std::vector<Step> steps_;
  bool fused_ = false;  // what comes out of steps_ is one token in pieces
};

}  // namespace folkmoot
