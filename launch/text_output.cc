// SPDX-License-Identifier: Apache-2.0
#include "launch/text_output.h"

#include <algorithm>
#include <string_view>

namespace folkmoot {

TextOutput::TextOutput(const Tokenizer* tokenizer, std::vector<std::string> stops)
    : stops_(std::move(stops)) {
  if (tokenizer == nullptr) return;
  decoder_ = std::make_unique<IncrementalDecoder>(*tokenizer, /*skip_special_tokens=*/true);
}

std::string TextOutput::Push(int32_t token) {
  if (!decoder_ || stopped_) return "";
  held_ += decoder_->Push(token);
  return Release(/*final=*/false);
}

std::string TextOutput::Finish() {
  if (!decoder_ || stopped_) return "";
  held_ += decoder_->Finish();
  return Release(/*final=*/true);
}

std::string TextOutput::Release(bool final) {
  size_t end = held_.size();
  for (const std::string& stop : stops_) {
    const size_t found = held_.find(stop);
    if (found < end) {
      end = found;
      stopped_ = true;
    }
  }
  if (!stopped_ && !final) {  // keep the longest tail that begins a stop string
    for (const std::string& stop : stops_) {
      for (size_t n = std::min(stop.size() - 1, held_.size()); n > 0; --n) {
        if (!std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) continue;
        end = std::min(end, held_.size() - n);
        break;
      }
    }
  }
  std::string out = held_.substr(0, end);
  held_.erase(0, stopped_ ? held_.size() : end);
  text_ += out;
  return out;
}

}  // namespace folkmoot
