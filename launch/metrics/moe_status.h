// SPDX-License-Identifier: Apache-2.0
// The load of the experts, for people: GET /moe/experts (one JSON object) and GET /moe/events (a
// server-sent event about twice a second while somebody listens). docs/metrics.md describes both.
//
// Not thread-safe: everything happens on the I/O thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launch/engine_service.h"
#include "launch/http/http.h"
#include "launch/http/io_loop.h"
#include "launch/metrics/metrics.h"

namespace folkmoot {

struct MoeStatusOptions {
  std::string model_name;
  MoeLayout layout;
  std::function<EngineSnapshot()> snapshot;
  std::function<ExpertCounts()> experts;
  std::function<std::vector<LayerDrops>()> drops;  // Metrics::drops
  size_t max_listeners = 32;                       // of /moe/events; the next one gets 503
  std::chrono::milliseconds interval{500};
  size_t max_unsent_bytes = size_t{1} << 20;  // a listener who is further behind misses frames
};

class MoeStatus {
 public:
  // `loop` must outlive this object, which must outlive the server that has its routes.
  MoeStatus(IoLoop& loop, MoeStatusOptions options);
  ~MoeStatus();
  MoeStatus(const MoeStatus&) = delete;
  MoeStatus& operator=(const MoeStatus&) = delete;

  // GET /moe/experts, GET /moe/events.
  std::vector<Route> Routes();
  // Ends all streams, for a server that drains; later listeners get 503.
  void Close();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace folkmoot
