// SPDX-License-Identifier: Apache-2.0
#include "tests/support/engine_run.h"

#include <cstring>
#include <tuple>

namespace folkmoot {
namespace {

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <typename T>
void Append(const std::vector<T>& from, std::vector<T>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

void Collect(const RequestEvent& event, RunOutcome* outcome) {
  outcome->finish = event.finish;
  outcome->cached_tokens = event.cached_tokens;
  if (event.result == nullptr) return;
  const SequenceResult& result = *event.result;
  Append(result.target_logprobs, &outcome->prompt_logprobs);
  Append(result.target_ranks, &outcome->prompt_ranks);
  if (result.token >= 0) {
    outcome->tokens.push_back(result.token);
    outcome->token_logprobs.push_back(result.token_logprob);
    Append(result.token_top, &outcome->token_top);
  }
  if (!result.layer_digests.empty()) outcome->layer_digests = result.layer_digests;
  if (!result.embedding.empty()) outcome->embedding = result.embedding;
  outcome->drops = result.drops;
  outcome->rejected = outcome->overflow = 0;
  for (const DropCounts& drops : result.drops) {
    outcome->rejected += drops.rejected;
    outcome->overflow += drops.overflow;
  }
  for (const RoutingTrace& trace : result.routing) {
    RoutingTrace& sum = outcome->routing[trace.layer];
    sum.layer = trace.layer;
    sum.top_k = trace.top_k;
    Append(trace.expert, &sum.expert);
    Append(trace.weight, &sum.weight);
    Append(trace.state, &sum.state);
    Append(trace.place, &sum.place);
  }
  outcome->error = result.error;
}

bool SameDrops(const std::vector<DropCounts>& a, const std::vector<DropCounts>& b) {
  const auto tie = [](const DropCounts& d) {
    return std::tie(d.layer, d.rejected, d.overflow, d.prompt_rejected, d.prompt_overflow);
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](const DropCounts& x, const DropCounts& y) { return tie(x) == tie(y); });
}

}  // namespace

bool RunOutcome::operator==(const RunOutcome& other) const {
  if (routing.size() != other.routing.size()) return false;
  for (const auto& [layer, trace] : routing) {
    const auto found = other.routing.find(layer);
    if (found == other.routing.end()) return false;
    if (!SameBits(trace.expert, found->second.expert) ||
        !SameBits(trace.weight, found->second.weight) ||
        !SameBits(trace.state, found->second.state) ||
        !SameBits(trace.place, found->second.place)) {
      return false;
    }
  }
  return SameBits(tokens, other.tokens) && SameBits(token_logprobs, other.token_logprobs) &&
         SameBits(token_top, other.token_top) && SameBits(prompt_logprobs, other.prompt_logprobs) &&
         SameBits(prompt_ranks, other.prompt_ranks) &&
         SameBits(layer_digests, other.layer_digests) && SameBits(embedding, other.embedding) &&
         SameDrops(drops, other.drops) && finish == other.finish && error == other.error;
}

absl::StatusOr<std::vector<RunOutcome>> RunRequests(const RunSetup& setup,
                                                    const std::vector<Request>& requests,
                                                    RunTotals* totals) {
  std::vector<RunOutcome> outcomes;
  const auto body = [&](Engine& engine, LoadedRank&) -> absl::Status {
    std::map<int64_t, size_t> first_outcome;  // by request
    const auto on_event = [&](const RequestEvent& event) {
      Collect(event, &outcomes[first_outcome.at(event.id) + static_cast<size_t>(event.choice)]);
    };
    for (int time = 0; time < setup.times; ++time) {
      outcomes.clear();
      for (const Request& request : requests) {
        FM_ASSIGN_OR_RETURN(const int64_t id, engine.Submit(request));
        first_outcome[id] = outcomes.size();
        outcomes.resize(outcomes.size() + static_cast<size_t>(request.n));
        if (setup.alone) FM_RETURN_IF_ERROR(engine.Drain(on_event));
      }
      FM_RETURN_IF_ERROR(engine.Drain(on_event));
    }
    if (totals != nullptr) {
      *totals = {.preemptions = engine.scheduler().preemptions(),
                 .prefix_hit_tokens = engine.scheduler().prefix_hit_tokens(),
                 .speculation = engine.scheduler().speculation(),
                 .experts = engine.expert_counts(),
                 .stats = engine.stats()};
    }
    return absl::OkStatus();
  };
  const auto adjust = [&](SchedulerOptions& scheduler) {
    scheduler.plan_ahead = setup.plan_ahead;
    if (setup.adjust) setup.adjust(scheduler);
  };
  FM_RETURN_IF_ERROR(RunOnThreadRanks(setup.options, setup.ranks, setup.threads, body, adjust));
  return outcomes;
}

}  // namespace folkmoot
