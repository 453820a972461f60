// SPDX-License-Identifier: Apache-2.0
// Latent attention with sinks, gates of their own and an indexer whose heads turn at their end,
// beside the same in double and not absorbed.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/attention.h"
#include "runtime/rope.h"
#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kLength = 21;
constexpr double kLatentEps = 1e-6;

using Row = std::vector<double>;

Row Slice(const Row& from, int64_t first, int64_t count) {
  return {from.begin() + first, from.begin() + first + count};
}

double Dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

Row Plus(Row a, const Row& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

// Halves of the last cos.size() * 2 numbers turn.
void TurnLast(const Row& cos, const Row& sin, Row* row) {
  const size_t half = cos.size();
  double* const part = row->data() + row->size() - 2 * half;
  for (size_t i = 0; i < half; ++i) {
    const double a = part[i], b = part[half + i];
    part[i] = a * cos[i] - b * sin[i];
    part[half + i] = b * cos[i] + a * sin[i];
  }
}

class Reference {
 public:
  explicit Reference(GoldenLayer& layer)
      : config_(layer.config), dims_(config_.latent), index_(config_.indexer) {
    const AttentionNames& names = layer.names.attention;
    const int64_t h = config_.hidden;
    const auto weight = [&](const std::string& module, int64_t n, int64_t k) {
      return layer.Matrix(module + ".weight", n, k);
    };
    const auto vector = [&](const std::string& name, int64_t n) { return layer.Vector(name, n); };
    const int64_t latent = dims_.kv_rank + dims_.rope_dim;
    const int64_t values = config_.heads * dims_.value_dim;
    q_a_ = weight(names.q_a, dims_.q_rank, h);
    q_a_bias_ = vector(names.q_a + ".bias", dims_.q_rank);
    q_a_norm_ = vector(names.q_a_norm + ".weight", dims_.q_rank);
    q_b_ = weight(names.q_b, config_.heads * config_.head_dim, dims_.q_rank);
    kv_a_ = weight(names.kv_a, latent, h);
    kv_a_bias_ = vector(names.kv_a + ".bias", latent);
    kv_a_norm_ = vector(names.kv_a_norm + ".weight", dims_.kv_rank);
    kv_b_ = weight(names.kv_b, config_.heads * (dims_.nope_dim + dims_.value_dim), dims_.kv_rank);
    o_ = weight(names.o, h, values);
    o_bias_ = vector(names.o + ".bias", h);
    gate_ = weight(names.gate, values, h);
    sinks_ = vector(names.sinks, config_.heads);
    index_q_ = weight(names.index_q, index_.heads * index_.head_dim, dims_.q_rank);
    index_k_ = weight(names.index_k, index_.head_dim, h);
    index_norm_ = vector(names.index_k_norm + ".weight", index_.head_dim);
    index_norm_bias_ = vector(names.index_k_norm + ".bias", index_.head_dim);
    index_weights_ = weight(names.index_weights, index_.heads, h);
  }

  // The next token.
  Row Step(const Row& x, const Row& cos, const Row& sin) {
    KeepKeys(x, cos, sin);
    const Row low = Norm(Plus(Times(q_a_, x), q_a_bias_), q_a_norm_);
    const std::vector<size_t> seen = Choose(x, low, cos, sin);
    const Row q = Times(q_b_, low);
    const Row gate = Times(gate_, x);
    Row attended;
    for (int64_t h = 0; h < config_.heads; ++h) {
      Row head = Slice(q, h * config_.head_dim, config_.head_dim);
      TurnLast(cos, sin, &head);
      const Row value = Attend(h, head, seen);
      for (const double v : value) attended.push_back(v * Sigmoid(gate[attended.size()]));
    }
    return Plus(Times(o_, attended), o_bias_);
  }

 private:
  static Row Norm(Row row, const Row& weight) {
    const double root = std::sqrt(MeanSquare(row) + kLatentEps);
    for (size_t i = 0; i < row.size(); ++i) row[i] *= weight[i] / root;
    return row;
  }

  void KeepKeys(const Row& x, const Row& cos, const Row& sin) {
    const Row both = Plus(Times(kv_a_, x), kv_a_bias_);
    latents_.push_back(Norm(Slice(both, 0, dims_.kv_rank), kv_a_norm_));
    Row turned = Slice(both, dims_.kv_rank, dims_.rope_dim);
    TurnLast(cos, sin, &turned);
    turned_.push_back(turned);
    Row key = Times(index_k_, x);
    const double mean =
        std::accumulate(key.begin(), key.end(), 0.0) / static_cast<double>(key.size());
    for (double& value : key) value -= mean;
    const double root = std::sqrt(MeanSquare(key) + double{config_.rms_norm_eps});
    for (size_t i = 0; i < key.size(); ++i) {
      key[i] = key[i] / root * index_norm_[i] + index_norm_bias_[i];
    }
    TurnLast(cos, sin, &key);
    index_keys_.push_back(key);
  }

  std::vector<size_t> Choose(const Row& x, const Row& low, const Row& cos, const Row& sin) const {
    std::vector<size_t> order(index_keys_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (std::ssize(order) <= index_.top_k) return order;
    const Row q = Times(index_q_, low);
    const Row weights = Times(index_weights_, x);
    Row scores(order.size());
    for (int64_t h = 0; h < index_.heads; ++h) {
      Row head = Slice(q, h * index_.head_dim, index_.head_dim);
      TurnLast(cos, sin, &head);
      for (size_t p = 0; p < scores.size(); ++p) {
        scores[p] += weights[static_cast<size_t>(h)] * std::max(0.0, Dot(head, index_keys_[p]));
      }
    }
    std::sort(order.begin(), order.end(),
              [&scores](size_t a, size_t b) { return scores[a] > scores[b]; });
    order.resize(static_cast<size_t>(index_.top_k));
    return order;
  }

  Row Attend(int64_t h, const Row& head, const std::vector<size_t>& seen) const {
    const int64_t rows = dims_.nope_dim + dims_.value_dim;
    const Row own = Slice(kv_b_, h * rows * dims_.kv_rank, rows * dims_.kv_rank);
    Row sum(static_cast<size_t>(dims_.value_dim));
    double total = std::exp(sinks_[static_cast<size_t>(h)]);
    for (const size_t p : seen) {
      const Row key_and_value = Times(own, latents_[p]);
      const double score =
          Dot(Slice(head, 0, dims_.nope_dim), Slice(key_and_value, 0, dims_.nope_dim)) +
          Dot(Slice(head, dims_.nope_dim, dims_.rope_dim), turned_[p]);
      const double weight = std::exp(score / std::sqrt(static_cast<double>(config_.head_dim)));
      total += weight;
      for (int64_t i = 0; i < dims_.value_dim; ++i) {
        sum[static_cast<size_t>(i)] +=
            weight * key_and_value[static_cast<size_t>(dims_.nope_dim + i)];
      }
    }
    for (double& value : sum) value /= total;
    return sum;
  }

  const ModelConfig& config_;
  const LatentConfig& dims_;
  const IndexerConfig& index_;
  Row q_a_, q_a_bias_, q_a_norm_, q_b_, kv_a_, kv_a_bias_, kv_a_norm_, kv_b_, o_, o_bias_, gate_;
  Row sinks_, index_q_, index_k_, index_norm_, index_norm_bias_, index_weights_;
  std::vector<Row> latents_, turned_, index_keys_;  // of all tokens so far
};

// Cosines and sines of kLength positions, [kLength, rope_dim / 2].
struct Angles {
  explicit Angles(const ModelConfig& config)
      : half(config.latent.rope_dim / 2),
        cos(static_cast<size_t>(kLength * half)),
        sin(static_cast<size_t>(kLength * half)) {
    std::vector<int32_t> positions(kLength), lengths(kLength, kLength);
    std::iota(positions.begin(), positions.end(), 0);
    Rope(config.rope, config.rope_dim(), config.max_positions)
        .Fill(positions, lengths, AsMatrix(cos, kLength, half), AsMatrix(sin, kLength, half));
  }
  int64_t half;
  std::vector<float> cos, sin;
};

// The layer's output for all rows of x, in steps of `chunk`.
std::vector<float> RunLayer(GoldenLayer& layer, const std::vector<float>& x, int64_t chunk) {
  const ModelConfig& config = layer.config;
  const auto columns = MakeLoneColumns();
  const auto attention = LoadAttention(layer.pool, *layer.loader, config, 0, layer.names, *columns);
  EXPECT_TRUE(attention.ok()) << attention.status();
  if (!attention.ok()) return {};
  Angles angles(config);
  KvCache cache({.layers = 1,
                 .blocks = 3,
                 .block_size = 16,
                 .kv_heads = 1,
                 .head_dim = config.latent.kv_rank + config.latent.rope_dim,
                 .value_dim = config.latent.kv_rank});
  KvCache index({.layers = 1,
                 .blocks = 3,
                 .block_size = 16,
                 .kv_heads = 1,
                 .head_dim = config.indexer.head_dim,
                 .keys_only = true});
  const std::vector<int32_t> pages = {2, 0};
  std::vector<float> result;
  for (int64_t start = 0; start < kLength; start += chunk) {
    const int64_t rows = std::min(chunk, kLength - start);
    const std::vector<AttentionSequence> sequences = {{0, rows, start, pages}};
    const int64_t most = config.indexer.top_k;
    std::vector<int32_t> counts(static_cast<size_t>(rows));
    std::vector<int32_t> positions(static_cast<size_t>(rows * most));
    const ChosenKeys chosen = {.most = most, .counts = counts, .positions = positions};
    const AttentionStep step = {
        .sequences = sequences,
        .rope = {AsMatrix(angles.cos, kLength, angles.half).Rows(start, rows),
                 AsMatrix(angles.sin, kLength, angles.half).Rows(start, rows)},
        .index_keys = &index,
        .chosen = start + rows <= most ? nullptr : &chosen};
    layer.workspace.Reset();
    LayerContext ctx = layer.Context();
    const auto out =
        (*attention)
            ->Forward(ctx, step, cache, AsMatrix(x, kLength, config.hidden).Rows(start, rows));
    EXPECT_TRUE(out.ok()) << out.status();
    if (!out.ok()) return {};
    for (int64_t t = 0; t < rows; ++t) {
      result.insert(result.end(), out->Row(t), out->Row(t) + out->cols);
    }
  }
  return result;
}

TEST(LatentAttention, SinksGatesAndIndexersAreAsInDouble) {
  GoldenLayer layer("hy_v4-groups", 0);
  ASSERT_TRUE(layer.ok());
  ModelConfig& config = layer.config;
  config.rms_norm_eps = 0.05f;  // which shows
  config.indexer.norm_eps = config.rms_norm_eps;
  ASSERT_LT(config.indexer.top_k, kLength);
  const std::vector<float> x = RandomFloats(kLength * config.hidden, 1);
  const std::vector<float> out = RunLayer(layer, x, kLength);
  ASSERT_EQ(out.size(), x.size());
  const Angles angles(config);
  Reference reference(layer);
  for (int64_t t = 0; t < kLength; ++t) {
    const auto row = [t](const std::vector<float>& from, int64_t width) {
      return Row(from.begin() + t * width, from.begin() + (t + 1) * width);
    };
    const Row wanted = reference.Step(row(x, config.hidden), row(angles.cos, angles.half),
                                      row(angles.sin, angles.half));
    for (int64_t c = 0; c < config.hidden; ++c) {
      ASSERT_NEAR(out[static_cast<size_t>(t * config.hidden + c)], wanted[static_cast<size_t>(c)],
                  5e-6)
          << t;
    }
  }
}

TEST(LatentAttention, PiecesHaveTheBitsOfTheWhole) {
  GoldenLayer layer("hy_v4-groups", 0);
  ASSERT_TRUE(layer.ok());
  const std::vector<float> x = RandomFloats(kLength * layer.config.hidden, 1);
  const std::vector<uint32_t> whole = Bits(RunLayer(layer, x, kLength));
  for (const int64_t chunk : {1, 5, 9}) EXPECT_EQ(Bits(RunLayer(layer, x, chunk)), whole) << chunk;
}

}  // namespace
}  // namespace folkmoot
