// SPDX-License-Identifier: Apache-2.0
// What compressed attention is made of: PoolWindows, SelectRows and RowAttention over RowPages.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/ops/row_attention.h"
#include "runtime/ops/window_pooling.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kLength = 90;  // of the sequence that is looked at
constexpr int64_t kBlocks = 211;
constexpr int64_t kIndexHeads = 5;
constexpr float kScale = 0.3f;

struct Case {
  int64_t rate;
  int64_t width;
  bool overlapping;
  int64_t block_size;
  int64_t heads;
  int64_t window;
  int64_t most;  // entries that a query sees
  DType dtype = DType::kF32;

  int64_t columns() const { return overlapping ? 2 * width : width; }
};

// Of a sequence: values and gates of the compressor, rows of the tokens, queries, and what chooses.
struct Rows {
  Rows(const Case& c, uint32_t seed)
      : values(RandomFloats(kLength * c.columns(), seed)),
        gates(RandomFloats(kLength * c.columns(), seed + 1)),
        tokens(RandomFloats(kLength * c.width, seed + 2)),
        q(RandomFloats(kLength * c.heads * c.width, seed + 3)),
        index_q(RandomFloats(kLength * kIndexHeads * c.width, seed + 4)),
        weights(RandomFloats(kLength * kIndexHeads, seed + 5)) {
    for (float& gate : gates) gate *= 8;  // some tokens rule their entry
  }
  std::vector<float> values, gates, tokens, q, index_q, weights;
};

struct Result {
  std::vector<float> entries, out;
  std::vector<int32_t> counts, chosen;  // the latter of rows that choose
  friend bool operator==(const Result& a, const Result& b) {
    return Bits(a.entries) == Bits(b.entries) && Bits(a.out) == Bits(b.out) &&
           a.counts == b.counts && a.chosen == b.chosen;
  }
};

// A model's memory with one layer: what PoolWindows keeps, entries, which are keys of the indexer
// as well, and tokens.
struct Memory {
  explicit Memory(const Case& c)
      : bias(RandomFloats(c.rate * c.columns(), 77)),
        sinks(RandomFloats(c.heads, 78)),
        pages({.blocks = kBlocks,
               .block_size = c.block_size,
               .tracks = {{.width = c.width, .dtype = c.dtype},
                          WindowTrack(c.width, c.overlapping, c.block_size),
                          {.width = c.width, .rate = c.rate, .dtype = c.dtype}}}) {
    // What was there before must not count. Padding is never written.
    std::vector<int32_t> all(kBlocks);
    std::iota(all.begin(), all.end(), 0);
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    for (int64_t page = 0; page < kBlocks; ++page) {
      auto* const window = reinterpret_cast<float*>(pages.Row(1, all, page));
      std::fill_n(window, pages.track(1).width, kNan);
    }
  }
  std::vector<float> bias, sinks;
  RowPages pages;
};

// Some rows of the batch that has one sequence, or two, `rows` last.
std::vector<float> Gather(std::span<const Rows* const> batch, std::vector<float> Rows::*part,
                          int64_t start, int64_t count) {
  std::vector<float> all;
  for (const Rows* rows : batch) {
    const std::vector<float>& from = rows->*part;
    const int64_t width = std::ssize(from) / kLength;
    all.insert(all.end(), from.begin() + start * width, from.begin() + (start + count) * width);
  }
  return all;
}

// Positions start .. end of a batch whose sequences have these pages, `chunk` at a time; of the
// last sequence the results are kept.
void RunSteps(const Case& c, Memory& memory, ThreadPool& pool, std::span<const Rows* const> batch,
              std::span<const std::vector<int32_t>> pages, int64_t start, int64_t chunk,
              Result& result) {
  Workspace workspace;
  const auto sequences_in_batch = std::ssize(batch);
  for (int64_t next = 0; start < kLength; start += next) {
    next = std::min(chunk, kLength - start);
    const int64_t total = next * sequences_in_batch;
    std::vector<AttentionSequence> sequences;
    for (size_t s = 0; s < batch.size(); ++s) {
      sequences.push_back({static_cast<int64_t>(s) * next, next, start, pages[s]});
    }
    const auto part = [&](std::vector<float> Rows::*of) { return Gather(batch, of, start, next); };
    const std::vector<float> values = part(&Rows::values), gates = part(&Rows::gates),
                             tokens = part(&Rows::tokens), q = part(&Rows::q),
                             index_q = part(&Rows::index_q), weights = part(&Rows::weights);
    std::vector<float> entries(static_cast<size_t>(CompletedRows(sequences, c.rate) * c.width));
    const Matrix made = AsMatrix(entries, std::ssize(entries) / c.width, c.width);
    PoolWindows(pool,
                {.track = 1,
                 .rate = c.rate,
                 .width = c.width,
                 .overlapping = c.overlapping,
                 .bias = memory.bias},
                sequences, AsMatrix(values, total, c.columns()),
                AsMatrix(gates, total, c.columns()), memory.pages, workspace, made);
    StoreRows(pool, 2, sequences, made, memory.pages);
    StoreRows(pool, 0, sequences, AsMatrix(tokens, total, c.width), memory.pages);
    std::vector<int32_t> counts(static_cast<size_t>(total), -1);
    std::vector<int32_t> positions(static_cast<size_t>(total * c.most), -1);
    const ChosenKeys chosen = {.most = c.most, .counts = counts, .positions = positions};
    SelectRows(pool, {.track = 2, .heads = kIndexHeads, .scale = kScale}, sequences,
               AsMatrix(index_q, total, kIndexHeads * c.width),
               AsMatrix(weights, total, kIndexHeads), memory.pages, workspace, chosen);
    std::vector<float> out(static_cast<size_t>(total * c.heads * c.width));
    RowAttention(pool,
                 {.tokens = 0,
                  .entries = 2,
                  .heads = c.heads,
                  .scale = kScale,
                  .window = c.window,
                  .sinks = memory.sinks,
                  .chosen = &chosen},
                 sequences, AsMatrix(q, total, c.heads * c.width), memory.pages, workspace,
                 AsMatrix(out, total, c.heads * c.width));
    const int64_t first = total - next;
    const int64_t own = CompletedRows(std::span(sequences).last(1), c.rate) * c.width;
    result.entries.insert(result.entries.end(), entries.end() - own, entries.end());
    result.out.insert(result.out.end(), out.begin() + first * c.heads * c.width, out.end());
    for (int64_t t = first; t < total; ++t) {
      result.counts.push_back(counts[static_cast<size_t>(t)]);
      const std::span<const int32_t> keys = chosen.Of(t, 0);
      result.chosen.insert(result.chosen.end(), keys.begin(), keys.end());
    }
  }
}

std::vector<int32_t> Pages(const Case& c, int64_t first, int64_t salt) {
  std::vector<int32_t> pages;
  for (int64_t p = 0; p < kLength; p += c.block_size) {
    pages.push_back(static_cast<int32_t>((first++ * 37 + salt) % kBlocks));
  }
  return pages;
}

Result RunAll(const Case& c, const Rows& rows, int threads, int64_t chunk, int64_t salt,
              const Rows* beside = nullptr) {
  ThreadPool pool(threads);
  Memory memory(c);
  std::vector<const Rows*> batch = {&rows};
  if (beside != nullptr) batch.insert(batch.begin(), beside);
  std::vector<std::vector<int32_t>> pages;
  for (size_t s = 0; s < batch.size(); ++s) {
    pages.push_back(Pages(c, static_cast<int64_t>(s) * kLength, salt));
  }
  Result result;
  RunSteps(c, memory, pool, batch, pages, 0, chunk, result);
  return result;
}

// Entry `entry` in doubles: first and last token that count in it, and which of their columns.
std::vector<double> EntryOf(const Case& c, const Rows& rows, int64_t entry) {
  const std::vector<float> bias = Memory(c).bias;
  std::vector<double> result;
  for (int64_t channel = 0; channel < c.width; ++channel) {
    std::vector<std::pair<double, double>> seen;  // gate and value
    const auto add = [&](int64_t window, int64_t column) {
      for (int64_t place = 0; window >= 0 && place < c.rate; ++place) {
        const auto at = static_cast<size_t>((window * c.rate + place) * c.columns() + column);
        const auto of_place = static_cast<size_t>(place * c.columns() + column);
        seen.emplace_back(static_cast<double>(rows.gates[at]) + static_cast<double>(bias[of_place]),
                          rows.values[at]);
      }
    };
    if (c.overlapping) add(entry - 1, channel);
    add(entry, c.columns() - c.width + channel);
    double top = -1e30, sum = 0, weighted = 0;
    for (const auto& [gate, value] : seen) top = std::max(top, gate);
    for (const auto& [gate, value] : seen) {
      sum += std::exp(gate - top);
      weighted += std::exp(gate - top) * value;
    }
    result.push_back(weighted / sum);
  }
  return result;
}

double Product(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// What the entries that a query saw must have scored, in doubles: at least as much as the others.
void ExpectBestChosen(const Case& c, const Rows& rows, const Result& result) {
  size_t at = 0;
  for (int64_t self = 0; self < kLength; ++self) {
    const int64_t seen = (self + 1) / c.rate;
    const int64_t count = result.counts[static_cast<size_t>(self)];
    ASSERT_EQ(count, seen > c.most ? c.most : 0);
    if (count == 0) continue;
    std::vector<double> scores;
    for (int64_t entry = 0; entry < seen; ++entry) {
      double score = 0;
      for (int64_t h = 0; h < kIndexHeads; ++h) {
        const double product = Product(rows.index_q.data() + (self * kIndexHeads + h) * c.width,
                                       result.entries.data() + entry * c.width, c.width) *
                               static_cast<double>(kScale);
        score += static_cast<double>(rows.weights[static_cast<size_t>(self * kIndexHeads + h)]) *
                 std::max(product, 0.0);
      }
      scores.push_back(score);
    }
    double least = 1e30;
    std::vector<bool> chosen(scores.size());
    for (int64_t i = 0; i < count; ++i, ++at) {
      const auto entry = static_cast<size_t>(result.chosen[at]);
      ASSERT_LT(entry, scores.size());
      chosen[entry] = true;
      least = std::min(least, scores[entry]);
    }
    for (size_t entry = 0; entry < scores.size(); ++entry) {
      if (chosen[entry]) continue;
      EXPECT_LE(scores[entry], least + 1e-5) << self;
    }
  }
}

// The result of a query in doubles, over what it saw.
void ExpectAttention(const Case& c, const Rows& rows, const Result& result) {
  const std::vector<float> sinks = Memory(c).sinks;
  size_t at = 0;
  for (int64_t self = 0; self < kLength; ++self) {
    std::vector<const float*> seen;
    const int64_t count = result.counts[static_cast<size_t>(self)];
    for (int64_t i = 0; i < (count > 0 ? count : (self + 1) / c.rate); ++i) {
      const int64_t entry = count > 0 ? result.chosen[at++] : i;
      seen.push_back(result.entries.data() + entry * c.width);
    }
    for (int64_t p = std::max<int64_t>(0, self - c.window + 1); p <= self; ++p) {
      seen.push_back(rows.tokens.data() + p * c.width);
    }
    for (int64_t h = 0; h < c.heads; ++h) {
      const float* const q = rows.q.data() + (self * c.heads + h) * c.width;
      double sum = std::exp(static_cast<double>(sinks[static_cast<size_t>(h)]));
      std::vector<double> out(static_cast<size_t>(c.width));
      for (const float* row : seen) {
        const double weight = std::exp(Product(q, row, c.width) * static_cast<double>(kScale));
        sum += weight;
        for (size_t i = 0; i < out.size(); ++i) out[i] += weight * static_cast<double>(row[i]);
      }
      const float* const got = result.out.data() + (self * c.heads + h) * c.width;
      for (size_t i = 0; i < out.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(got[i]), out[i] / sum, 2e-6) << self << " " << h;
      }
    }
  }
}

class CompressedRows : public testing::TestWithParam<Case> {};

TEST_P(CompressedRows, MatchDoubles) {
  const Case c = GetParam();
  if (c.dtype != DType::kF32) GTEST_SKIP() << "what is stored is rounded";
  const Rows rows(c, 1);
  const Result result = RunAll(c, rows, 2, 13, 5);
  ASSERT_EQ(std::ssize(result.entries), kLength / c.rate * c.width);
  for (int64_t entry = 0; entry < kLength / c.rate; ++entry) {
    const std::vector<double> wanted = EntryOf(c, rows, entry);
    for (int64_t i = 0; i < c.width; ++i) {
      EXPECT_NEAR(static_cast<double>(result.entries[static_cast<size_t>(entry * c.width + i)]),
                  wanted[static_cast<size_t>(i)], 2e-6)
          << entry << " " << i;
    }
  }
  ExpectBestChosen(c, rows, result);
  ExpectAttention(c, rows, result);
}

TEST_P(CompressedRows, SameBitsForAnyPiecesThreadsTargetsPagesAndCompany) {
  const Case c = GetParam();
  const Rows rows(c, 1);
  const Rows other(c, 2);
  const Result once = RunAll(c, rows, 1, kLength, 0);
  ForEachTarget([&] {
    for (const int64_t chunk : {1, 4, 17}) {
      EXPECT_TRUE(RunAll(c, rows, 3, chunk, chunk) == once) << chunk;
      EXPECT_TRUE(RunAll(c, rows, 2, chunk, chunk, &other) == once) << chunk << ", in company";
    }
  });
  for (const int64_t block_size : {1, 7, 16, 64}) {
    Case paged = c;
    paged.block_size = block_size;
    EXPECT_TRUE(RunAll(paged, rows, 2, 11, 3) == once) << "pages of " << block_size;
  }
}

// Whoever goes on behind pages of another goes on from what their windows have taken up, and
// leaves them as they are.
TEST_P(CompressedRows, GoOnBehindSharedPages) {
  const Case c = GetParam();
  const int64_t shared = kLength / 2 / c.block_size;
  if (shared == 0) GTEST_SKIP() << "pages are longer than what is shared";
  const Rows rows(c, 1);
  Rows other(c, 2);
  const auto same = [&](std::vector<float> Rows::*part) {
    const auto end = std::ssize(rows.*part) / kLength * shared * c.block_size;
    std::copy_n((rows.*part).begin(), end, (other.*part).begin());
  };
  for (const auto part : {&Rows::values, &Rows::gates, &Rows::tokens}) same(part);
  ThreadPool pool(2);
  Memory memory(c);
  const auto run = [&](const Rows& of, const std::vector<int32_t>& pages, int64_t start) {
    const Rows* const batch[] = {&of};
    const std::vector<int32_t> all[] = {pages};
    Result result;
    RunSteps(c, memory, pool, batch, all, start, 9, result);
    return result;
  };
  const std::vector<int32_t> first = Pages(c, 0, 1);
  std::vector<int32_t> second = Pages(c, kLength, 1);
  std::copy_n(first.begin(), shared, second.begin());
  run(rows, first, 0);
  const auto behind = [&](const Result& whole) {
    const int64_t begin = shared * c.block_size * c.heads * c.width;
    return Bits({whole.out.begin() + begin, whole.out.end()});
  };
  const std::vector<int32_t> apart = Pages(c, 2 * kLength, 1);
  const Result wanted = run(other, apart, 0);
  EXPECT_EQ(Bits(run(other, second, shared * c.block_size).out), behind(wanted));
  EXPECT_EQ(Bits(run(rows, first, shared * c.block_size).out), behind(run(rows, apart, 0)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, CompressedRows,
    testing::Values(Case{4, 32, true, 16, 6, 12, 5}, Case{3, 20, true, 16, 9, 6, 4},
                    Case{1, 16, false, 8, 1, 1, 7}, Case{7, 48, false, 5, 13, 100, 64},
                    Case{33, 100, false, 16, 4, 9, 1}, Case{5, 24, true, 4, 3, 8, 2, DType::kBF16},
                    Case{6, 20, true, 16, 5, 7, 3, DType::kI8},
                    Case{2, 36, false, 64, 17, 3, 8, DType::kBF16}));

TEST(CompressedRows, OfEqualScoresTheLowerEntriesAreChosen) {
  const Case c = {2, 16, false, 16, 1, 4, 3};
  Rows rows(c, 1);
  std::fill(rows.weights.begin(), rows.weights.end(), 0.0f);
  const Result result = RunAll(c, rows, 2, 10, 0);
  const std::vector<int32_t> last(result.chosen.end() - 3, result.chosen.end());
  EXPECT_EQ(last, (std::vector<int32_t>{0, 1, 2}));
}

}  // namespace
}  // namespace folkmoot
