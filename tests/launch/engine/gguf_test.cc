// SPDX-License-Identifier: Apache-2.0
// Whole models from GGUF files (tests/data/gguf, written by tools/make_gguf_goldens.py).
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

const std::string kData = std::string(FOLKMOOT_TEST_DATA) + "/gguf/";

// The same weights as in a directory of safetensors.
class GgufPlain : public testing::TestWithParam<std::string> {};

TEST_P(GgufPlain, HasTheBitsOfSafetensors) {
  GoldenCase golden(GetParam());
  const auto expected = RunRequests(golden.setup, golden.requests);
  ASSERT_TRUE(expected.ok()) << expected.status();
  golden.setup.options.model = kData + GetParam() + ".gguf";
  const auto outcomes = RunRequests(golden.setup, golden.requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  golden.ExpectLogprobs(*outcomes, 1e-4);
  golden.ExpectRouting(*outcomes);
  EXPECT_EQ(outcomes->back().tokens, golden.continuation);
  // Its rotary frequencies are products of float32 factors of the file.
  if (GetParam() == "llama-llama3") return;
  for (size_t p = 0; p < golden.requests.size(); ++p) {
    EXPECT_TRUE((*outcomes)[p] == (*expected)[p]) << "prompt " << p;
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, GgufPlain,
                         testing::Values("llama-classic", "llama-llama3", "mixtral-classic",
                                         "olmoe-classic", "mixtral-window", "qwen2-classic",
                                         "qwen2_moe-classic", "qwen3-classic", "qwen3_moe-classic"),
                         GoldenTestName);

// Quantised weights against Transformers in float32 on the numbers that they stand for.
class GgufQuantised : public testing::TestWithParam<std::string> {
 protected:
  static std::string Path() { return "../gguf/" + GetParam(); }
  GoldenCase golden_{Path()};
  void SetUp() override { golden_.setup.options.model += "/model.gguf"; }
};

TEST_P(GgufQuantised, DequantisedIsTransformers) {
  golden_.setup.options.dtype = "float32";
  golden_.ExpectTransformers(1e-4);
}

// Products take activations as 16-bit integers: each value moves by about 2^-16 of the largest in
// its chunk, and the two layers of these models add some of that up.
TEST_P(GgufQuantised, CodesAreCloseToTransformersOnAnyRanks) {
  const auto outcomes = RunRequests(golden_.setup, golden_.requests);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  const double worst = golden_.ExpectLogprobs(*outcomes, 1e-3);
  fmt::print("{}: worst log-probability error {:.1e}\n", GetParam(), worst);
  golden_.ExpectSameBitsAt(3);
}

INSTANTIATE_TEST_SUITE_P(Goldens, GgufQuantised,
                         testing::Values("qwen3_moe-q8_0", "mixtral-q4_0", "qwen2_moe-q4_1",
                                         "qwen3_moe-mxfp4", "llama-q4_k"),
                         GoldenTestName);

}  // namespace
}  // namespace folkmoot
