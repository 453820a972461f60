// SPDX-License-Identifier: Apache-2.0
// One golden checkpoint of tests/data/goldens, or of another folder of the same form: what Hugging
// Face Transformers computed with it in float32, and the requests that ask the same of us.
#pragma once

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/support/engine_run.h"

namespace folkmoot {

// The names of all checkpoints.
std::vector<std::string> GoldenVariants(const std::string& folder = "goldens");
// For INSTANTIATE_TEST_SUITE_P.
std::string GoldenTestName(const testing::TestParamInfo<std::string>& info);

// A search of `generate`, whose forced first token counts as output. `config` names the tokens with
// which the output begins and ends.
Request BeamsOf(const nlohmann::json& search, const nlohmann::json& config);

struct GoldenCase {
  explicit GoldenCase(const std::string& name, const std::string& folder = "goldens");

  // Log-probabilities of all prompts within `tolerance`; returns the largest difference.
  double ExpectLogprobs(const std::vector<RunOutcome>& outcomes, double tolerance) const;
  // The same up to the first position of each prompt whose router choices differ: near a tie the
  // rounding of 16 bits may choose another expert, which is another function; so may weights that
  // jump. `compared` gets the part of the positions that were compared, `mean` the mean
  // difference.
  double ExpectLogprobsWhereRoutedAlike(const std::vector<RunOutcome>& outcomes, double tolerance,
                                        double* compared, double* mean = nullptr) const;
  // Every router choice equal, its weight within `tolerance`.
  void ExpectRouting(const std::vector<RunOutcome>& outcomes, double tolerance = 1e-4) const;

  // Runs the requests as `setup` says: log-probabilities, routing and the greedy text are those of
  // Transformers. Prints and records the worst log-probability.
  void ExpectTransformers(double logprobs, double routing = 1e-4) const;
  // The outcomes on one rank and on `ranks` are equal bit for bit.
  void ExpectSameBitsAt(int ranks) const;

  RunSetup setup;
  nlohmann::json golden;
  // Prompts with log-probabilities and routing, then a greedy one. Of models with an encoder each
  // has a source, and log-probabilities are of the target.
  std::vector<Request> requests;
  std::vector<Request> beams;         // of golden["beams"]
  std::vector<int32_t> continuation;  // of the last request
  std::string variant;
  bool quantised = false;  // some weights are codes
  // Weights of SparseMixer are no continuous function of the logits: one that is off by more than
  // this is another choice.
  double jump = std::numeric_limits<double>::infinity();
};

}  // namespace folkmoot
