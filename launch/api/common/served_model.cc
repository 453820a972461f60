// SPDX-License-Identifier: Apache-2.0
#include "launch/api/common/served_model.h"

#include <algorithm>

#include "launch/api/common/json_body.h"
#include "nlohmann/json.hpp"

namespace folkmoot {

ServedModel::ServedModel(ServedModelOptions options) : options_(std::move(options)) {
  if (tokenizer() == nullptr) return;
  for (int64_t id = 0; id < tokenizer()->vocab_size(); ++id) {
    longest_token_ =
        std::max(longest_token_, tokenizer()->IdToToken(static_cast<int32_t>(id)).size());
  }
  const auto anchor = tokenizer()->Encode("a", {.add_special_tokens = false});
  if (anchor.ok()) anchor_ = *anchor;
  anchor_text_ = Decode(anchor_, /*skip_special_tokens=*/false);
}

ServedModel::~ServedModel() = default;

bool ServedModel::Serves(std::string_view name) const {
  return std::find(options_.names.begin(), options_.names.end(), name) != options_.names.end();
}

absl::Status ServedModel::CheckBytes(size_t bytes, std::string_view param) const {
  // A tokenizer may fold runs of spaces or of unknown characters; sixteen bytes a token leave room.
  const size_t per_token = std::max<size_t>(longest_token_, 16);
  if (bytes / per_token <= static_cast<size_t>(options_.context)) return absl::OkStatus();
  return WithCode(BadField(param,
                           "This model's maximum context length is {} tokens. However, your "
                           "request has at least {} input tokens ({} bytes of text). Please reduce "
                           "the length of the input.",
                           options_.context, bytes / per_token, bytes),
                  "context_length_exceeded");
}

absl::StatusOr<std::vector<int32_t>> ServedModel::Encode(std::string_view text, bool special_around,
                                                         bool parse_special, bool any_length,
                                                         std::string_view param) const {
  if (tokenizer() == nullptr) {
    return BadField(param, "{}: this model has no tokenizer.json; send token ids", param);
  }
  if (!any_length) FM_RETURN_IF_ERROR(CheckBytes(text.size(), param));
  absl::StatusOr<std::vector<int32_t>> ids = tokenizer()->Encode(
      text, {.add_special_tokens = special_around, .parse_special = parse_special});
  if (!ids.ok()) return BadField(param, "{}: {}", param, Message(ids.status()));
  return ids;
}

absl::StatusOr<std::vector<int32_t>> ServedModel::EncodeChat(const RenderedChat& chat,
                                                             bool special_around,
                                                             bool any_length) const {
  constexpr char kParam[] = "messages";
  if (tokenizer() == nullptr) {
    return BadField(kParam,
                    "messages: this model has no tokenizer.json; use /v1/completions with "
                    "token ids");
  }
  if (!any_length) FM_RETURN_IF_ERROR(CheckBytes(chat.text.size(), kParam));
  Tokenizer::EncodeOptions options{.add_special_tokens = special_around, .parse_special = true};
  if (!options_.trust_special_tokens) options.special_ranges.emplace(chat.trusted);
  absl::StatusOr<std::vector<int32_t>> ids = tokenizer()->Encode(chat.text, options);
  if (!ids.ok()) return BadField(kParam, "messages: {}", Message(ids.status()));
  return ids;
}

std::string ServedModel::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  return tokenizer() == nullptr ? "" : tokenizer()->Decode(ids, skip_special_tokens);
}

const std::string& ServedModel::TokenText(int32_t id) const {
  const auto [entry, fresh] = texts_.try_emplace(id);
  if (!fresh || tokenizer() == nullptr) return entry->second;
  // Some decoders strip the space at the start of a text: look at the token behind a word.
  std::vector<int32_t> ids = anchor_;
  ids.push_back(id);
  std::string text = Decode(ids, /*skip_special_tokens=*/false);
  if (text.starts_with(anchor_text_)) {
    entry->second = text.substr(anchor_text_.size());
  } else {
    entry->second = Decode({&id, 1}, /*skip_special_tokens=*/false);
  }
  return entry->second;
}

absl::Status ServedModel::TooLong(int64_t prompt_tokens, int64_t max_tokens,
                                  std::string_view param) const {
  absl::Status status =
      prompt_tokens > options_.context || max_tokens <= 0 || prompt_tokens == options_.context
          ? BadField(param,
                     "This model's maximum context length is {} tokens. However, your request has "
                     "{} input tokens. Please reduce the length of the input.",
                     options_.context, prompt_tokens)
          : BadField(param,
                     "This model's maximum context length is {} tokens. However, you requested {} "
                     "tokens ({} in the input, {} in the output). Please reduce the length of "
                     "either.",
                     options_.context, prompt_tokens + max_tokens, prompt_tokens, max_tokens);
  return WithCode(std::move(status), "context_length_exceeded");
}

}  // namespace folkmoot
