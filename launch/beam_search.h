// SPDX-License-Identifier: Apache-2.0
// Beam search as `generate` of Transformers 5 does it, without a model: which outputs to go on
// with, which are finished, and when to stop. Sums are doubles; equal ones go to the better beam,
// then to the better token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scheduler/request.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

// An output so far: of each token itself, its log-probability, the best ones beside it, and what
// choices were lost until it came.
struct Beam {
  std::vector<SequenceResult> tokens;
  double sum = 0;        // of log-probabilities
  double score = 0;      // of a finished one: sum / length ^ length_penalty
  bool stopped = false;  // by its last token
};

// What a running output was answered: the most probable next tokens, best first, and the choices
// that it has lost so far.
struct BeamAnswer {
  std::vector<TokenLogprob> best;
  std::vector<DropCounts> drops;
};

class BeamSearch {
 public:
  // `stop_ids` end an output, so do `max_tokens` tokens. Keeps the `shown` best beside each token.
  BeamSearch(const BeamParams& params, std::vector<int32_t> stop_ids, int64_t max_tokens,
             size_t shown);

  // How many continuations of each running output it must be told: so many that, whichever of them
  // end it, the beams can go on.
  static int64_t Candidates(int64_t width, size_t stop_ids);
  int64_t candidates() const { return Candidates(params_.width, stop_ids_.size()); }

  const std::vector<Beam>& running() const { return running_; }
  // answers[b] belongs to running()[b], and has candidates() tokens.
  void Advance(std::span<const BeamAnswer> answers);
  bool done() const { return done_; }
  // At most `width`, best first; all of them when it is done.
  const std::vector<Beam>& finished() const { return finished_; }

 private:
  struct Candidate {
    size_t beam;
    size_t place;  // in the list of its answer
    double sum;
  };
  std::vector<Candidate> Rank(std::span<const BeamAnswer> answers) const;
  Beam Continue(const Candidate& candidate, const BeamAnswer& answer) const;
  bool Ends(const Beam& beam) const;
  void Finish(Beam beam);
  bool full() const { return std::ssize(finished_) == params_.width; }
  bool CanImprove() const;

  BeamParams params_;
  std::vector<int32_t> stop_ids_;
  int64_t max_tokens_;
  size_t shown_;
  int64_t length_ = 0;  // tokens of the running ones
  bool done_ = false;
  std::vector<Beam> running_;
  std::vector<Beam> finished_;
};

}  // namespace folkmoot
