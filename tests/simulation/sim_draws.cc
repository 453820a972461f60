// SPDX-License-Identifier: Apache-2.0
// What happens in a history: drawn from its seed, before and while it runs.
#include <algorithm>

#include "tests/scheduler/workload.h"
#include "tests/simulation/sim_history.h"

namespace folkmoot {

SimHistory::SimHistory(uint64_t seed, const WatchLimits& limits)
    : random_(seed),
      options_(RandomOptions(seed)),
      lives_(options_.ranks, limits),
      front_end_(options_) {}

SimTime SimHistory::Between(SimTime low, SimTime high) {
  return low + static_cast<SimTime>(Draw(static_cast<uint64_t>(high - low + 1)));
}

Request SimHistory::DrawRequest() {
  Request request;
  const uint64_t family = Draw(3);
  for (uint64_t i = Draw(12) + 1; i > 0; --i) {
    request.prompt.push_back(static_cast<int32_t>(Mix(family, i) % kFakeVocab));
  }
  request.prompt.push_back(static_cast<int32_t>(Draw(kFakeVocab)));
  request.max_tokens = static_cast<int64_t>(Draw(24));
  request.sampling.seed = Draw(3);
  if (Chance(20)) request.n = static_cast<int32_t>(2 + Draw(2));
  if (Chance(40)) request.stop_ids.push_back(static_cast<int32_t>(Draw(kFakeVocab)));
  if (Chance(20)) request.gate = Chance(50) ? kPrivateGate : kFragileGate;
  request.priority = static_cast<int32_t>(Draw(3)) - 1;
  request.client = Draw(3);
  request.cache_salt = Draw(2);
  if (Chance(15)) {
    request.constraint = std::make_shared<FakeConstraint>(static_cast<int>(Draw(8)), -1);
  }
  return request;
}

void SimHistory::DrawClients() {
  uint64_t poisons = Chance(15) ? 1 + Draw(6) : 0;
  const SimTime span = Between(0, 4000);
  for (uint64_t i = 1 + Draw(10); i > 0; --i) {
    Arrival& arrival = arrivals_.emplace_back();
    arrival = {.at = Between(0, span), .request = DrawRequest()};
    if (poisons == 0 || Chance(50)) continue;
    --poisons;
    ++counts_.poisons;
    arrival.poison = static_cast<int64_t>(Draw(arrival.request.prompt.size() + 4));
  }
  std::sort(arrivals_.begin(), arrivals_.end(),
            [](const Arrival& a, const Arrival& b) { return a.at < b.at; });
  for (size_t i = 0; i < arrivals_.size(); ++i) {
    if (Chance(10)) cancels_.emplace_back(Between(0, span + 3000), static_cast<int64_t>(i));
  }
  if (Chance(20)) drain_at_ = Between(0, span + 3000);
}

void SimHistory::DrawBlows() {
  if (Chance(10)) failing_starts_ = static_cast<int>(1 + Draw(4));
  const uint64_t blows = Draw(5);
  int64_t life = 1;
  for (uint64_t i = 0; i < blows; ++i) {
    Blow& blow = blows_.emplace_back();
    blow.life = life;
    blow.after = Chance(20) ? Between(0, 300) : Between(300, 3000);
    blow.rank = static_cast<int>(Draw(static_cast<uint64_t>(options_.ranks)));
    blow.fault = static_cast<SimFault>(Draw(kSimBlows));
    blow.launcher = Chance(5);
    blow.supervisor = Chance(5);
    if (blow.supervisor) {
      blow.duration = Between(1100, 8000);
    } else if (blow.fault == SimFault::kSlow) {
      blow.duration = Chance(80) ? Between(1000, 8000) : Between(8000, 55'000);
    } else if (blow.fault == SimFault::kPause) {
      blow.duration = Between(50, 1500);
    }
    // Several ranks at once, in the next life, or later in the same.
    if (blow.fault == SimFault::kKill && Chance(40)) {
      Blow again = blow;
      again.rank = (again.rank + 1) % options_.ranks;
      blows_.push_back(again);
    }
    life += Chance(60) ? 1 : 0;
  }
}

std::vector<SimRankTiming> SimHistory::DrawTimings() {
  std::vector<SimRankTiming> timings;
  const bool idle = Chance(20);
  for (int r = 0; r < options_.ranks; ++r) {
    const SimTime hello = now_ + Between(20, 200);
    timings.push_back(
        {.hello_at = hello, .loaded_at = hello + Between(10, 900), .loads_idle = idle});
  }
  start_fails_ = failing_starts_ > 0 && (lives_.epoch() > 1 || Chance(10));
  if (!start_fails_) return timings;
  --failing_starts_;
  ++counts_.failed_starts;
  SimRankTiming& bad = timings[Draw(timings.size())];
  if (Chance(20)) {
    bad.hello_at = bad.loaded_at = kNever;
  } else if (Chance(25)) {
    bad.loaded_at = kNever;
  } else {
    // It ends while it loads.
    blows_.push_back({.life = lives_.epoch(),
                      .after = bad.hello_at - now_ + 5,
                      .rank = static_cast<int>(&bad - timings.data())});
  }
  return timings;
}

}  // namespace folkmoot
