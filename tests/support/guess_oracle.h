// SPDX-License-Identifier: Apache-2.0
// Guesses for speculative decoding in tests, most of them right.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "scheduler/speculation.h"
#include "tests/support/engine_run.h"

namespace folkmoot {

// Knows the answers, and is wrong at every fifth position.
class GuessOracle {
 public:
  void Learn(const std::vector<Request>& requests, const std::vector<RunOutcome>& outcomes) {
    size_t at = 0;
    for (const Request& request : requests) {
      for (int32_t choice = 0; choice < request.n; ++choice) {
        std::vector<int32_t>& text = texts_.emplace_back(request.prompt);
        const std::vector<int32_t>& tokens = outcomes[at++].tokens;
        text.insert(text.end(), tokens.begin(), tokens.end());
      }
    }
  }
  void Guess(std::span<const int32_t> tokens, int64_t most, std::vector<int32_t>* guesses) const {
    guesses->clear();
    for (const std::vector<int32_t>& text : texts_) {
      if (Recite(text, tokens, most, 5, guesses)) return;
    }
  }

  // For RunSetup::adjust: up to `tokens` guesses of this oracle, which must outlive the run.
  std::function<void(SchedulerOptions&)> Asked(int64_t tokens) const {
    return [this, tokens](SchedulerOptions& scheduler) {
      scheduler.speculation.tokens = tokens;
      scheduler.speculation.guesser = [this](std::span<const int32_t> text, int64_t most,
                                             std::vector<int32_t>* guesses) {
        Guess(text, most, guesses);
      };
    };
  }

 private:
  std::vector<std::vector<int32_t>> texts_;
};

}  // namespace folkmoot
