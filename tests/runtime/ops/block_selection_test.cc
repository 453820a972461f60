// SPDX-License-Identifier: Apache-2.0
// MiniMax-M3's sparse attention: SelectKeys by blocks, for each head of keys by a head of its own,
// and PagedAttention over what it chose.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/ops/attention.h"
#include "runtime/ops/key_selection.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kLength = 150;
constexpr int64_t kHeadDim = 20;   // of attention
constexpr int64_t kIndexDim = 24;  // of the indexer
constexpr float kScale = 0.3f;

struct BlockCase {
  int64_t block;
  int64_t kept;  // blocks of a query
  int64_t local;
  int64_t kv_heads;
  int64_t group;  // query heads of each
  int64_t page;
  DType cache = DType::kF32;

  int64_t most() const { return block * kept; }
  int64_t heads() const { return kv_heads * group; }
};

struct BlockRows {
  BlockRows(const BlockCase& c, uint32_t seed)
      : index_q(RandomFloats(kLength * c.kv_heads * kIndexDim, seed)),
        index_k(RandomFloats(kLength * kIndexDim, seed + 1)),
        q(RandomFloats(kLength * c.heads() * kHeadDim, seed + 2)),
        k(RandomFloats(kLength * c.kv_heads * kHeadDim, seed + 3)),
        v(RandomFloats(kLength * c.kv_heads * kHeadDim, seed + 4)) {}
  std::vector<float> index_q, index_k, q, k, v;
};

struct BlockResult {
  std::vector<std::vector<int32_t>> seen;  // of each row and head of keys; empty: all
  std::vector<float> out;
  friend bool operator==(const BlockResult& a, const BlockResult& b) {
    return a.seen == b.seen && Bits(a.out) == Bits(b.out);
  }
};

// Rows of two sequences, `rows` behind `beside`, in steps of `chunk` rows each.
BlockResult RunBlocks(const BlockCase& c, const BlockRows& rows, int threads, int64_t chunk,
                      int64_t salt, const BlockRows* beside = nullptr) {
  ThreadPool pool(threads);
  Workspace workspace;
  constexpr int64_t kBlocks = 211;
  const KvCache::Shape shape = {.layers = 1,
                                .blocks = kBlocks,
                                .block_size = c.page,
                                .kv_heads = c.kv_heads,
                                .head_dim = kHeadDim,
                                .dtype = c.cache};
  KvCache cache(shape);
  KvCache index({.layers = 1,
                 .blocks = kBlocks,
                 .block_size = c.page,
                 .kv_heads = 1,
                 .head_dim = kIndexDim,
                 .dtype = c.cache,
                 .keys_only = true});
  std::vector<const BlockRows*> batch = {&rows};
  if (beside != nullptr) batch.insert(batch.begin(), beside);
  std::vector<std::vector<int32_t>> pages(batch.size());
  int64_t taken = 0;
  for (auto& own : pages) {
    for (int64_t p = 0; p < kLength; p += c.page) {
      own.push_back(static_cast<int32_t>((taken++ * 37 + salt) % kBlocks));
    }
  }
  BlockResult result;
  for (int64_t start = 0; start < kLength; start += chunk) {
    const int64_t count = std::min(chunk, kLength - start);
    const int64_t total = count * std::ssize(batch);
    std::vector<AttentionSequence> sequences;
    std::vector<float> index_q, index_k, q, k, v;
    for (size_t s = 0; s < batch.size(); ++s) {
      sequences.push_back({std::ssize(sequences) * count, count, start, pages[s]});
      const auto add = [&](std::vector<float>& to, const std::vector<float>& from) {
        const auto width = std::ssize(from) / kLength;
        to.insert(to.end(), from.begin() + start * width, from.begin() + (start + count) * width);
      };
      add(index_q, batch[s]->index_q);
      add(index_k, batch[s]->index_k);
      add(q, batch[s]->q);
      add(k, batch[s]->k);
      add(v, batch[s]->v);
    }
    const ConstMatrix keys = AsMatrix(std::as_const(index_k), total, kIndexDim);
    StoreKv(pool, 0, sequences, keys, keys.Columns(0, 0), index);
    std::vector<int32_t> counts(static_cast<size_t>(total * c.kv_heads), -1);
    std::vector<int32_t> positions(static_cast<size_t>(total * c.kv_heads * c.most()), -1);
    const ChosenKeys chosen = {
        .most = c.most(), .sets = c.kv_heads, .counts = counts, .positions = positions};
    const ConstMatrix queries = AsMatrix(std::as_const(index_q), total, c.kv_heads * kIndexDim);
    SelectKeys(pool, {.heads = c.kv_heads, .block = c.block, .local_blocks = c.local}, sequences,
               queries, queries.Columns(0, 0), index, workspace, chosen);
    StoreKv(pool, 0, sequences, AsMatrix(std::as_const(k), total, c.kv_heads * kHeadDim),
            AsMatrix(std::as_const(v), total, c.kv_heads * kHeadDim), cache);
    std::vector<float> out(static_cast<size_t>(total * c.heads() * kHeadDim));
    PagedAttention(pool, {.heads = c.heads(), .scale = kScale, .chosen = &chosen}, sequences,
                   AsMatrix(std::as_const(q), total, c.heads() * kHeadDim), cache, workspace,
                   AsMatrix(out, total, c.heads() * kHeadDim));
    for (int64_t r = total - count; r < total; ++r) {  // `rows` come last
      for (int64_t h = 0; h < c.kv_heads; ++h) {
        const std::span<const int32_t> seen = chosen.Of(r, h);
        result.seen.emplace_back(seen.begin(), seen.end());
      }
    }
    result.out.insert(result.out.end(), out.end() - count * c.heads() * kHeadDim, out.end());
  }
  return result;
}

double Dot(const float* a, const float* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += double{a[i]} * b[i];
  return sum;
}

// The highest score of each block up to a query's own; infinite for those that it sees anyway.
std::vector<double> BlockScores(const BlockCase& c, const BlockRows& rows, int64_t self,
                                int64_t head) {
  std::vector<double> scores(static_cast<size_t>(self / c.block + 1),
                             -std::numeric_limits<double>::infinity());
  for (int64_t p = 0; p <= self; ++p) {
    double& score = scores[static_cast<size_t>(p / c.block)];
    score = std::max(score, Dot(rows.index_q.data() + (self * c.kv_heads + head) * kIndexDim,
                                rows.index_k.data() + p * kIndexDim, kIndexDim));
  }
  for (int64_t i = 0; i < std::min(c.local, std::ssize(scores)); ++i) {
    scores[scores.size() - 1 - static_cast<size_t>(i)] = std::numeric_limits<double>::infinity();
  }
  return scores;
}

class BlockSelectionTest : public testing::TestWithParam<BlockCase> {};

TEST_P(BlockSelectionTest, KeepsItsBits) {
  const BlockCase c = GetParam();
  const BlockRows rows(c, 1), other(c, 70);
  const BlockResult wanted = RunBlocks(c, rows, 1, kLength, 0);
  for (const int64_t chunk : {1, 7, 64}) {
    EXPECT_EQ(RunBlocks(c, rows, 2, chunk, chunk), wanted) << "chunks of " << chunk;
  }
  EXPECT_EQ(RunBlocks(c, rows, 3, kLength, 5), wanted) << "three threads";
  EXPECT_EQ(RunBlocks(c, rows, 2, 50, 11, &other), wanted) << "in a batch";
  ForEachTarget([&] { EXPECT_EQ(RunBlocks(c, rows, 2, 29, 3), wanted); });
}

// Whole blocks up to the query's own, which no other choice would beat, each head of keys by its
// own; and what attention over these keys alone gives.
TEST_P(BlockSelectionTest, SeesTheBlocksOfTheHighestScores) {
  const BlockCase c = GetParam();
  if (c.cache != DType::kF32) return;  // scores of rounded keys
  const BlockRows rows(c, 1);
  const BlockResult result = RunBlocks(c, rows, 2, 40, 0);
  for (int64_t place = 0; place < kLength * c.kv_heads; ++place) {
    const int64_t self = place / c.kv_heads;
    const int64_t head = place % c.kv_heads;
    std::vector<int32_t> seen = result.seen[static_cast<size_t>(place)];
    ASSERT_EQ(seen.empty(), self < c.most()) << self;
    if (seen.empty()) {
      seen.resize(static_cast<size_t>(self + 1));
      std::iota(seen.begin(), seen.end(), 0);
    } else {
      const std::vector<double> scores = BlockScores(c, rows, self, head);
      std::vector<double> sorted = scores;
      std::sort(sorted.rbegin(), sorted.rend());
      std::vector<int32_t> whole;
      int64_t blocks = 0;
      for (int64_t b = 0; b < std::ssize(scores); ++b) {
        if (std::find(seen.begin(), seen.end(), b * c.block) == seen.end()) continue;
        ++blocks;
        ASSERT_GE(scores[static_cast<size_t>(b)], sorted[static_cast<size_t>(c.kept - 1)] - 1e-5);
        for (int64_t p = b * c.block; p < std::min((b + 1) * c.block, self + 1); ++p) {
          whole.push_back(static_cast<int32_t>(p));
        }
      }
      ASSERT_EQ(blocks, c.kept) << self;
      ASSERT_EQ(seen, whole) << self;
    }
    for (int64_t h = head * c.group; h < (head + 1) * c.group; ++h) {
      std::vector<double> value(kHeadDim);
      double sum = 0;
      for (const int32_t p : seen) {
        const int64_t at = (p * c.kv_heads + head) * kHeadDim;
        const double weight =
            std::exp(kScale * Dot(rows.q.data() + (self * c.heads() + h) * kHeadDim,
                                  rows.k.data() + at, kHeadDim));
        sum += weight;
        for (int64_t i = 0; i < kHeadDim; ++i) {
          value[static_cast<size_t>(i)] += weight * rows.v[static_cast<size_t>(at + i)];
        }
      }
      for (int64_t i = 0; i < kHeadDim; ++i) {
        ASSERT_NEAR(result.out[static_cast<size_t>((self * c.heads() + h) * kHeadDim + i)],
                    value[static_cast<size_t>(i)] / sum, 1e-5)
            << self;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, BlockSelectionTest,
                         testing::Values(BlockCase{8, 3, 1, 2, 2, 16},   // blocks within pages
                                         BlockCase{32, 2, 1, 4, 1, 16},  // blocks of pages
                                         BlockCase{7, 4, 2, 3, 14, 24},  // across them; two parts
                                         BlockCase{5, 6, 0, 7, 1, 5},    // none is always seen
                                         BlockCase{1, 9, 9, 1, 3, 8},    // a window
                                         BlockCase{16, 2, 1, 2, 2, 16, DType::kBF16},
                                         BlockCase{10, 3, 1, 3, 2, 5, DType::kI8}));

std::vector<int32_t> LastSeen(const BlockRows& rows, const BlockCase& c) {
  return RunBlocks(c, rows, 2, 7, 0).seen.back();
}

// Blocks of three of 150 positions: the last has positions 147 to 149.
TEST(BlockSelection, OfEqualScoresTheLowerBlocksAreChosen) {
  BlockCase c{3, 3, 1, 1, 1, 16};
  BlockRows rows(c, 3);
  std::fill(rows.index_q.begin(), rows.index_q.end(), 0.0f);
  EXPECT_EQ(LastSeen(rows, c), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 147, 148, 149}));
  c.local = 0;
  EXPECT_EQ(LastSeen(rows, c), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(BlockSelection, NanIsChosen) {
  const BlockCase c{3, 2, 1, 1, 1, 16};
  BlockRows rows(c, 3);
  rows.index_k[40 * kIndexDim] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(LastSeen(rows, c), (std::vector<int32_t>{39, 40, 41, 147, 148, 149}));
}

}  // namespace
}  // namespace folkmoot
