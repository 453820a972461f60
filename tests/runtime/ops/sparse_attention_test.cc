// SPDX-License-Identifier: Apache-2.0
// DeepSeek's sparse attention: SelectKeys, and PagedAttention over what it chose.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "runtime/ops/attention.h"
#include "runtime/ops/key_selection.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kLength = 150;  // of the sequence that is looked at
constexpr int64_t kKeyDim = 20;   // of attention, whose values are the first numbers of keys
constexpr int64_t kValueDim = 12;
constexpr int64_t kIndexDim = 24;
constexpr float kScale = 0.3f;

struct Case {
  int64_t most;
  int64_t index_heads;
  int64_t heads;  // of attention
  int64_t block_size;
  DType cache = DType::kF32;
  bool sinks = false;
};

// Rows of a sequence: what the indexer and the attention read.
struct Rows {
  Rows(const Case& c, uint32_t seed)
      : index_q(RandomFloats(kLength * c.index_heads * kIndexDim, seed)),
        index_k(RandomFloats(kLength * kIndexDim, seed + 1)),
        weights(RandomFloats(kLength * c.index_heads, seed + 2)),
        q(RandomFloats(kLength * c.heads * kKeyDim, seed + 3)),
        k(RandomFloats(kLength * kKeyDim, seed + 4)),
        sinks(c.sinks ? RandomFloats(c.heads, 5) : std::vector<float>()) {}
  std::vector<float> index_q, index_k, weights, q, k;
  std::vector<float> sinks;  // of all rows
};

struct Result {
  std::vector<int32_t> counts, positions;
  std::vector<float> out;
  friend bool operator==(const Result& a, const Result& b) {
    return a.counts == b.counts && a.positions == b.positions && Bits(a.out) == Bits(b.out);
  }
};

std::vector<float> Part(const std::vector<float>& from, int64_t first, int64_t rows) {
  const auto width = std::ssize(from) / kLength;
  return {from.begin() + first * width, from.begin() + (first + rows) * width};
}

// Bytes of ones are NaN: reading a position out of turn shows.
void FillWithNan(KvCache& cache) {
  for (int64_t block = 0; block < cache.shape().blocks; ++block) {
    const auto bytes = [&cache](int64_t elements) {
      return static_cast<size_t>(elements * DTypeBytes(cache.shape().dtype));
    };
    std::memset(cache.Keys(0, block, 0), 0xff, bytes(cache.layer(0).key_elements));
    if (cache.shape().keys_only) continue;
    std::memset(cache.Values(0, block, 0), 0xff, bytes(cache.layer(0).value_elements));
  }
}

// Steps of `chunk` rows, beside a sequence of other content when `beside` is set. `dense`: every
// query sees all.
Result RunChosen(const Case& c, const Rows& rows, int threads, int64_t chunk, int64_t salt,
                 const Rows* beside = nullptr, bool dense = false) {
  ThreadPool pool(threads);
  Workspace workspace;
  constexpr int64_t kBlocks = 211;
  KvCache cache({.layers = 1,
                 .blocks = kBlocks,
                 .block_size = c.block_size,
                 .kv_heads = 1,
                 .head_dim = kKeyDim,
                 .value_dim = kValueDim,
                 .dtype = c.cache});
  KvCache index({.layers = 1,
                 .blocks = kBlocks,
                 .block_size = c.block_size,
                 .kv_heads = 1,
                 .head_dim = kIndexDim,
                 .dtype = c.cache,
                 .keys_only = true});
  FillWithNan(cache);
  FillWithNan(index);
  std::vector<const Rows*> batch = {&rows};
  if (beside != nullptr) batch.insert(batch.begin(), beside);
  std::vector<std::vector<int32_t>> pages(batch.size());
  int64_t taken = 0;
  for (auto& own : pages) {
    for (int64_t p = 0; p < kLength; p += c.block_size) {
      own.push_back(static_cast<int32_t>((taken++ * 37 + salt) % kBlocks));
    }
  }
  Result result;
  for (int64_t start = 0; start < kLength; start += chunk) {
    const int64_t count = std::min(chunk, kLength - start);
    const int64_t total = count * std::ssize(batch);
    Rows step(c, 0);
    for (std::vector<float>* part : {&step.index_q, &step.index_k, &step.weights, &step.q, &step.k})
      part->clear();
    std::vector<AttentionSequence> sequences;
    for (size_t s = 0; s < batch.size(); ++s) {
      sequences.push_back({std::ssize(sequences) * count, count, start, pages[s]});
      const auto add = [&](std::vector<float>& to, const std::vector<float>& from) {
        const std::vector<float> part = Part(from, start, count);
        to.insert(to.end(), part.begin(), part.end());
      };
      add(step.index_q, batch[s]->index_q);
      add(step.index_k, batch[s]->index_k);
      add(step.weights, batch[s]->weights);
      add(step.q, batch[s]->q);
      add(step.k, batch[s]->k);
    }
    const ConstMatrix keys = AsMatrix(step.index_k, total, kIndexDim);
    StoreKv(pool, 0, sequences, keys, keys.Columns(0, 0), index);
    std::vector<int32_t> counts(static_cast<size_t>(total), -1);
    std::vector<int32_t> positions(static_cast<size_t>(total * c.most), -1);
    const ChosenKeys chosen = {.most = c.most, .counts = counts, .positions = positions};
    SelectKeys(pool, {.heads = c.index_heads, .scale = kScale}, sequences,
               AsMatrix(step.index_q, total, c.index_heads * kIndexDim),
               AsMatrix(step.weights, total, c.index_heads), index, workspace, chosen);
    const ConstMatrix latents = AsMatrix(step.k, total, kKeyDim);
    StoreKv(pool, 0, sequences, latents, latents.Columns(0, kValueDim), cache);
    std::vector<float> out(static_cast<size_t>(total * c.heads * kValueDim));
    const AttentionParams params = {.heads = c.heads,
                                    .scale = kScale,
                                    .sinks = rows.sinks,
                                    .chosen = dense ? nullptr : &chosen};
    PagedAttention(pool, params, sequences, AsMatrix(step.q, total, c.heads * kKeyDim), cache,
                   workspace, AsMatrix(out, total, c.heads * kValueDim));
    const int64_t first = total - count;  // `rows` come last
    result.counts.insert(result.counts.end(), counts.begin() + first, counts.end());
    result.positions.insert(result.positions.end(), positions.begin() + first * c.most,
                            positions.end());
    result.out.insert(result.out.end(), out.begin() + first * c.heads * kValueDim, out.end());
  }
  return result;
}

// The scores of a query in doubles.
std::vector<double> Scores(const Case& c, const Rows& rows, int64_t self) {
  std::vector<double> scores;
  for (int64_t p = 0; p <= self; ++p) {
    double score = 0;
    for (int64_t h = 0; h < c.index_heads; ++h) {
      double product = 0;
      for (int64_t i = 0; i < kIndexDim; ++i) {
        product +=
            double{rows.index_q[static_cast<size_t>((self * c.index_heads + h) * kIndexDim + i)]} *
            rows.index_k[static_cast<size_t>(p * kIndexDim + i)];
      }
      score += rows.weights[static_cast<size_t>(self * c.index_heads + h)] *
               std::max(0.0, kScale * product);
    }
    scores.push_back(score);
  }
  return scores;
}

class SparseAttentionTest : public testing::TestWithParam<Case> {};

TEST_P(SparseAttentionTest, KeepsItsBits) {
  const Case c = GetParam();
  const Rows rows(c, 1), other(c, 70);
  const Result wanted = RunChosen(c, rows, 1, kLength, 0);
  for (const int64_t chunk : {1, 7, 64}) {
    EXPECT_EQ(RunChosen(c, rows, 2, chunk, chunk), wanted) << "chunks of " << chunk;
  }
  EXPECT_EQ(RunChosen(c, rows, 3, kLength, 5), wanted) << "three threads";
  EXPECT_EQ(RunChosen(c, rows, 2, 50, 11, &other), wanted) << "in a batch";
  ForEachTarget([&] { EXPECT_EQ(RunChosen(c, rows, 2, 29, 3), wanted); });
}

// A query sees what no other choice of so many keys would beat, and gives what attention over these
// keys alone gives.
TEST_P(SparseAttentionTest, SeesTheKeysOfTheHighestScores) {
  const Case c = GetParam();
  if (c.cache != DType::kF32) return;  // scores of rounded keys
  const Rows rows(c, 1);
  const Result result = RunChosen(c, rows, 2, 40, 0);
  for (int64_t self = 0; self < kLength; ++self) {
    const auto count = result.counts[static_cast<size_t>(self)];
    ASSERT_EQ(count, self < c.most ? 0 : c.most) << self;
    std::vector<int32_t> seen(static_cast<size_t>(self + 1));
    std::iota(seen.begin(), seen.end(), 0);
    if (count > 0) {
      const auto first = result.positions.begin() + self * c.most;
      const std::vector<double> scores = Scores(c, rows, self);
      std::vector<double> sorted = scores;
      std::sort(sorted.rbegin(), sorted.rend());
      seen.assign(first, first + count);
      ASSERT_TRUE(std::is_sorted(seen.begin(), seen.end(), std::less_equal<>())) << self;
      for (const int32_t p : seen) {
        ASSERT_GE(scores[static_cast<size_t>(p)], sorted[static_cast<size_t>(c.most - 1)] - 1e-6);
      }
    }
    for (int64_t h = 0; h < c.heads; ++h) {
      std::vector<double> value(kValueDim);
      double sum = c.sinks ? std::exp(double{rows.sinks[static_cast<size_t>(h)]}) : 0;
      for (const int32_t p : seen) {
        const float* const key = rows.k.data() + p * kKeyDim;
        double score = 0;
        for (int64_t i = 0; i < kKeyDim; ++i) {
          score += double{rows.q[static_cast<size_t>((self * c.heads + h) * kKeyDim + i)]} * key[i];
        }
        const double weight = std::exp(kScale * score);
        sum += weight;
        for (size_t i = 0; i < kValueDim; ++i) value[i] += weight * key[i];
      }
      for (size_t i = 0; i < kValueDim; ++i) {
        const auto at = static_cast<size_t>((self * c.heads + h) * kValueDim) + i;
        ASSERT_NEAR(result.out[at], value[i] / sum, 1e-5) << self;
      }
    }
  }
}

// Up to the last query that sees all, sparse attention is dense attention.
TEST_P(SparseAttentionTest, HasTheBitsOfDenseAttentionWhereAllIsSeen) {
  const Case c = GetParam();
  const Rows rows(c, 1);
  const std::vector<uint32_t> sparse = Bits(RunChosen(c, rows, 2, 64, 0).out);
  const std::vector<uint32_t> dense = Bits(RunChosen(c, rows, 2, 64, 0, nullptr, true).out);
  const int64_t same = std::min(kLength, c.most) * c.heads * kValueDim;
  EXPECT_TRUE(std::equal(sparse.begin(), sparse.begin() + same, dense.begin()));
  EXPECT_EQ(sparse == dense, c.most >= kLength);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SparseAttentionTest,
    testing::Values(Case{8, 4, 4, 16}, Case{1, 1, 1, 16}, Case{33, 7, 14, 32},  // two parts
                    Case{16, 12, 3, 5},                                         // odd pages
                    Case{8, 4, 4, 24}, Case{149, 3, 2, 16}, Case{150, 3, 2, 16}, Case{400, 3, 2, 8},
                    Case{8, 4, 4, 16, DType::kBF16}, Case{21, 5, 13, 24, DType::kBF16},
                    Case{8, 4, 4, 16, DType::kI8}, Case{21, 5, 3, 5, DType::kI8},
                    Case{8, 4, 14, 16, DType::kF32, true}, Case{33, 2, 3, 24, DType::kF32, true},
                    Case{8, 4, 4, 16, DType::kI8, true}));

// Chosen keys take the same way through other code, in the same order.
TEST(SparseAttention, ChoosingAllKeysIsDenseAttention) {
  for (const Case& c :
       {Case{kLength, 1, 5, 16}, Case{kLength, 1, 14, 5}, Case{kLength, 1, 3, 24, DType::kBF16},
        Case{kLength, 1, 2, 16, DType::kI8}}) {
    const Rows rows(c, 9);
    ThreadPool pool(2);
    Workspace workspace;
    KvCache cache({.layers = 1,
                   .blocks = 40,
                   .block_size = c.block_size,
                   .kv_heads = 1,
                   .head_dim = kKeyDim,
                   .value_dim = kValueDim,
                   .dtype = c.cache});
    std::vector<int32_t> pages(static_cast<size_t>(kLength / c.block_size + 1));
    std::iota(pages.begin(), pages.end(), 3);
    const std::vector<AttentionSequence> sequences = {{0, kLength, 0, pages}};
    const ConstMatrix latents = AsMatrix(rows.k, kLength, kKeyDim);
    StoreKv(pool, 0, sequences, latents, latents.Columns(0, kValueDim), cache);
    std::vector<int32_t> counts, positions;
    for (int64_t t = 0; t < kLength; ++t) {
      counts.push_back(static_cast<int32_t>(t + 1));
      for (int32_t p = 0; p < kLength; ++p) positions.push_back(p);
    }
    const ChosenKeys chosen = {.most = kLength, .counts = counts, .positions = positions};
    const auto attend = [&](const ChosenKeys* keys) {
      std::vector<float> out(static_cast<size_t>(kLength * c.heads * kValueDim));
      PagedAttention(pool, {.heads = c.heads, .scale = kScale, .softcap = 1.5f, .chosen = keys},
                     sequences, AsMatrix(rows.q, kLength, c.heads * kKeyDim), cache, workspace,
                     AsMatrix(out, kLength, c.heads * kValueDim));
      return Bits(out);
    };
    EXPECT_EQ(attend(&chosen), attend(nullptr)) << c.block_size;
  }
}

std::vector<int32_t> LastChoice(const Rows& rows, const Case& c, int64_t chunk) {
  const Result result = RunChosen(c, rows, 2, chunk, 0);
  return {result.positions.end() - c.most, result.positions.end()};
}

// All scores are zero, of either sign: the first keys are chosen. With one that is above, that one
// and those before.
TEST(SparseAttention, OfEqualScoresTheLowerPositionsAreChosen) {
  const Case c{5, 2, 1, 16};
  Rows rows(c, 3);
  std::fill(rows.index_q.begin(), rows.index_q.end(), 0.0f);
  for (size_t i = 0; i < rows.weights.size(); i += 2) rows.weights[i] = -1.0f;
  for (const int64_t chunk : {int64_t{7}, kLength}) {
    EXPECT_EQ(LastChoice(rows, c, chunk), (std::vector<int32_t>{0, 1, 2, 3, 4}));
  }
  std::fill(rows.index_k.begin(), rows.index_k.end(), 0.5f);
  std::fill(rows.index_q.begin(), rows.index_q.end(), 1.0f);
  std::fill(rows.weights.begin(), rows.weights.end(), 1.0f);
  for (int64_t i = 0; i < kIndexDim; ++i) rows.index_k[static_cast<size_t>(99 * kIndexDim + i)] = 1;
  EXPECT_EQ(LastChoice(rows, c, 7), (std::vector<int32_t>{0, 1, 2, 3, 99}));
}

// What is no number is seen, so that it shows.
TEST(SparseAttention, NanIsChosen) {
  const Case c{3, 2, 1, 16};
  Rows rows(c, 3);
  rows.index_k[40 * kIndexDim] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<int32_t> last = LastChoice(rows, c, 150);
  EXPECT_TRUE(std::find(last.begin(), last.end(), 40) != last.end());
}

TEST(KvCache, KeysAloneHaveNoValues) {
  KvCache::Shape shape = {
      .layers = 3, .block_size = 16, .kv_heads = 1, .head_dim = 64, .keys_only = true};
  EXPECT_EQ(KvCache::BytesPerBlock(shape), 3 * 16 * 64 * 4);
  shape.dtype = DType::kI8;
  EXPECT_EQ(KvCache::BytesPerBlock(shape), 3 * 16 * (64 + 4));
}

}  // namespace
}  // namespace folkmoot
