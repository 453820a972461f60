// SPDX-License-Identifier: Apache-2.0
// What a client may do to us, with the status of the answer that it gets beyond.
#pragma once

#include <chrono>
#include <cstddef>

namespace folkmoot {

struct HttpLimits {
  size_t header_bytes = 64 << 10;                    // 431 beyond; request line included
  size_t header_count = 100;                         // 431
  size_t body_bytes = size_t{64} << 20;              // 413; decoded bytes, chunked or not
  size_t chunk_count = 1 << 16;                      // 413
  size_t bodies_bytes = size_t{1} << 30;             // 503; bodies of all open requests together
  size_t connections = 4096;                         // 503 to the next one
  size_t unsent_bytes = size_t{4} << 20;             // of one stream; a slower reader is cut off
  std::chrono::milliseconds header_timeout{10'000};  // 408
  std::chrono::milliseconds body_timeout{30'000};    // 408; for each further kilobyte
  std::chrono::milliseconds idle_timeout{75'000};    // between requests of a connection
  std::chrono::milliseconds write_timeout{30'000};   // without a byte taken by the client
};

}  // namespace folkmoot
