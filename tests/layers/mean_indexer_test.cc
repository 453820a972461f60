// SPDX-License-Identifier: Apache-2.0
// The indexer of Qwen4-Exp, which chooses pools of tokens by means of keys, beside the same in
// double.
#include "layers/mean_indexer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/lightning_indexer.h"
#include "runtime/rope.h"
#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kTokens = 43;

using Numbers = std::vector<double>;

class MeanIndexerTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(layer_.ok());
    x_ = RandomFloats(kTokens * layer_.config.hidden, 1);
    std::vector<int32_t> positions(static_cast<size_t>(kTokens));
    std::iota(positions.begin(), positions.end(), 0);
    rope_.Fill(positions, positions, AsMatrix(cos_, kTokens, pairs()),
               AsMatrix(sin_, kTokens, pairs()));
  }

  int64_t pairs() const { return rope_.rotary_dim() / 2; }
  Numbers Token(int64_t t) const {
    const int64_t hidden = layer_.config.hidden;
    return {x_.begin() + t * hidden, x_.begin() + (t + 1) * hidden};
  }

  // Normalised, and turned by the angles of `position`.
  Numbers Turned(const Numbers& norm, int64_t position, Numbers head) const {
    const double root = std::sqrt(MeanSquare(head) + double{layer_.config.rms_norm_eps});
    for (size_t i = 0; i < head.size(); ++i) head[i] *= (1 + norm[i]) / root;
    for (int64_t i = 0; i < pairs(); ++i) {
      double& a = head[static_cast<size_t>(i)];
      double& b = head[static_cast<size_t>(i + pairs())];
      const double cos = cos_[static_cast<size_t>(position * pairs() + i)];
      const double sin = sin_[static_cast<size_t>(position * pairs() + i)];
      const double first = a * cos - b * sin;
      b = b * cos + a * sin;
      a = first;
    }
    return head;
  }

  // The positions that each token sees; empty: all.
  std::vector<std::vector<int32_t>> InDouble() {
    const IndexerConfig& dims = layer_.config.indexer;
    const AttentionNames& names = layer_.names.attention;
    const Numbers both = layer_.Matrix(names.index_qk + ".weight", (dims.heads + 1) * dims.head_dim,
                                       layer_.config.hidden);
    const Numbers q_norm = layer_.Vector(names.index_q_norm + ".weight", dims.head_dim);
    const Numbers k_norm = layer_.Vector(names.index_k_norm + ".weight", dims.head_dim);
    std::vector<Numbers> pools;
    std::vector<std::vector<int32_t>> result;
    Numbers sum(static_cast<size_t>(dims.head_dim));
    for (int64_t t = 0; t < kTokens; ++t) {
      Numbers qk = Times(both, Token(t));
      const auto key = qk.begin() + dims.heads * dims.head_dim;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += key[static_cast<std::ptrdiff_t>(i)];
      if ((t + 1) % dims.pool == 0) {
        for (double& value : sum) value /= static_cast<double>(dims.pool);
        pools.push_back(Turned(k_norm, t + 1 - dims.pool, sum));
        std::fill(sum.begin(), sum.end(), 0.0);
      }
      Numbers scores(pools.size());
      for (int64_t h = 0; h < dims.heads; ++h) {
        const auto first = qk.begin() + h * dims.head_dim;
        const Numbers q = Turned(q_norm, t, {first, first + dims.head_dim});
        for (size_t p = 0; p < pools.size(); ++p) {
          scores[p] += std::max(0.0, std::inner_product(q.begin(), q.end(), pools[p].begin(), 0.0));
        }
      }
      result.push_back(Best(scores, t));
    }
    return result;
  }

  std::vector<int32_t> Best(const Numbers& scores, int64_t t) const {
    const IndexerConfig& dims = layer_.config.indexer;
    const auto most = static_cast<size_t>(dims.top_k / dims.pool);
    if (scores.size() <= most) return {};
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    order.resize(most);
    std::vector<int32_t> positions;
    for (int64_t p = 0; p <= t; ++p) {
      const auto pool = static_cast<size_t>(p / dims.pool);
      const bool chosen = std::count(order.begin(), order.end(), pool) > 0;
      if (chosen || pool >= scores.size()) positions.push_back(static_cast<int32_t>(p));
    }
    return positions;
  }

  // The same by the indexer, where tokens come `chunk` at a time.
  std::vector<std::vector<int32_t>> InPieces(int64_t chunk, int64_t block_size) {
    const ModelConfig& config = layer_.config;
    const auto indexer =
        MeanIndexer::Load(layer_.pool, *layer_.loader, config, 0, layer_.names.attention);
    EXPECT_TRUE(indexer.ok()) << indexer.status();
    if (!indexer.ok()) return {};
    RowPages rows({.blocks = 20,
                   .block_size = block_size,
                   .tracks = LightningIndexer::TracksOf(config, DType::kF32, block_size)});
    std::vector<int32_t> pages(static_cast<size_t>((kTokens + block_size - 1) / block_size));
    std::iota(pages.rbegin(), pages.rend(), 3);
    const int64_t most = config.indexer.most();
    std::vector<std::vector<int32_t>> result;
    for (int64_t start = 0; start < kTokens; start += chunk) {
      const int64_t count = std::min(chunk, kTokens - start);
      const std::vector<AttentionSequence> sequences = {{0, count, start, pages}};
      std::vector<int32_t> counts(static_cast<size_t>(count));
      std::vector<int32_t> positions(static_cast<size_t>(count * most));
      const ChosenKeys chosen = {.most = most, .counts = counts, .positions = positions};
      const auto of_step = [&](const std::vector<float>& values, int64_t cols) {
        return AsMatrix(values, kTokens, cols).Rows(start, count);
      };
      const AttentionStep step = {.sequences = sequences,
                                  .rope = {of_step(cos_, pairs()), of_step(sin_, pairs())},
                                  .rows = &rows,
                                  .chosen = start + count <= most ? nullptr : &chosen};
      layer_.workspace.Reset();
      LayerContext ctx = layer_.Context();
      indexer->Choose(ctx, step, of_step(x_, config.hidden));
      for (int64_t t = 0; t < count; ++t) {
        const std::span<const int32_t> own = chosen.Of(t, 0);
        result.emplace_back(own.begin(), own.end());
      }
    }
    return result;
  }

  GoldenLayer layer_{"qwen4_exp_text-apart", 2};
  Rope rope_{layer_.config.rope, layer_.config.rope_dim(), layer_.config.max_positions};
  std::vector<float> x_;
  std::vector<float> cos_ = std::vector<float>(static_cast<size_t>(kTokens * pairs()));
  std::vector<float> sin_ = cos_;
};

TEST_F(MeanIndexerTest, ChoosesAsInDouble) {
  const auto wanted = InDouble();
  const auto chosen = InPieces(kTokens, 16);
  ASSERT_EQ(std::ssize(chosen), kTokens);
  for (size_t t = 0; t < chosen.size(); ++t) EXPECT_EQ(chosen[t], wanted[t]) << t;
}

TEST_F(MeanIndexerTest, PiecesAndPagesDoNotMatter) {
  const auto whole = InPieces(kTokens, 16);
  for (const int64_t chunk : {1, 3, 17}) {
    for (const int64_t block_size : {5, 16, 32}) {
      EXPECT_EQ(InPieces(chunk, block_size), whole) << chunk << " " << block_size;
    }
  }
}

}  // namespace
}  // namespace folkmoot
