// SPDX-License-Identifier: Apache-2.0
// Windows that keep the prompt (Unlimited-OCR): which keys ChooseBesidePrompt chooses, and
// attention over them beside sums in double precision.
#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/ops/attention.h"
#include "runtime/ops/key_selection.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kRows = 41;

// Of one batch: a prompt and output behind it in one piece, output alone, and a prompt alone.
std::vector<AttentionSequence> ThreeSequences(const std::vector<std::vector<int32_t>>& pages) {
  return {{.first_row = 0, .rows = 30, .start = 0, .blocks = pages[0], .prompt = 12},
          {.first_row = 30, .rows = 1, .start = 37, .blocks = pages[1], .prompt = 5},
          {.first_row = 31, .rows = 10, .start = 20, .blocks = pages[2], .prompt = 50}};
}

bool Sees(const AttentionSequence& sequence, int64_t window, int64_t query, int64_t key) {
  return key <= query && (key < sequence.prompt || key > query - window);
}

class PromptWindow : public testing::TestWithParam<int64_t> {};

TEST_P(PromptWindow, ChoosesThePromptAndTheWindow) {
  const int64_t window = GetParam();
  const std::vector<AttentionSequence> sequences =
      ThreeSequences(std::vector<std::vector<int32_t>>(3));
  int64_t most = 1;
  for (const AttentionSequence& s : sequences) {
    most = std::max(most, MostBesidePrompt(window, s));
  }
  EXPECT_EQ(MostBesidePrompt(window, sequences[2]), 0) << "a prompt has all of itself";
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::vector<int32_t> counts(kRows, -1), positions(static_cast<size_t>(kRows * most), -1);
    const ChosenKeys chosen = {.most = most, .counts = counts, .positions = positions};
    ChooseBesidePrompt(pool, window, sequences, chosen);
    for (const AttentionSequence& s : sequences) {
      for (int64_t r = 0; r < s.rows; ++r) {
        std::vector<int32_t> wanted;
        const int64_t query = s.start + r;
        for (int64_t key = 0; key <= query; ++key) {
          if (Sees(s, window, query, key)) wanted.push_back(static_cast<int32_t>(key));
        }
        const bool all = std::ssize(wanted) == query + 1;
        const std::span<const int32_t> own = chosen.Of(s.first_row + r, 0);
        EXPECT_EQ(std::vector<int32_t>(own.begin(), own.end()),
                  all ? std::vector<int32_t>() : wanted)
            << "query " << query << ", prompt " << s.prompt;
      }
    }
  }
}

// Softmax over the keys that are seen, in double precision.
std::vector<double> Attended(const AttentionSequence& s, int64_t window, int64_t query,
                             const float* q, const std::vector<float>& k,
                             const std::vector<float>& v, int64_t dim, float scale) {
  std::vector<double> sums(static_cast<size_t>(dim));
  double total = 0;
  for (int64_t key = 0; key <= query; ++key) {
    if (!Sees(s, window, query, key)) continue;
    double score = 0;
    for (int64_t i = 0; i < dim; ++i) {
      score +=
          static_cast<double>(q[i]) * static_cast<double>(k[static_cast<size_t>(key * dim + i)]);
    }
    const double weight = std::exp(score * static_cast<double>(scale));
    total += weight;
    for (int64_t i = 0; i < dim; ++i) {
      sums[static_cast<size_t>(i)] +=
          weight * static_cast<double>(v[static_cast<size_t>(key * dim + i)]);
    }
  }
  for (double& sum : sums) sum /= total;
  return sums;
}

// Whatever the pieces, with the same bits.
TEST_P(PromptWindow, AttendsToThem) {
  const int64_t window = GetParam();
  constexpr int64_t kDim = 12;
  constexpr int64_t kLength = 60;
  constexpr float kScale = 0.4f;
  const std::vector<float> q = RandomFloats(kLength * kDim, 1);
  const std::vector<float> k = RandomFloats(kLength * kDim, 2);
  const std::vector<float> v = RandomFloats(kLength * kDim, 3);
  const std::vector<int32_t> pages = {3, 0, 4, 1};
  std::vector<float> whole;
  for (const int64_t piece : {kLength, int64_t{7}, int64_t{1}}) {
    ThreadPool pool(2);
    Workspace workspace;
    KvCache cache({.layers = 1, .blocks = 5, .block_size = 16, .kv_heads = 1, .head_dim = kDim});
    std::vector<float> out(q.size());
    for (int64_t start = 0; start < kLength; start += piece) {
      const int64_t rows = std::min(piece, kLength - start);
      const auto part = [&](const std::vector<float>& from) {
        return ConstMatrix(from.data() + start * kDim, rows, kDim);
      };
      const AttentionSequence s = {.rows = rows, .start = start, .blocks = pages, .prompt = 14};
      StoreKv(pool, 0, {&s, 1}, part(k), part(v), cache);
      const int64_t most = MostBesidePrompt(window, s);
      std::vector<int32_t> counts(static_cast<size_t>(rows));
      std::vector<int32_t> positions(static_cast<size_t>(rows * most));
      const ChosenKeys chosen = {.most = most, .counts = counts, .positions = positions};
      if (most > 0) ChooseBesidePrompt(pool, window, {&s, 1}, chosen);
      const AttentionParams params = {
          .heads = 1, .scale = kScale, .chosen = most > 0 ? &chosen : nullptr};
      PagedAttention(pool, params, {&s, 1}, part(q), cache, workspace,
                     Matrix(out.data() + start * kDim, rows, kDim));
    }
    if (whole.empty()) whole = out;
    EXPECT_EQ(Bits(out), Bits(whole)) << "pieces of " << piece;
  }
  const AttentionSequence s = {.rows = kLength, .start = 0, .blocks = pages, .prompt = 14};
  for (int64_t query = 0; query < kLength; ++query) {
    const auto wanted = Attended(s, window, query, q.data() + query * kDim, k, v, kDim, kScale);
    for (int64_t i = 0; i < kDim; ++i) {
      EXPECT_NEAR(static_cast<double>(whole[static_cast<size_t>(query * kDim + i)]),
                  wanted[static_cast<size_t>(i)], 2e-6)
          << "query " << query;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, PromptWindow, testing::Values(1, 2, 5, 16, 17, 100));

}  // namespace
}  // namespace folkmoot
