// SPDX-License-Identifier: Apache-2.0
#include "scheduler/speculation.h"

#include <algorithm>

namespace folkmoot {

void LookUp(std::span<const int32_t> tokens, const SpeculationOptions& options, int64_t most,
            std::vector<int32_t>* guesses) {
  guesses->clear();
  const std::span<const int32_t> text =
      tokens.last(std::min(tokens.size(), static_cast<size_t>(kLookupWindow)));
  const auto size = static_cast<int64_t>(text.size());
  if (size < 2 || most < 1) return;
  const auto at = [&](int64_t i) { return text[static_cast<size_t>(i)]; };
  // Places are named by the position behind them, where their guesses begin.
  int64_t best = 0;
  int64_t best_length = options.lookup_min - 1;
  const int32_t last = text.back();
  for (int64_t place = size - 1; place > 0 && best_length < options.lookup_max; --place) {
    if (at(place - 1) != last) continue;
    const int64_t longest = std::min(place, options.lookup_max);
    int64_t length = 1;
    while (length < longest && at(place - 1 - length) == at(size - 1 - length)) ++length;
    if (length <= best_length) continue;
    best = place;
    best_length = length;
  }
  if (best == 0) return;
  for (int64_t i = 0; i < most; ++i) {
    const int64_t from = best + i;
    guesses->push_back(from < size ? at(from) : (*guesses)[static_cast<size_t>(from - size)]);
  }
}

bool Recite(std::span<const int32_t> text, std::span<const int32_t> tokens, int64_t most,
            size_t slip, std::vector<int32_t>* guesses) {
  if (text.size() < tokens.size() || !std::equal(tokens.begin(), tokens.end(), text.begin())) {
    return false;
  }
  for (size_t p = tokens.size(); p < text.size() && std::ssize(*guesses) < most; ++p) {
    const int32_t other = text[p] == 0 ? 1 : 0;
    guesses->push_back(p % slip == 0 ? other : text[p]);
  }
  return true;
}

int64_t DraftPace::Next(int64_t tokens) {
  if (rest_ > 0) {
    --rest_;
    return 0;
  }
  if (length_ == 0) length_ = tokens;
  length_ = std::min(length_, tokens);
  return length_;
}

void DraftPace::Heard(int64_t drafted, int64_t accepted) {
  if (accepted > 0) {
    length_ = accepted == drafted ? std::max(length_, 2 * drafted) : accepted + 1;
    pause_ = 0;
    return;
  }
  length_ = std::max<int64_t>(1, length_ / 2);
  pause_ = std::min(2 * pause_ + 1, kLongestRest);
  rest_ = pause_;
}

}  // namespace folkmoot
