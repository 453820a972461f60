// SPDX-License-Identifier: Apache-2.0
// Main functions: RunBenchAllToAll (all combinations), MeasureOne (one of them).
#include "launch/commands/bench_a2a.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

#include "nlohmann/json.hpp"
#include "runtime/random.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;

struct Shape {
  int64_t tokens = 0;
  int64_t hidden = 0;
  int top_k = 0;
};

struct Measurement {
  Shape shape;
  double median_us = 0;
  double p99_us = 0;
  int64_t off_rank_bytes = 0;  // of one round trip, all ranks together
  double gb_per_s() const {
    return median_us > 0 ? static_cast<double>(off_rank_bytes) / median_us * 1e-3 : 0;
  }
};

// The factor of an expert: a row that went to the wrong one comes back wrong.
float Factor(int expert) { return 1.0f + 0.25f * static_cast<float>(expert); }

// Random tokens of one rank, each with top_k different experts.
struct Tokens {
  Tokens(const Shape& shape, int experts, int rank, uint64_t seed);

  ConstMatrix x() const { return {values.data(), shape.tokens, shape.hidden}; }
  std::vector<float> ExpectedSum() const;
  int64_t OffRankBytes(const ExpertPlacement& placement, int rank) const;

  Shape shape;
  std::vector<float> values;
  std::vector<int32_t> expert;
  std::vector<float> weight;
  std::vector<SlotState> state;
  std::vector<SlotAction> action;
  std::vector<int32_t> place;
  Routing routing;
};

Tokens::Tokens(const Shape& shape_in, int experts, int rank, uint64_t seed) : shape(shape_in) {
  std::vector<int32_t> deck(static_cast<size_t>(experts));
  std::iota(deck.begin(), deck.end(), 0);
  for (int64_t t = 0; t < shape.tokens; ++t) {
    DrawKey key;
    key.seed = seed;
    key.stream = static_cast<uint64_t>(rank);
    key.position = static_cast<uint32_t>(t);
    for (int64_t h = 0; h < shape.hidden; ++h) {
      values.push_back(DrawUniform(key, static_cast<uint32_t>(h)) - 0.5f);
    }
    key.layer = 1;  // other draws than the values
    for (int k = 0; k < shape.top_k; ++k) {
      const uint32_t word = DrawWord(key, static_cast<uint32_t>(k));
      const size_t pick = static_cast<size_t>(k) + word % static_cast<uint32_t>(experts - k);
      std::swap(deck[static_cast<size_t>(k)], deck[pick]);
      expert.push_back(deck[static_cast<size_t>(k)]);
      weight.push_back(ToUnit(word) + 0.125f);
    }
  }
  state.assign(expert.size(), SlotState::kKept);
  action.assign(expert.size(), SlotAction::kExpert);
  place.assign(expert.size(), -1);
  routing.tokens = shape.tokens;
  routing.top_k = shape.top_k;
  routing.expert = expert;
  routing.weight = weight;
  routing.state = state;
  routing.action = action;
  routing.place = place;
}

// In the order and with the roundings that the dispatcher promises.
std::vector<float> Tokens::ExpectedSum() const {
  std::vector<float> sums(values.size(), 0.0f);
  for (size_t choice = 0; choice < expert.size(); ++choice) {
    const size_t token = choice / static_cast<size_t>(shape.top_k);
    const float factor = Factor(expert[choice]);
    for (size_t h = 0; h < static_cast<size_t>(shape.hidden); ++h) {
      const size_t at = token * static_cast<size_t>(shape.hidden) + h;
      sums[at] += weight[choice] * (factor * values[at]);
    }
  }
  return sums;
}

// Rows once per destination, 12 bytes for each choice, one row back for each choice.
int64_t Tokens::OffRankBytes(const ExpertPlacement& placement, int rank) const {
  const int64_t row_bytes = shape.hidden * static_cast<int64_t>(sizeof(float));
  int64_t bytes = 0;
  std::vector<int64_t> last(static_cast<size_t>(placement.ranks()), -1);
  for (size_t choice = 0; choice < expert.size(); ++choice) {
    const int to = placement.rank_of(expert[choice]);
    if (to == rank) continue;
    const int64_t token = static_cast<int64_t>(choice) / shape.top_k;
    if (last[static_cast<size_t>(to)] != token) bytes += row_bytes;
    last[static_cast<size_t>(to)] = token;
    bytes += 12 + row_bytes;
  }
  return bytes;
}

// One round trip; returns its time in microseconds without the work of the experts.
absl::StatusOr<double> RoundTrip(Dispatcher& dispatcher, DispatchHandle& handle,
                                 const Tokens& tokens, std::span<const int> local_experts,
                                 int64_t step, std::vector<float>& expert_out, Matrix out) {
  const WaitLabel label{.phase = "dispatch", .layer = 0, .step = step};
  Clock::duration travel{};
  Clock::time_point start = Clock::now();
  FM_RETURN_IF_ERROR(dispatcher.StartDispatch(tokens.x(), tokens.routing, label, handle));
  FM_ASSIGN_OR_RETURN(const ExpertBatch batch, dispatcher.FinishDispatch(handle));
  travel += Clock::now() - start;

  const int64_t hidden = batch.rows.cols;
  expert_out.resize(static_cast<size_t>(batch.rows.rows * hidden));
  for (size_t slot = 0; slot < local_experts.size(); ++slot) {
    const float factor = Factor(local_experts[slot]);
    for (int64_t i = batch.offsets[slot] * hidden; i < batch.offsets[slot + 1] * hidden; ++i) {
      expert_out[static_cast<size_t>(i)] = factor * batch.rows.data[i];
    }
  }

  start = Clock::now();
  FM_RETURN_IF_ERROR(dispatcher.StartCombine({expert_out.data(), batch.rows.rows, hidden}, handle));
  FM_RETURN_IF_ERROR(dispatcher.FinishCombine(handle, out));
  travel += Clock::now() - start;
  return std::chrono::duration<double, std::micro>(travel).count();
}

absl::StatusOr<Measurement> MeasureOne(Communicator& comm, const ExpertPlacement& placement,
                                       const BenchA2aOptions& options, const Shape& shape) {
  FM_ASSIGN_OR_RETURN(const auto dispatcher, MakeDispatcher(options.dispatcher, comm, placement));
  const auto handle = dispatcher->MakeHandle();
  const Tokens tokens(shape, placement.experts(), comm.rank(), options.seed);
  const std::vector<float> expected = tokens.ExpectedSum();
  std::vector<float> result(expected.size());
  const Matrix out(result.data(), shape.tokens, shape.hidden);
  std::vector<float> expert_out;
  std::vector<double> times;
  const int total = options.warm_up + options.iterations;
  for (int i = 0; i < total; ++i) {
    FM_ASSIGN_OR_RETURN(const double us,
                        RoundTrip(*dispatcher, *handle, tokens, placement.experts_of(comm.rank()),
                                  i, expert_out, out));
    if (i >= options.warm_up) times.push_back(us);
    const bool check = i == 0 || i + 1 == total;
    if (check && std::memcmp(result.data(), expected.data(), result.size() * sizeof(float)) != 0) {
      return DataLoss("rank {}: wrong results for {} tokens, hidden {}, top-k {}", comm.rank(),
                      shape.tokens, shape.hidden, shape.top_k);
    }
    std::fill(result.begin(), result.end(), 0.0f);
  }
  std::sort(times.begin(), times.end());
  Measurement measurement;
  measurement.shape = shape;
  measurement.median_us = times[times.size() / 2];
  measurement.p99_us = times[std::min(times.size() - 1, times.size() * 99 / 100)];
  const int64_t mine = tokens.OffRankBytes(placement, comm.rank());
  std::vector<int64_t> all(static_cast<size_t>(comm.size()));
  FM_RETURN_IF_ERROR(AllGather(comm, std::as_bytes(std::span(&mine, 1)),
                               std::as_writable_bytes(std::span(all)), {.phase = "bench totals"}));
  measurement.off_rank_bytes = std::accumulate(all.begin(), all.end(), int64_t{0});
  return measurement;
}

absl::Status CheckOptions(const ExpertPlacement& placement, const BenchA2aOptions& options) {
  if (options.iterations < 1 || options.warm_up < 0) {
    return InvalidArgument("bench a2a: {} iterations after {} to warm up; expected at least 1",
                           options.iterations, options.warm_up);
  }
  for (const int64_t tokens : options.tokens) {
    if (tokens < 0) return InvalidArgument("bench a2a: {} tokens", tokens);
  }
  for (const int64_t hidden : options.hidden) {
    if (hidden < 1) return InvalidArgument("bench a2a: hidden size {}", hidden);
  }
  for (const int top_k : options.top_k) {
    if (top_k < 1 || top_k > placement.experts()) {
      return InvalidArgument("bench a2a: top-k {} of {} experts", top_k, placement.experts());
    }
  }
  return absl::OkStatus();
}

void WriteTable(const std::vector<Measurement>& measurements, int ranks, int experts,
                std::ostream& out) {
  out << fmt::format("dispatch + combine, {} ranks, {} experts, results checked\n", ranks, experts);
  out << fmt::format("{:>11} {:>7} {:>6} {:>11} {:>11} {:>12} {:>9}\n", "tokens/rank", "hidden",
                     "top-k", "median us", "p99 us", "off-rank MB", "GB/s");
  for (const Measurement& m : measurements) {
    out << fmt::format("{:>11} {:>7} {:>6} {:>11.1f} {:>11.1f} {:>12.3f} {:>9.3f}\n",
                       m.shape.tokens, m.shape.hidden, m.shape.top_k, m.median_us, m.p99_us,
                       static_cast<double>(m.off_rank_bytes) * 1e-6, m.gb_per_s());
  }
}

void WriteJson(const std::vector<Measurement>& measurements, int ranks, int experts,
               std::ostream& out) {
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const Measurement& m : measurements) {
    results.push_back({{"tokens_per_rank", m.shape.tokens},
                       {"hidden", m.shape.hidden},
                       {"top_k", m.shape.top_k},
                       {"median_us", m.median_us},
                       {"p99_us", m.p99_us},
                       {"off_rank_bytes", m.off_rank_bytes},
                       {"gb_per_s", m.gb_per_s()}});
  }
  const nlohmann::ordered_json all = {
      {"ranks", ranks}, {"experts", experts}, {"results", std::move(results)}};
  out << all.dump() << '\n';
}

}  // namespace

absl::Status RunBenchAllToAll(Communicator& comm, const ExpertPlacement& placement,
                              const BenchA2aOptions& options, std::ostream& out) {
  FM_RETURN_IF_ERROR(CheckOptions(placement, options));
  std::vector<Measurement> measurements;
  for (const int64_t hidden : options.hidden) {
    for (const int top_k : options.top_k) {
      for (const int64_t tokens : options.tokens) {
        FM_ASSIGN_OR_RETURN(const Measurement measurement,
                            MeasureOne(comm, placement, options, {tokens, hidden, top_k}));
        measurements.push_back(measurement);
      }
    }
  }
  if (comm.rank() != 0) return absl::OkStatus();
  if (options.json) {
    WriteJson(measurements, comm.size(), placement.experts(), out);
  } else {
    WriteTable(measurements, comm.size(), placement.experts(), out);
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
