// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <span>

#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

struct Case {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t block_size;
  int64_t window;
  DType cache = DType::kF32;
  int64_t values = 0;  // numbers in a value; 0: head_dim
  int64_t chunk = 0;
  float softcap = 0;
  bool sinks = false;
  int64_t profiles = 0;  // by distance, of so many distances
  int64_t extent = 0;
  bool row_sinks = false;

  int64_t value_dim() const { return values > 0 ? values : head_dim; }
  int64_t First(int64_t p) const {  // that a query at p sees
    const int64_t first = window == 0 ? 0 : std::max<int64_t>(0, p - window + 1);
    return chunk == 0 ? first : std::max(first, p / chunk * chunk);
  }
  std::vector<float> Sinks() const {
    return sinks ? RandomFloats(heads, 99) : std::vector<float>();
  }
  std::vector<float> Profiles() const { return RandomFloats(profiles * extent, 98); }
};

// What the cache makes of the heads of x: each run of `dim` by itself.
std::vector<float> Stored(const Case& c, int64_t dim, std::vector<float> x) {
  for (size_t first = 0; first < x.size(); first += static_cast<size_t>(dim)) {
    const std::span<float> head(x.data() + first, static_cast<size_t>(dim));
    float largest = 0;
    for (const float v : head) largest = std::max(largest, std::abs(v));
    for (float& v : head) {
      if (c.cache == DType::kBF16) v = BF16ToFloat(FloatToBF16(v));
      if (c.cache == DType::kI8) v = std::nearbyint(v / (largest / 127)) * (largest / 127);
    }
  }
  return x;
}

// One sequence of q, k, v rows and where its pages lie.
struct TestSequence {
  TestSequence(const Case& c, int64_t length_in, uint32_t seed)
      : length(length_in),
        q(RandomFloats(length * c.heads * c.head_dim, seed)),
        k(RandomFloats(length * c.kv_heads * c.head_dim, seed + 1)),
        v(RandomFloats(length * c.kv_heads * c.value_dim(), seed + 2)),
        mixes(RandomFloats(length * c.heads * c.profiles, seed + 3)),
        row_sinks(RandomFloats(c.row_sinks ? length * c.heads : 0, seed + 4)) {}
  int64_t length;
  std::vector<float> q, k, v, mixes, row_sinks;
};

std::vector<double> Oracle(const Case& c, TestSequence s) {
  s.k = Stored(c, c.head_dim, s.k);
  s.v = Stored(c, c.value_dim(), s.v);
  const std::vector<float> sinks = c.Sinks();
  const std::vector<float> profiles = c.Profiles();
  std::vector<double> out;
  for (int64_t p = 0; p < s.length; ++p) {
    for (int64_t h = 0; h < c.heads; ++h) {
      const int64_t kv = h / (c.heads / c.kv_heads);
      const int64_t first = c.First(p);
      const auto at = [&](const std::vector<float>& m, int64_t dim, int64_t position) {
        return m.data() + (position * c.kv_heads + kv) * dim;
      };
      std::vector<double> weights;
      double sum = c.sinks ? std::exp(double{sinks[static_cast<size_t>(h)]}) : 0.0;
      if (c.row_sinks) sum = std::exp(double{s.row_sinks[static_cast<size_t>(p * c.heads + h)]});
      for (int64_t j = first; j <= p; ++j) {
        double score = 0.0;
        for (int64_t i = 0; i < c.head_dim; ++i) {
          score += double{s.q[static_cast<size_t>((p * c.heads + h) * c.head_dim + i)]} *
                   at(s.k, c.head_dim, j)[i];
        }
        score *= 0.7;
        for (int64_t i = 0; i < c.profiles && p - j < c.extent; ++i) {
          score += double{s.mixes[static_cast<size_t>((p * c.heads + h) * c.profiles + i)]} *
                   profiles[static_cast<size_t>(i * c.extent + p - j)];
        }
        if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
        weights.push_back(std::exp(score));
        sum += weights.back();
      }
      for (int64_t i = 0; i < c.value_dim(); ++i) {
        double value = 0.0;
        for (int64_t j = first; j <= p; ++j) {
          value += weights[static_cast<size_t>(j - first)] / sum * at(s.v, c.value_dim(), j)[i];
        }
        out.push_back(value);
      }
    }
  }
  return out;
}

// Runs the sequences side by side, `chunk` rows of each per step, with pages dealt out from the
// permutation that `salt` makes. Untouched cache is NaN: reading a position out of turn shows.
std::vector<std::vector<float>> RunSteps(const Case& c,
                                         const std::vector<const TestSequence*>& batch, int threads,
                                         int64_t chunk, int64_t salt) {
  ThreadPool pool(threads);
  Workspace workspace;
  KvCache cache({.layers = 2,
                 .blocks = 211,
                 .block_size = c.block_size,
                 .dtype = c.cache,
                 .layer_heads = {{c.kv_heads + 1, c.head_dim + 6, c.head_dim + 2},
                                 {c.kv_heads, c.head_dim, c.values}}});
  const std::vector<float> sinks = c.Sinks();
  std::optional<DistanceProfiles> profiles;
  if (c.profiles > 0) profiles.emplace(c.Profiles(), c.profiles);
  for (int64_t block = 0; block < 211; ++block) {
    for (int64_t head = 0; head < c.kv_heads; ++head) {
      // Bytes of ones are NaN as floats of both sizes, and a scale of int8.
      const auto bytes = [&](int64_t dim) {
        return static_cast<size_t>(c.block_size * dim * DTypeBytes(c.cache));
      };
      std::memset(cache.Keys(1, block, head), 0xff, bytes(c.head_dim));
      std::memset(cache.Values(1, block, head), 0xff, bytes(c.value_dim()));
    }
  }
  std::vector<std::vector<int32_t>> pages(batch.size());
  int64_t taken = 0;
  int64_t longest = 0;
  for (size_t s = 0; s < batch.size(); ++s) {
    for (int64_t p = 0; p < batch[s]->length; p += c.block_size) {
      pages[s].push_back(static_cast<int32_t>((taken++ * 37 + salt) % 211));
    }
    longest = std::max(longest, batch[s]->length);
  }
  std::vector<std::vector<float>> outs(batch.size());
  for (int64_t start = 0; start < longest; start += chunk) {
    std::vector<AttentionSequence> sequences;
    std::vector<float> q, k, v, mixes, row_sinks;
    int64_t rows = 0;
    for (size_t s = 0; s < batch.size(); ++s) {
      const TestSequence& t = *batch[s];
      const int64_t count = std::clamp<int64_t>(t.length - start, 0, chunk);
      sequences.push_back({rows, count, count == 0 ? 0 : start, pages[s]});
      rows += count;
      const auto add = [&](std::vector<float>& to, const std::vector<float>& from, int64_t width) {
        if (count > 0) {
          to.insert(to.end(), from.begin() + start * width, from.begin() + (start + count) * width);
        }
      };
      add(q, t.q, c.heads * c.head_dim);
      add(k, t.k, c.kv_heads * c.head_dim);
      add(v, t.v, c.kv_heads * c.value_dim());
      add(mixes, t.mixes, c.heads * c.profiles);
      if (c.row_sinks) add(row_sinks, t.row_sinks, c.heads);
    }
    const int64_t width = c.heads * c.value_dim();
    std::vector<float> out(static_cast<size_t>(rows * width));
    StoreKv(pool, 1, sequences, AsMatrix(k, rows, c.kv_heads * c.head_dim),
            AsMatrix(v, rows, c.kv_heads * c.value_dim()), cache);
    AttentionParams params = {.layer = 1,
                              .heads = c.heads,
                              .scale = 0.7f,
                              .window = c.window,
                              .chunk = c.chunk,
                              .softcap = c.softcap,
                              .sinks = sinks};
    if (profiles) {
      params.profiles = &*profiles;
      params.mixes = AsMatrix(mixes, rows, c.heads * c.profiles);
    }
    if (c.row_sinks) params.row_sinks = AsMatrix(row_sinks, rows, c.heads);
    PagedAttention(pool, params, sequences, AsMatrix(q, rows, c.heads * c.head_dim), cache,
                   workspace, AsMatrix(out, rows, width));
    for (size_t s = 0; s < batch.size(); ++s) {
      const auto begin = out.begin() + sequences[s].first_row * width;
      outs[s].insert(outs[s].end(), begin, begin + sequences[s].rows * width);
    }
  }
  return outs;
}

class AttentionTest : public testing::TestWithParam<Case> {};

TEST_P(AttentionTest, MatchesDoublesAndKeepsItsBits) {
  const Case c = GetParam();
  const TestSequence a(c, 150, 1), b(c, 1, 5), d(c, 37, 9);
  const std::vector<uint32_t> wanted = Bits(RunSteps(c, {&a}, 1, 150, 0)[0]);
  const std::vector<float> plain = RunSteps(c, {&a}, 1, 150, 0)[0];
  const std::vector<double> oracle = Oracle(c, a);
  ASSERT_EQ(plain.size(), oracle.size());
  for (size_t i = 0; i < oracle.size(); ++i) ASSERT_NEAR(plain[i], oracle[i], 1e-5) << i;
  for (const int64_t chunk : {1, 7, 64}) {
    EXPECT_EQ(Bits(RunSteps(c, {&a}, 2, chunk, chunk)[0]), wanted) << "chunks of " << chunk;
  }
  EXPECT_EQ(Bits(RunSteps(c, {&a}, 3, 150, 5)[0]), wanted) << "three threads";
  const auto batch = RunSteps(c, {&b, &a, &d}, 2, 50, 11);
  EXPECT_EQ(Bits(batch[1]), wanted) << "in a batch";
  const std::vector<double> last = Oracle(c, d);
  for (size_t i = 0; i < last.size(); ++i) ASSERT_NEAR(batch[2][i], last[i], 1e-5) << i;
  ForEachTarget([&] { EXPECT_EQ(Bits(RunSteps(c, {&a}, 2, 29, 3)[0]), wanted); });
}

INSTANTIATE_TEST_SUITE_P(
    Cases, AttentionTest,
    testing::Values(Case{4, 4, 16, 16, 0},   // multi-head
                    Case{8, 2, 64, 16, 0},   // grouped
                    Case{6, 2, 40, 16, 0},   // padded values
                    Case{14, 1, 20, 32, 0},  // a group in two parts
                    Case{4, 2, 48, 5, 0},    // groups that are not full
                    Case{4, 2, 32, 24, 13},  // window
                    Case{3, 3, 8, 16, 1},    // itself only
                    Case{4, 1, 64, 64, 70}, Case{8, 2, 64, 16, 0, DType::kBF16},
                    Case{6, 2, 40, 5, 13, DType::kBF16}, Case{8, 2, 64, 16, 0, DType::kI8},
                    Case{6, 2, 40, 24, 13, DType::kI8},
                    Case{6, 1, 40, 16, 0, DType::kF32, 24},  // latent
                    Case{28, 1, 40, 24, 0, DType::kBF16, 24}, Case{4, 1, 40, 16, 0, DType::kI8, 24},
                    Case{4, 2, 24, 16, 0, DType::kF32, 0, 20},  // chunks
                    Case{4, 2, 24, 16, 0, DType::kF32, 0, 0, 1.5f},
                    Case{6, 2, 24, 16, 9, DType::kF32, 0, 0, 0, true},
                    Case{4, 2, 24, 16, 0, DType::kF32, 0, 0, 0, false, 3, 21},  // some are far
                    Case{3, 1, 24, 5, 13, DType::kBF16, 0, 0, 0, true, 16, 13},
                    Case{4, 4, 24, 32, 40, DType::kI8, 0, 0, 0, false, 1, 17},
                    Case{4, 1, 24, 24, 0, DType::kF32, 0, 0, 0, false, 2, 1},
                    Case{4, 2, 24, 16, 0, DType::kF32, 0, 0, 0, false, 5, 999},
                    Case{6, 2, 24, 16, 9, DType::kF32, 0, 0, 0, false, 3, 9, true}));

// Biases by distance and borders of the keys: a source that all see, or that nobody does.
TEST(Attention, SeesTheKeysThatTheSequenceSaysAndAddsBiases) {
  const Case c{4, 2, 24, 16, 0};
  constexpr int64_t kReach = 5;
  const TestSequence s(c, 40, 7);
  ThreadPool pool(2);
  Workspace workspace;
  KvCache cache({.layers = 1, .blocks = 3, .block_size = 16, .kv_heads = 2, .head_dim = 24});
  const std::vector<int32_t> pages = {2, 0, 1};
  const std::vector<float> bias = RandomFloats(c.heads * (2 * kReach + 1), 8);
  const std::vector<AttentionSequence> stored = {{0, 40, 0, pages}};
  StoreKv(pool, 0, stored, AsMatrix(s.k, 40, 48), AsMatrix(s.v, 40, 48), cache);
  struct Borders {
    int64_t first, end;
  };
  for (const Borders b : {Borders{0, 0}, {0, 40}, {0, 21}, {21, 0}}) {
    const int64_t start = b.first;  // nobody stands before the first key
    const int64_t rows = 40 - start;
    const std::vector<AttentionSequence> seen = {{0, rows, start, pages, b.first, b.end}};
    const std::vector<float> q(s.q.begin() + start * 96, s.q.end());
    std::vector<float> out(static_cast<size_t>(rows * 96));
    const AttentionParams params = {
        .heads = 4, .scale = 0.3f, .position_bias = bias, .reach = kReach};
    PagedAttention(pool, params, seen, AsMatrix(q, rows, 96), cache, workspace,
                   AsMatrix(out, rows, 96));
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t h = 0; h < 4; ++h) {
        const int64_t last = b.end > 0 ? b.end - 1 : start + row;
        std::vector<double> value(24);
        double sum = 0;
        for (int64_t p = b.first; p <= last; ++p) {
          const int64_t kv = (p * 2 + h / 2) * 24;
          double score = 0;
          for (int64_t i = 0; i < 24; ++i) {
            score += double{q[static_cast<size_t>(row * 96 + h * 24 + i)]} *
                     double{s.k[static_cast<size_t>(kv + i)]};
          }
          const int64_t away = std::clamp(p - (start + row), -kReach, kReach);
          const auto at = static_cast<size_t>(h * (2 * kReach + 1) + kReach + away);
          const double weight = std::exp(0.3 * score + double{bias[at]});
          sum += weight;
          for (size_t i = 0; i < 24; ++i) {
            value[i] += weight * double{s.v[static_cast<size_t>(kv) + i]};
          }
        }
        for (size_t i = 0; i < 24; ++i) {
          ASSERT_NEAR(out[static_cast<size_t>(row * 96 + h * 24) + i], value[i] / sum, 1e-5)
              << b.first << " " << b.end << " row " << row;
        }
      }
    }
  }
}

TEST(Attention, AnInt8CacheKeepsNan) {
  const Case c{1, 1, 16, 16, 0, DType::kI8};
  TestSequence s(c, 3, 3);
  s.v[16] = std::numeric_limits<float>::quiet_NaN();  // of position 1
  const auto outs = RunSteps(c, {&s}, 1, 3, 0);
  for (size_t i = 0; i < 48; ++i) EXPECT_EQ(std::isnan(outs[0][i]), i >= 16) << i;
}

TEST(KvCache, SaysItsBytes) {
  const KvCache::Shape shape = {.layers = 3, .block_size = 16, .kv_heads = 2, .head_dim = 64};
  KvCache::Shape small = shape;
  EXPECT_EQ(KvCache::BytesPerBlock(small), 3 * 16 * 2 * 64 * 2 * 4);
  small.dtype = DType::kBF16;
  EXPECT_EQ(KvCache::BytesPerBlock(small), 3 * 16 * 2 * 64 * 2 * 2);
  small.dtype = DType::kI8;
  EXPECT_EQ(KvCache::BytesPerBlock(small), 3 * 16 * 2 * 2 * (64 + 4));
  small.layer_heads = {{2, 64}, {4, 64}, {1, 64}};
  EXPECT_EQ(KvCache::BytesPerBlock(small), 7 * 16 * 2 * (64 + 4));
  small.layer_heads = {{2, 64}, {1, 128, 48}, {0, 64}};
  EXPECT_EQ(KvCache::BytesPerBlock(small), 16 * (2 * 2 * (64 + 4) + (128 + 4) + (48 + 4)));
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const Case c{1, 1, 16, 16, 0};
  TestSequence s(c, 20, 3);
  for (float& q : s.q) q *= 1000.0f;
  const auto outs = RunSteps(c, {&s}, 1, 20, 0);
  for (const float out : outs[0]) ASSERT_TRUE(std::isfinite(out));
}

TEST(Attention, AllocatesScratchOnlyOnce) {
  ThreadPool pool(2);
  Workspace workspace;
  KvCache cache({.layers = 1, .blocks = 4, .block_size = 16, .kv_heads = 2, .head_dim = 32});
  const std::vector<int32_t> pages = {0, 1, 2, 3};
  const std::vector<float> q(64 * 128, 0.1f), kv(64 * 64, 0.1f);
  std::vector<float> out(64 * 128);
  const std::vector<AttentionSequence> one = {{0, 64, 0, pages}};
  StoreKv(pool, 0, one, AsMatrix(kv, 64, 64), AsMatrix(kv, 64, 64), cache);
  for (int round = 0; round < 3; ++round) {
    PagedAttention(pool, {.layer = 0, .heads = 4, .scale = 1.0f, .window = 0}, one,
                   AsMatrix(q, 64, 128), cache, workspace, AsMatrix(out, 64, 128));
    EXPECT_EQ(workspace.allocations(), 1);
  }
}

}  // namespace
}  // namespace folkmoot
