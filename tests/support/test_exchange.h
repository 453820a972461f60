// SPDX-License-Identifier: Apache-2.0
// What tests of exchanges among ranks share: bytes to send, a label, and how long things take.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "parallel/communicator.h"

namespace folkmoot {

// The bytes that rank `from` sends to rank `to` in round `round`; the length differs for each pair
// and is zero for some.
inline std::vector<std::byte> TestBytes(int from, int to, int round) {
  constexpr size_t kLengths[] = {0, 1, 7, 4097, 300, 70001};
  const int pick = (from * 5 + to * 3 + round) % 6;
  std::vector<std::byte> bytes(kLengths[pick]);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] =
        static_cast<std::byte>((static_cast<size_t>(from * 31 + to * 7 + round * 3) + i) % 251);
  }
  return bytes;
}

inline constexpr WaitLabel kTestLabel{.phase = "dispatch", .layer = 3, .step = 41};

// How long the slowest acceptable failure takes, with room for a busy machine.
inline constexpr std::chrono::seconds kSoon{5};

class Stopwatch {
 public:
  std::chrono::steady_clock::duration elapsed() const {
    return std::chrono::steady_clock::now() - start_;
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace folkmoot
