// SPDX-License-Identifier: Apache-2.0
#include "launch/beam_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/check.h"

namespace folkmoot {
BeamSearch::BeamSearch(const BeamParams& params, std::vector<int32_t> stop_ids, int64_t max_tokens,
                       size_t shown)
    : params_(params),
      stop_ids_(std::move(stop_ids)),
      max_tokens_(max_tokens),
      shown_(shown),
      running_(1) {}

int64_t BeamSearch::Candidates(int64_t width, size_t stop_ids) {
  return width * std::max<int64_t>(2, 1 + static_cast<int64_t>(stop_ids));
}

bool BeamSearch::Ends(const Beam& beam) const {
  return beam.stopped || std::ssize(beam.tokens) >= max_tokens_;
}

// The best continuations of all, as many as are wanted.
std::vector<BeamSearch::Candidate> BeamSearch::Rank(std::span<const BeamAnswer> answers) const {
  std::vector<Candidate> order;
  for (size_t b = 0; b < answers.size(); ++b) {
    const std::vector<TokenLogprob>& best = answers[b].best;
    for (size_t i = 0; i < best.size(); ++i) {
      order.push_back({b, i, running_[b].sum + static_cast<double>(best[i].logprob)});
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Candidate& a, const Candidate& b) { return a.sum > b.sum; });
  order.resize(std::min(order.size(), static_cast<size_t>(candidates())));
  return order;
}

Beam BeamSearch::Continue(const Candidate& candidate, const BeamAnswer& answer) const {
  const TokenLogprob& token = answer.best[candidate.place];
  Beam beam = running_[candidate.beam];
  beam.sum = candidate.sum;
  beam.stopped = std::find(stop_ids_.begin(), stop_ids_.end(), token.token) != stop_ids_.end();
  SequenceResult& result = beam.tokens.emplace_back();
  result.token = token.token;
  result.token_logprob = token.logprob;
  const auto shown = static_cast<std::ptrdiff_t>(std::min(shown_, answer.best.size()));
  result.token_top.assign(answer.best.begin(), answer.best.begin() + shown);
  result.drops = answer.drops;
  return beam;
}

void BeamSearch::Advance(std::span<const BeamAnswer> answers) {
  FM_CHECK(!done_ && answers.size() == running_.size());
  const std::vector<Candidate> order = Rank(answers);
  std::vector<Beam> next;
  ++length_;
  const auto width = static_cast<size_t>(params_.width);
  for (size_t i = 0; i < order.size() && (i < width || next.size() < width); ++i) {
    Beam beam = Continue(order[i], answers[order[i].beam]);
    if (!Ends(beam)) {
      if (next.size() < width) next.push_back(std::move(beam));
    } else if (i < width) {  // the others are there only so that enough can go on
      Finish(std::move(beam));
    }
  }
  running_ = std::move(next);
  done_ = running_.empty() || !CanImprove() ||
          (full() && params_.early_stopping == EarlyStopping::kYes);
}

void BeamSearch::Finish(Beam beam) {
  const auto length = static_cast<double>(params_.begun + std::ssize(beam.tokens));
  beam.score = beam.sum / std::pow(length, params_.length_penalty);
  const auto worse = std::find_if(finished_.begin(), finished_.end(),
                                  [&](const Beam& other) { return other.score < beam.score; });
  finished_.insert(worse, std::move(beam));
  if (std::ssize(finished_) > params_.width) finished_.pop_back();
}

// Can the best of the running ones become better than the worst finished one? An estimate, as
// theirs.
bool BeamSearch::CanImprove() const {
  if (!full() || running_.empty()) return true;
  const bool longest =
      params_.early_stopping == EarlyStopping::kNever && params_.length_penalty > 0;
  const auto length = static_cast<double>(params_.begun + (longest ? max_tokens_ : length_));
  return running_.front().sum / std::pow(length, params_.length_penalty) > finished_.back().score;
}

}  // namespace folkmoot
