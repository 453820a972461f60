// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/sampling.h"

#include <cmath>
#include <limits>
#include <random>
#include <span>

#include "runtime/ops/norm.h"
#include "runtime/sampler.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {
namespace {

// Rows of logits of several kinds: smooth, steep, with many equal values, all equal, with weights
// that vanish.
std::vector<float> RandomLogits(int kind, int vocab, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& x : logits) {
    const float draw = normal(random);
    switch (kind % 6) {
      case 0:
        x = 2.0f * draw;
        break;
      case 1:
        x = 12.0f * draw;
        break;
      case 2:
        x = std::round(draw);
        break;
      case 3:
        x = 1.5f;
        break;
      case 4:
        x = -30.0f + draw;
        break;
      default:
        x = 0.01f * draw;
    }
  }
  if (kind % 6 == 4) logits[static_cast<size_t>(vocab / 3)] = 3.0f;
  return logits;
}

SampleRow RandomParams(int i, std::mt19937& random) {
  std::uniform_real_distribution<float> unit;
  SampleRow row;
  row.temperature = i % 8 == 7 ? 0.0f : 0.2f + 1.5f * unit(random);
  const int vocab_parts[] = {0, 1, 3, 40, 400};
  if (i % 3 != 0) row.top_k = vocab_parts[random() % 5];
  if (i % 5 != 0) row.top_p = i % 5 == 1 ? 0.95f : unit(random);
  if (i % 4 == 3) row.min_p = 0.2f * unit(random);
  row.seed = uint64_t{random()} << 32 | random();
  row.position = static_cast<int64_t>(random() % 100000);
  return row;
}

std::optional<int32_t> OnCpu(Sampler& sampler, std::span<const float> logits,
                             const SampleRow& row) {
  SamplingParams params;
  params.temperature = row.temperature;
  params.top_k = row.top_k;
  params.top_p = row.top_p;
  params.min_p = row.min_p;
  params.seed = row.seed;
  return sampler.Sample({.logits = logits, .params = params, .position = row.position});
}

class CudaSampling : public CudaTest {
 protected:
  std::vector<SampledToken> Sample(const std::vector<float>& logits, int vocab,
                                   const std::vector<SampleRow>& rows) {
    const int count = static_cast<int>(rows.size());
    const Memory device_logits = ToDevice(logits);
    const Memory device_rows = ToDevice(rows);
    const Memory out = Zeros<SampledToken>(rows.size());
    const Memory scratch = ToDevice(
        std::vector<unsigned char>(static_cast<size_t>(SampleScratchBytes(vocab, count)), 0xff));
    SampleRows(stream(), {device_logits.data(), DType::kF32, count, vocab, vocab},
               device_rows.As<SampleRow>(), count, scratch.data(), out.As<SampledToken>());
    return ToHost<SampledToken>(out);
  }
};

class CudaSamplingSizes : public CudaSampling, public testing::WithParamInterface<int> {};

TEST_P(CudaSamplingSizes, PicksTheTokenOfTheCpu) {
  const int vocab = GetParam();
  const int count = vocab > 2000 ? 512 : 1024;
  std::mt19937 random(static_cast<uint32_t>(vocab));
  std::vector<float> logits;
  std::vector<SampleRow> rows;
  for (int i = 0; i < count; ++i) {
    const std::vector<float> row = RandomLogits(i / 3, vocab, random);
    logits.insert(logits.end(), row.begin(), row.end());
    rows.push_back(RandomParams(i, random));
  }
  const auto tokens = Sample(logits, vocab, rows);
  Sampler sampler;
  int different = 0;
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    const std::span<const float> row(&logits[at * static_cast<size_t>(vocab)],
                                     static_cast<size_t>(vocab));
    const auto expected = OnCpu(sampler, row, rows[at]);
    EXPECT_EQ(tokens[at].finite, 1);
    if (expected != tokens[at].token) ++different;
    EXPECT_EQ(expected, tokens[at].token)
        << "row " << i << " kind " << i / 3 % 6 << " temperature " << rows[at].temperature
        << " top_k " << rows[at].top_k << " top_p " << rows[at].top_p << " min_p "
        << rows[at].min_p;
    ASSERT_GE(tokens[at].token, 0);
    EXPECT_EQ(tokens[at].top_logit, row[static_cast<size_t>(ArgMax(row))]);
    EXPECT_NEAR(tokens[at].logprob, Sampler::Logprob(row, LogSumExp(row), tokens[at].token), 1e-6)
        << i;
  }
  EXPECT_EQ(different, 0) << "of " << count;
}
INSTANTIATE_TEST_SUITE_P(Sizes, CudaSamplingSizes, testing::Values(1, 50, 1000, 5003));

TEST_F(CudaSampling, GreedyTakesTheLowerOfEqualIds) {
  const int vocab = 5000;
  std::vector<float> logits(static_cast<size_t>(vocab), -1.0f);
  logits[4999] = logits[3000] = logits[2047] = logits[2048] = 2.5f;
  const auto tokens = Sample(logits, vocab, {SampleRow{}});
  EXPECT_EQ(tokens[0].token, 2047);
  EXPECT_EQ(tokens[0].top_logit, 2.5f);
}

TEST_F(CudaSampling, MarksRowsThatAreNotFinite) {
  const int vocab = 3000;
  std::vector<float> logits(static_cast<size_t>(4 * vocab), 0.5f);
  logits[2500] = std::numeric_limits<float>::quiet_NaN();
  logits[static_cast<size_t>(vocab) + 7] = std::numeric_limits<float>::infinity();
  logits[static_cast<size_t>(3 * vocab) - 1] = -std::numeric_limits<float>::infinity();
  SampleRow draws;
  draws.temperature = 1;
  const auto tokens = Sample(logits, vocab, {SampleRow{}, draws, draws, draws});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(tokens[i].finite, 0) << i;
    EXPECT_EQ(tokens[i].token, -1) << i;
  }
  EXPECT_EQ(tokens[3].finite, 1);
  EXPECT_GE(tokens[3].token, 0);
}

// A row's token depends neither on its mates nor on its place among them.
TEST_F(CudaSampling, RowsDoNotSeeEachOther) {
  const int vocab = 2500;
  std::mt19937 random(3);
  std::vector<float> logits;
  std::vector<SampleRow> rows;
  for (int i = 0; i < 12; ++i) {
    const auto row = RandomLogits(i, vocab, random);
    logits.insert(logits.end(), row.begin(), row.end());
    rows.push_back(RandomParams(i, random));
  }
  const auto together = Sample(logits, vocab, rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto begin = logits.begin() + static_cast<ptrdiff_t>(i) * vocab;
    const auto alone = Sample({begin, begin + vocab}, vocab, {rows[i]});
    EXPECT_EQ(alone[0].token, together[i].token) << i;
    EXPECT_EQ(alone[0].logprob, together[i].logprob) << i;
  }
}

}  // namespace
}  // namespace folkmoot::cuda
