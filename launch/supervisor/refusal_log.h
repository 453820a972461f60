// SPDX-License-Identifier: Apache-2.0
// What the log says of processes that were turned away: the first of them, and then a line every
// ten seconds at most, however many come.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace folkmoot {

class RefusalLog {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kPause{10'000};

  void Say(std::string_view who, std::string_view why, Time now);

  int64_t refused() const { return refused_; }

 private:
  int64_t refused_ = 0;
  int64_t told_ = 0;  // of them, or counted in a line
  std::optional<Time> last_told_;
};

}  // namespace folkmoot
