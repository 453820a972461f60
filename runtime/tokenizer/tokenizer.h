// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a Hugging Face model directory: tokenizer.json, and from the
// tokenizer_config.json beside it the begin, end and padding tokens. Ids and texts are those of the
// `tokenizers` package.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

class DecodeStream;
class Decoder;

// Immutable after Load: any thread may call the const methods at the same time.
//
// Whatever the file asks for and we cannot do is refused when it is loaded, by name, with the place
// in the file. "truncation" and "padding" are not applied: the request decides about length.
class Tokenizer {
 public:
  struct EncodeOptions {
    // The special tokens that the model wants around a text (its post-processor).
    bool add_special_tokens = true;
    // Whether "<|im_end|>" in the text becomes that token. Keep it off for text of users inside a
    // template, so that they cannot write the template's own tokens.
    bool parse_special = true;
    // When set, even to an empty list: added and special tokens are recognised only where they lie
    // wholly inside one of these half-open ranges of the text's bytes (sorted, disjoint), and all
    // else is plain text; parse_special is not read. For ChatTemplate::Rendered::trusted. With one
    // range over the whole text this is parse_special. Added tokens of mere white space that are
    // not special are ordinary vocabulary and recognised everywhere. Added tokens that are matched
    // in normalized text are left out of a part whose normalization cannot be told apart at the
    // range's ends.
    std::optional<std::span<const std::pair<size_t, size_t>>> special_ranges = std::nullopt;
  };
  // Longer texts are refused.
  static constexpr size_t kMaxTextBytes = size_t{1} << 29;

  // `path` names a tokenizer.json. Of tokenizer_config.json, if it is there: bos_token, eos_token,
  // pad_token, tokens of added_tokens_decoder, and for tokenizer_class Llama, CodeLlama, Gemma,
  // Cohere, GPTNeoX or none the keys add_bos_token / add_eos_token, which replace the
  // post-processor when one is there (as Transformers 4 does; 5 does not read them beside a
  // tokenizer.json). Errors: NotFound, InvalidArgument with file, place and reason.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path);
  // The tokenizer of MODEL: its tokenizer.json, or what a GGUF file (FindGguf) describes. NotFound:
  // it has none.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> OfModel(const std::string& model);
  // `name_for_errors` stands for the file in messages.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(std::string_view json,
                                                             std::string_view name_for_errors);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Invalid UTF-8 counts as U+FFFD. Errors: ResourceExhausted for a text above kMaxTextBytes or one
  // on which a pattern of the file backtracks without bound; InvalidArgument for special_ranges
  // that are not sorted or leave the text.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const {
    return Encode(text, EncodeOptions());
  }

  // Valid UTF-8. Ids that are no token add nothing. Equal to what an IncrementalDecoder gives.
  std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // The largest id plus one, added tokens included; ids below it may be holes.
  int64_t vocab_size() const;
  std::optional<int32_t> TokenToId(std::string_view token) const;
  // The token as the file writes it (byte-level tokens in the byte alphabet). Empty: no such id.
  std::string_view IdToToken(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  // From tokenizer_config.json; nullopt when it names none.
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;

 private:
  friend class IncrementalDecoder;
  friend struct TokenBytes;
  struct Parts;

  explicit Tokenizer(std::unique_ptr<const Parts> parts);
  static absl::StatusOr<std::unique_ptr<Parts>> ParseParts(std::string_view json,
                                                           std::string_view name);
  const Decoder& decoder() const;
  DecodeStream NewDecodeStream() const;
  // What the decoder takes for this id; nullopt: nothing.
  std::optional<std::string_view> DecoderInput(int32_t id, bool skip_special_tokens) const;

  std::unique_ptr<const Parts> parts_;
};

}  // namespace folkmoot
