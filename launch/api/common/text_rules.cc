// SPDX-License-Identifier: Apache-2.0
#include "launch/api/common/text_rules.h"

#include <algorithm>
#include <utility>

namespace folkmoot {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
  for (const std::string& stop : stops_) {
    // fallback[i]: the longest beginning of the string that its first i + 1 bytes also end with.
    std::vector<uint32_t> fallback(stop.size(), 0);
    for (size_t i = 1; i < stop.size(); ++i) {
      uint32_t length = fallback[i - 1];
      while (length > 0 && stop[i] != stop[length]) length = fallback[length - 1];
      fallback[i] = stop[i] == stop[length] ? length + 1 : 0;
    }
    fallback_.push_back(std::move(fallback));
  }
}

int StopStrings::Advance(char byte, State* state) const {
  state->matched.resize(stops_.size());
  int found = -1;
  for (size_t s = 0; s < stops_.size(); ++s) {
    const std::string& stop = stops_[s];
    uint32_t& length = state->matched[s];
    while (length > 0 && stop[length] != byte) length = fallback_[s][length - 1];
    if (stop[length] == byte) ++length;
    if (length < stop.size()) continue;
    length = fallback_[s][length - 1];
    if (found < 0 || stop.size() > stops_[static_cast<size_t>(found)].size()) {
      found = static_cast<int>(s);
    }
  }
  return found;
}

size_t StopStrings::Pending(const State& state) {
  if (state.matched.empty()) return 0;
  return *std::max_element(state.matched.begin(), state.matched.end());
}

ChoiceText::ChoiceText(const Tokenizer* tokenizer, const TextRules& rules)
    : rules_(rules), tokenizer_(tokenizer) {
  if (tokenizer == nullptr) return;
  const bool skip = rules.skip_special_tokens && rules.shown_special.empty();
  decoder_ = std::make_unique<IncrementalDecoder>(*tokenizer, skip);
}

bool ChoiceText::Skips(int32_t token) const {
  const std::vector<int32_t>& shown = rules_.shown_special;
  return rules_.skip_special_tokens && !shown.empty() && tokenizer_->IsSpecial(token) &&
         std::find(shown.begin(), shown.end(), token) == shown.end();
}

std::string ChoiceText::Push(int32_t token) {
  if (decoder_ == nullptr) return "";
  ++tokens_;
  const std::string piece = Skips(token) ? "" : decoder_->Push(token);
  characters_ += CountCharacters(piece);
  if (stopped_by_ >= 0) return "";
  if (tokens_ > rules_.min_tokens) return Take(piece);
  // No stop string may use this text: the search begins anew after it.
  state_ = {};
  return std::exchange(held_, "") + piece;
}

std::string ChoiceText::Finish() {
  if (decoder_ == nullptr || stopped_by_ >= 0) return "";
  const std::string piece = decoder_->Finish();
  characters_ += CountCharacters(piece);
  std::string out = Take(piece);
  if (stopped_by_ < 0) out += std::exchange(held_, "");
  return out;
}

std::string ChoiceText::Take(const std::string& piece) {
  const size_t before = held_.size();
  held_ += piece;
  for (size_t i = 0; i < piece.size(); ++i) {
    stopped_by_ = rules_.stops->Advance(piece[i], &state_);
    if (stopped_by_ < 0) continue;
    const size_t end = before + i + 1;
    std::string out = std::exchange(held_, "");
    out.resize(rules_.include_stop ? end : end - stopped_by()->size());
    return out;
  }
  // The text is whole characters, and so are stop strings: the cut is at the start of one.
  const size_t ready = held_.size() - StopStrings::Pending(state_);
  std::string out = held_.substr(0, ready);
  held_.erase(0, ready);
  return out;
}

const std::string* ChoiceText::stopped_by() const {
  if (stopped_by_ < 0) return nullptr;
  return &rules_.stops->stops()[static_cast<size_t>(stopped_by_)];
}

int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace folkmoot
