// SPDX-License-Identifier: Apache-2.0
#include "tests/support/engine_run.h"

#include <cstring>

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
  const SequenceResult& result = *event.result;
  Append(result.target_logprobs, &outcome->prompt_logprobs);
  if (result.token >= 0) {
    outcome->tokens.push_back(result.token);
    outcome->token_logprobs.push_back(result.token_logprob);
  }
  if (!result.layer_digests.empty()) outcome->layer_digests = result.layer_digests;
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
  outcome->finish = event.finish;
  outcome->error = result.error;
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
         SameBits(prompt_logprobs, other.prompt_logprobs) &&
         SameBits(layer_digests, other.layer_digests) && rejected == other.rejected &&
         overflow == other.overflow && finish == other.finish && error == other.error;
}

absl::StatusOr<std::vector<RunOutcome>> RunRequests(const RunSetup& setup,
                                                    const std::vector<Request>& requests) {
  std::vector<RunOutcome> outcomes(requests.size());
  const auto body = [&](Engine& engine, LoadedRank&) -> absl::Status {
    const auto on_event = [&](const RequestEvent& event) {
      Collect(event, &outcomes[static_cast<size_t>(event.id)]);
    };
    for (const Request& request : requests) {
      FM_RETURN_IF_ERROR(engine.Submit(request).status());
      if (setup.alone) FM_RETURN_IF_ERROR(engine.Drain(on_event));
    }
    return engine.Drain(on_event);
  };
  FM_RETURN_IF_ERROR(RunOnThreadRanks(setup.options, setup.ranks, setup.threads, body));
  return outcomes;
}

}  // namespace folkmoot
