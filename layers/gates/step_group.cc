// SPDX-License-Identifier: Apache-2.0
// PlaceAcrossRanks sends one record of 8-byte words per token to every rank:
//   order, position, K x (claim and expert), K x urgency if used, E x key if rerouting.
#include "layers/gates/step_group.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "layers/gates/placement.h"

namespace folkmoot {
namespace {

struct RecordShape {
  size_t top_k, urgencies, keys;
  size_t words() const { return 2 + top_k + urgencies + keys; }
};

RecordShape ShapeOf(const GateConfig& config) {
  const auto k = static_cast<size_t>(config.top_k);
  return {.top_k = k,
          .urgencies = UsesUrgency(config) ? k : 0,
          .keys = Reroutes(config) ? static_cast<size_t>(config.num_experts) : 0};
}

void Pack(const RecordShape& shape, const Decisions& d, std::span<uint64_t> words) {
  size_t at = 0;
  for (size_t t = 0; t < static_cast<size_t>(d.tokens); ++t) {
    words[at++] = static_cast<uint64_t>(d.order[t]);
    words[at++] = static_cast<uint64_t>(d.position[t]);
    for (size_t c = t * shape.top_k; c < (t + 1) * shape.top_k; ++c) {
      words[at++] = static_cast<uint64_t>(d.claim[c]) << 32 | static_cast<uint32_t>(d.expert[c]);
    }
    for (size_t j = 0; j < shape.urgencies; ++j) {
      words[at++] = std::bit_cast<uint64_t>(d.urgency[t * shape.top_k + j]);
    }
    for (size_t e = 0; e < shape.keys; ++e) {
      words[at++] = std::bit_cast<uint64_t>(d.key[t * shape.keys + e]);
    }
  }
}

void Unpack(const RecordShape& shape, std::span<const uint64_t> words, Decisions& d) {
  size_t at = 0;
  for (size_t t = 0; t < static_cast<size_t>(d.tokens); ++t) {
    d.order[t] = static_cast<int64_t>(words[at++]);
    d.position[t] = static_cast<int64_t>(words[at++]);
    for (size_t c = t * shape.top_k; c < (t + 1) * shape.top_k; ++c) {
      d.claim[c] = static_cast<Claim>(words[at] >> 32);
      d.expert[c] = static_cast<int32_t>(words[at++] & 0xFFFFFFFFu);
    }
    for (size_t j = 0; j < shape.urgencies; ++j) {
      d.urgency[t * shape.top_k + j] = std::bit_cast<double>(words[at++]);
    }
    for (size_t e = 0; e < shape.keys; ++e) {
      d.key[t * shape.keys + e] = std::bit_cast<double>(words[at++]);
    }
  }
}

// Sends `mine` to every rank and receives `counts[q]` words from rank q into `all`, in rank order.
absl::Status Gather(Communicator& comm, const WaitLabel& label, std::span<const uint64_t> mine,
                    std::span<const uint64_t> counts, std::span<uint64_t> all,
                    Workspace& workspace) {
  const auto send = workspace.Get<ConstBytes>(comm.size());
  const auto receive = workspace.Get<MutableBytes>(comm.size());
  size_t begin = 0;
  for (size_t q = 0; q < counts.size(); ++q) {
    send[q] = std::as_bytes(mine);
    receive[q] = std::as_writable_bytes(all.subspan(begin, counts[q]));
    begin += counts[q];
  }
  FM_ASSIGN_OR_RETURN(const Exchange exchange, comm.Start(send, receive, label));
  return comm.Wait(exchange);
}

bool IsPadding(const Decisions& d, int64_t token) {
  return d.claim[d.At(token, 0)] == Claim::kPadding;
}

}  // namespace

void SortTokens(const Decisions& decisions, std::span<int64_t> tokens) {
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto before = [&](int64_t a, int64_t b) {
    const auto ia = static_cast<size_t>(a);
    const auto ib = static_cast<size_t>(b);
    if (decisions.order[ia] != decisions.order[ib]) {
      return decisions.order[ia] < decisions.order[ib];
    }
    if (decisions.position[ia] != decisions.position[ib]) {
      return decisions.position[ia] < decisions.position[ib];
    }
    return a < b;
  };
  if (!std::is_sorted(tokens.begin(), tokens.end(), before)) {
    std::sort(tokens.begin(), tokens.end(), before);
  }
}

absl::Status PlaceAcrossRanks(const GateConfig& config, Communicator& comm, const WaitLabel& label,
                              Workspace& workspace, Decisions& decisions) {
  const Workspace::Position mark = workspace.Mark();
  const RecordShape shape = ShapeOf(config);
  const auto words = static_cast<int64_t>(shape.words());

  // How many words everyone sends, then the words.
  const auto my_count = workspace.Get<uint64_t>(1);
  my_count[0] = static_cast<uint64_t>(decisions.tokens * words);
  const auto ones = workspace.Get<uint64_t>(comm.size());
  const auto counts = workspace.Get<uint64_t>(comm.size());
  std::fill(ones.begin(), ones.end(), uint64_t{1});
  FM_RETURN_IF_ERROR(Gather(comm, label, my_count, ones, counts, workspace));

  const auto mine = workspace.Get<uint64_t>(decisions.tokens * words);
  Pack(shape, decisions, mine);
  const auto total =
      static_cast<int64_t>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  const auto all = workspace.Get<uint64_t>(total);
  FM_RETURN_IF_ERROR(Gather(comm, label, mine, counts, all, workspace));

  Decisions everyone = AllocateDecisions(config, workspace, total / words);
  Unpack(shape, all, everyone);
  const auto tokens = workspace.Get<int64_t>(everyone.tokens);
  SortTokens(everyone, tokens);
  const auto used = workspace.Get<int32_t>(config.num_experts);
  std::fill(used.begin(), used.end(), 0);
  const int64_t real = std::count_if(tokens.begin(), tokens.end(),
                                     [&](int64_t token) { return !IsPadding(everyone, token); });
  PlaceGroup(config, {tokens, config.Capacity(real), used}, workspace, everyone);

  const auto rank = static_cast<size_t>(comm.rank());
  const auto before = static_cast<int64_t>(
      std::accumulate(counts.begin(), counts.begin() + static_cast<ptrdiff_t>(rank), uint64_t{0}));
  const size_t first = static_cast<size_t>(before / words) * shape.top_k;
  const size_t choices = static_cast<size_t>(decisions.tokens) * shape.top_k;
  for (size_t c = 0; c < choices; ++c) {
    decisions.expert[c] = everyone.expert[first + c];
    decisions.claim[c] = everyone.claim[first + c];
    decisions.place[c] = everyone.place[first + c];
  }
  workspace.Release(mark);
  return absl::OkStatus();
}

}  // namespace folkmoot
