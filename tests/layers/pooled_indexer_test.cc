// SPDX-License-Identifier: Apache-2.0
// The indexer of GLM-5.3-Flash, which chooses pools of tokens, beside the same in double.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/lightning_indexer.h"
#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kTokens = 43;
constexpr int64_t kLayer = 1;

using Numbers = std::vector<double>;

// Tokens of one sequence, and what the indexer sees of them.
struct Tokens {
  explicit Tokens(const ModelConfig& config)
      : x(RandomFloats(kTokens * config.hidden, 1)),
        low(RandomFloats(kTokens * config.latent.q_rank, 2)) {}
  std::vector<float> x, low;
};

Numbers RowOf(const std::vector<float>& from, int64_t row) {
  const int64_t width = std::ssize(from) / kTokens;
  return {from.begin() + row * width, from.begin() + (row + 1) * width};
}

class PoolReference {
 public:
  explicit PoolReference(GoldenLayer& layer) : dims_(layer.config.indexer) {
    const AttentionNames& names = layer.names.attention;
    const int64_t hidden = layer.config.hidden, dim = dims_.head_dim;
    q_ = layer.Matrix(names.index_q + ".weight", dims_.heads * dim, layer.config.latent.q_rank);
    k_ = layer.Matrix(names.index_k + ".weight", dim, hidden);
    norm_ = layer.Vector(names.index_k_norm + ".weight", dim);
    norm_bias_ = layer.Vector(names.index_k_norm + ".bias", dim);
    weights_ = layer.Matrix(names.index_weights + ".weight", dims_.heads, hidden);
    gates_ = layer.Matrix(names.index_pool_gates, dim, hidden);
    bias_ = layer.Matrix(names.index_pool_bias, dims_.pool, dim);
  }

  // The positions that the next token sees; empty: all.
  std::vector<int32_t> Step(const Numbers& x, const Numbers& low) {
    keys_.push_back(Key(x));
    key_gates_.push_back(Times(gates_, x));
    const auto size = static_cast<size_t>(dims_.pool);
    const size_t full = keys_.size() / size;
    const auto most = static_cast<size_t>(dims_.top_k / dims_.pool);
    if (full <= most) return {};
    std::vector<size_t> order(full);
    std::iota(order.begin(), order.end(), size_t{0});
    Numbers scores;
    for (const size_t pool : order) scores.push_back(Score(x, low, PoolKey(pool)));
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    order.resize(most);
    std::vector<int32_t> positions;
    for (size_t p = 0; p < keys_.size(); ++p) {
      const bool chosen = std::count(order.begin(), order.end(), p / size) > 0;
      if (chosen || p >= full * size) positions.push_back(static_cast<int32_t>(p));
    }
    return positions;
  }

 private:
  Numbers Key(const Numbers& x) const {
    Numbers key = Times(k_, x);
    const double mean =
        std::accumulate(key.begin(), key.end(), 0.0) / static_cast<double>(key.size());
    for (double& value : key) value -= mean;
    const double root = std::sqrt(MeanSquare(key) + 1e-6);
    for (size_t i = 0; i < key.size(); ++i) key[i] = key[i] / root * norm_[i] + norm_bias_[i];
    return key;
  }

  Numbers PoolKey(size_t pool) const {
    const auto size = static_cast<size_t>(dims_.pool);
    Numbers mean(norm_.size());
    for (size_t c = 0; c < mean.size(); ++c) {
      double total = 0;
      for (size_t j = 0; j < size; ++j) {
        const size_t token = pool * size + j;
        const double weight = std::exp(key_gates_[token][c] + bias_[j * mean.size() + c]);
        mean[c] += weight * keys_[token][c];
        total += weight;
      }
      mean[c] /= total;
    }
    return mean;
  }

  // But for factors that all scores have.
  double Score(const Numbers& x, const Numbers& low, const Numbers& key) const {
    const Numbers q = Times(q_, low);
    const Numbers weights = Times(weights_, x);
    double score = 0;
    for (size_t h = 0; h < weights.size(); ++h) {
      const auto head = q.begin() + static_cast<std::ptrdiff_t>(h * key.size());
      score += weights[h] * std::max(0.0, std::inner_product(key.begin(), key.end(), head, 0.0));
    }
    return score;
  }

  IndexerConfig dims_;
  Numbers q_, k_, norm_, norm_bias_, weights_, gates_, bias_;
  std::vector<Numbers> keys_, key_gates_;
};

// What each token sees, empty: all, where they come `chunk` at a time.
std::vector<std::vector<int32_t>> ChooseInPieces(GoldenLayer& layer, int64_t chunk,
                                                 int64_t block_size) {
  const ModelConfig& config = layer.config;
  const auto indexer =
      LightningIndexer::Load(layer.pool, *layer.loader, config, kLayer, layer.names.attention);
  EXPECT_TRUE(indexer.ok()) << indexer.status();
  if (!indexer.ok()) return {};
  const Tokens tokens(config);
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
    layer.workspace.Reset();
    LayerContext ctx = layer.Context();
    const folkmoot::Matrix angles = layer.workspace.GetMatrix(count, 0);  // nothing turns
    const AttentionStep step = {.sequences = sequences,
                                .rope = {angles, angles},
                                .rows = &rows,
                                .chosen = start + count <= most ? nullptr : &chosen};
    indexer->Choose(ctx, step, AsMatrix(tokens.x, kTokens, config.hidden).Rows(start, count),
                    AsMatrix(tokens.low, kTokens, config.latent.q_rank).Rows(start, count));
    for (int64_t t = 0; t < count; ++t) {
      const std::span<const int32_t> own = chosen.Of(t, 0);
      result.emplace_back(own.begin(), own.end());
    }
  }
  return result;
}

TEST(PooledIndexer, ChoosesAsInDouble) {
  GoldenLayer layer("glm5_next-groups", kLayer);
  ASSERT_TRUE(layer.ok());
  ASSERT_EQ(layer.config.indexers_before(kLayer), 0);
  const auto chosen = ChooseInPieces(layer, kTokens, 16);
  ASSERT_EQ(std::ssize(chosen), kTokens);
  const Tokens tokens(layer.config);
  PoolReference reference(layer);
  for (int64_t t = 0; t < kTokens; ++t) {
    EXPECT_EQ(chosen[static_cast<size_t>(t)],
              reference.Step(RowOf(tokens.x, t), RowOf(tokens.low, t)))
        << t;
  }
}

TEST(PooledIndexer, PiecesAndPagesDoNotMatter) {
  GoldenLayer layer("glm5_next-groups", kLayer);
  ASSERT_TRUE(layer.ok());
  const auto whole = ChooseInPieces(layer, kTokens, 16);
  for (const int64_t chunk : {1, 3, 17}) {
    for (const int64_t block_size : {5, 16, 32}) {
      EXPECT_EQ(ChooseInPieces(layer, chunk, block_size), whole) << chunk << " " << block_size;
    }
  }
}

}  // namespace
}  // namespace folkmoot
