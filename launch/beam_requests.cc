// SPDX-License-Identifier: Apache-2.0
#include "launch/beam_requests.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace folkmoot {
namespace {

// What a search for the most probable output has no room for; empty: nothing.
std::string_view WhyNoBeams(const Request& request) {
  const SamplingParams& sampling = request.sampling;
  if (request.constraint != nullptr) return "forms of the output";
  if (sampling.NeedsHistory()) return "penalties and bad words";
  if (!sampling.logit_bias.empty() || !sampling.allowed_ids.empty()) return "biased tokens";
  if (sampling.min_tokens > 0) return "min_tokens";
  if (request.prompt_logprobs) return "log-probabilities of the prompt";
  if (request.trace_routing || request.layer_digests) return "traces";
  if (request.pooling != Pooling::kNone) return "embeddings";
  return "";
}

absl::Status Check(const Request& request, int64_t vocab) {
  const BeamParams& beams = request.beams;
  if (const std::string_view why = WhyNoBeams(request); !why.empty()) {
    return InvalidArgument("num_beams is {}: beam search does without {}", beams.width, why);
  }
  if (request.n > beams.width) {
    return InvalidArgument("n is {}: beam search finds at most num_beams = {} outputs", request.n,
                           beams.width);
  }
  if (request.max_tokens < 1) return InvalidArgument("max_tokens is 0: beams need at least one");
  const int64_t needed = BeamSearch::Candidates(beams.width, request.stop_ids.size());
  if (needed > vocab) {
    return InvalidArgument(
        "num_beams is {}: with {} stop tokens it looks at {} tokens, and the model has {}",
        beams.width, request.stop_ids.size(), needed, vocab);
  }
  return absl::OkStatus();
}

// Whether an output begins with what was told of it in an earlier life of the server, and goes on.
bool Continues(const Beam& beam, const ChoiceSoFar& told) {
  const auto same = [](int32_t token, const SequenceResult& found) { return found.token == token; };
  return told.tokens.size() < beam.tokens.size() &&
         std::equal(told.tokens.begin(), told.tokens.end(), beam.tokens.begin(), same);
}

constexpr char kFoundAnother[] =
    "the search, begun anew, found another output than the one that was begun";

// The tokens of an output from number `from` on.
void TellRest(const Beam& beam, size_t from, RequestEvent event,
              absl::FunctionRef<void(const RequestEvent&)> on_event) {
  for (size_t i = from; i < beam.tokens.size(); ++i) {
    event.result = &beam.tokens[i];
    if (i + 1 == beam.tokens.size()) {
      event.finish = beam.stopped ? FinishReason::kStop : FinishReason::kLength;
    }
    on_event(event);
    event.first = false;
  }
}

}  // namespace

bool BeamRequests::Search::waits() const {
  return std::any_of(open.begin(), open.end(), [](int64_t id) { return id >= 0; });
}

absl::StatusOr<int64_t> BeamRequests::Add(Request request) {
  FM_RETURN_IF_ERROR(scheduler_.Check(request));
  FM_RETURN_IF_ERROR(folkmoot::Check(request, scheduler_.vocab()));
  const auto shown = static_cast<size_t>(std::max(request.logprobs, 0));
  BeamSearch beams(request.beams, request.stop_ids, request.max_tokens, shown);
  const int64_t id = scheduler_.ReserveId();
  Search& search =
      searches_.emplace(id, Search{.request = std::move(request), .beams = std::move(beams)})
          .first->second;
  if (absl::Status status = Ask(id, &search); !status.ok()) {
    searches_.erase(id);
    return status;
  }
  return id;
}

absl::Status BeamRequests::Ask(int64_t id, Search* search) {
  const std::vector<Beam>& running = search->beams.running();
  search->answers.assign(running.size(), {});
  search->open.clear();
  for (size_t b = 0; b < running.size(); ++b) {
    Request one = search->request;
    one.beams = {};
    one.n = 1;
    one.max_tokens = 1;
    one.stop_ids.clear();
    one.sampling = {};
    one.sampling.temperature = 0;
    one.so_far.clear();  // the search begins anew
    one.logprobs = static_cast<int32_t>(search->beams.candidates());
    for (const SequenceResult& token : running[b].tokens) one.prompt.push_back(token.token);
    one.written = search->request.beams.begun + std::ssize(running[b].tokens);
    FM_ASSIGN_OR_RETURN(const int64_t own, scheduler_.Add(std::move(one)));
    search->open.push_back(own);
    beam_of_[own] = {id, b};
  }
  return absl::OkStatus();
}

bool BeamRequests::Abort(int64_t id) {
  const auto found = searches_.find(id);
  if (found == searches_.end()) return false;
  found->second.aborted = true;
  AbortBeams(&found->second);
  return true;
}

void BeamRequests::AbortBeams(Search* search) {
  for (int64_t& own : search->open) {
    if (own < 0) continue;
    scheduler_.Abort(own);
    own = -1;  // its last event is still to come, and means nothing
  }
}

bool BeamRequests::Take(const RequestEvent& event) {
  const auto found = beam_of_.find(event.id);
  if (found == beam_of_.end()) return false;
  const auto [id, beam] = found->second;
  const bool last = event.finish != FinishReason::kNone;
  if (last) beam_of_.erase(found);
  const auto search = searches_.find(id);
  if (search == searches_.end() || search->second.open[beam] != event.id) return true;
  Search& mine = search->second;
  if (event.result != nullptr) {
    BeamAnswer& answer = mine.answers[beam];
    if (!event.result->token_top.empty()) answer.best = event.result->token_top;
    if (!event.result->drops.empty()) answer.drops = event.result->drops;
    if (!event.result->error.empty()) mine.error = event.result->error;
  }
  if (event.crashed) mine.error = kCrashedError;
  if (mine.beams.running().front().tokens.empty()) mine.cached_tokens = event.cached_tokens;
  if (last) mine.open[beam] = -1;
  return true;
}

void BeamRequests::Advance(absl::FunctionRef<void(const RequestEvent&)> on_event) {
  for (auto at = searches_.begin(); at != searches_.end();) {
    const int64_t id = at->first;
    Search& search = at->second;
    if (!search.error.empty()) AbortBeams(&search);
    const bool goes_on = !search.aborted && search.error.empty();
    if (goes_on && !search.waits()) Step(id, &search);
    if (search.waits()) {
      ++at;
      continue;
    }
    Tell(id, search, on_event);
    at = searches_.erase(at);
  }
}

void BeamRequests::Step(int64_t id, Search* search) {
  // To its own request, all of a beam's tokens but the last are a prompt.
  if (search->of_prompt.empty()) search->of_prompt = search->answers.front().drops;
  for (BeamAnswer& answer : search->answers) {
    for (size_t i = 0; i < answer.drops.size() && i < search->of_prompt.size(); ++i) {
      answer.drops[i].prompt_rejected = search->of_prompt[i].prompt_rejected;
      answer.drops[i].prompt_overflow = search->of_prompt[i].prompt_overflow;
    }
  }
  search->beams.Advance(search->answers);
  if (search->beams.done()) return;
  if (const absl::Status status = Ask(id, search); !status.ok()) {
    search->error = std::string(Message(status));
    AbortBeams(search);
  }
}

void BeamRequests::Tell(int64_t id, Search& search,
                        absl::FunctionRef<void(const RequestEvent&)> on_event) {
  for (int32_t choice = 0; choice < search.request.n; ++choice) {
    const auto c = static_cast<size_t>(choice);
    const std::vector<ChoiceSoFar>& so_far = search.request.so_far;
    const ChoiceSoFar told = so_far.empty() ? ChoiceSoFar() : so_far[c];
    if (told.ended) continue;
    RequestEvent event = {.id = id,
                          .choice = choice,
                          .cached_tokens = search.cached_tokens,
                          .first = told.tokens.empty()};
    const bool found = search.error.empty() && !search.aborted;
    if (found && Continues(search.beams.finished()[c], told)) {
      TellRest(search.beams.finished()[c], told.tokens.size(), event, on_event);
      continue;
    }
    SequenceResult failed;
    failed.error = found ? kFoundAnother : search.error;
    if (!failed.error.empty()) event.result = &failed;
    event.finish = failed.error.empty() ? FinishReason::kAborted : FinishReason::kError;
    on_event(event);
  }
}

}  // namespace folkmoot
