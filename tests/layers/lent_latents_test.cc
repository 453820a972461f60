// SPDX-License-Identifier: Apache-2.0
// Mistral Large 4: a layer and one that reads its latents, with queries scaled by the position and
// indexers of the hidden state, beside the same in double and not absorbed.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "layers/attention.h"
#include "runtime/rope.h"
#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kLength = 23;
constexpr double kIndexEps = 1e-6;

using Row = std::vector<double>;

Row Slice(const Row& from, int64_t first, int64_t count) {
  return {from.begin() + first, from.begin() + first + count};
}

double Dot(const Row& a, const Row& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

Row LayerNormed(Row row, const Row& weight, const Row& bias) {
  const double mean =
      std::accumulate(row.begin(), row.end(), 0.0) / static_cast<double>(row.size());
  for (double& value : row) value -= mean;
  const double root = std::sqrt(MeanSquare(row) + kIndexEps);
  for (size_t i = 0; i < row.size(); ++i) row[i] = row[i] / root * weight[i] + bias[i];
  return row;
}

// A token's angles; without any, nothing turns.
struct Turn {
  Row cos, sin;

  // Neighbours from `first` on.
  void Apply(Row* row, int64_t first) const {
    for (size_t i = 0; i < cos.size(); ++i) {
      double* const pair = row->data() + first + 2 * static_cast<std::ptrdiff_t>(i);
      const double a = pair[0], b = pair[1];
      pair[0] = a * cos[i] - b * sin[i];
      pair[1] = b * cos[i] + a * sin[i];
    }
  }
};

struct Latent {
  Row low, turned;
};

class Reference {
 public:
  Reference(GoldenLayer& layer, int64_t index)
      : config_(layer.config),
        own_(config_.layers[static_cast<size_t>(index)]),
        dims_(config_.latent_of(own_)),
        index_(config_.indexer) {
    const AttentionNames names =
        LayerNamesOf(*FindFamily(config_.architecture), *layer.loader, index).attention;
    const int64_t h = config_.hidden, heads = config_.heads;
    const auto weight = [&](const std::string& module, int64_t n, int64_t k) {
      return layer.Matrix(module + ".weight", n, k);
    };
    q_ = weight(names.q, heads * config_.head_dim, h);
    scale_ = layer.Vector(names.q_scale.scale, heads);
    bias_ = layer.Vector(names.q_scale.bias, heads);
    kv_b_ = weight(names.kv_b, heads * (dims_.nope_dim + dims_.value_dim), dims_.kv_rank);
    o_ = weight(names.o, h, heads * dims_.value_dim);
    if (own_.kv_layer < 0) {
      kv_a_ = weight(names.kv_a, dims_.kv_rank + dims_.rope_dim, h);
      kv_a_norm_ = layer.Vector(names.kv_a_norm + ".weight", dims_.kv_rank);
    }
    if (!own_.indexer) return;
    index_q_ = weight(names.index_q, index_.heads * index_.head_dim, h);
    index_q_norm_ = layer.Vector(names.index_q_norm + ".weight", h);
    index_q_norm_bias_ = layer.Vector(names.index_q_norm + ".bias", h);
    index_scale_ = layer.Vector(names.index_q_scale.scale, index_.heads);
    index_bias_ = layer.Vector(names.index_q_scale.bias, index_.heads);
    index_k_ = weight(names.index_k, index_.head_dim, h);
    index_norm_ = layer.Vector(names.index_k_norm + ".weight", index_.head_dim);
    index_norm_bias_ = layer.Vector(names.index_k_norm + ".bias", index_.head_dim);
    index_weights_ = weight(names.index_weights, index_.heads, h);
  }

  Latent MakeLatent(const Row& x, const Turn& turn) const {
    const Row both = Times(kv_a_, x);
    Latent latent = {Slice(both, 0, dims_.kv_rank), Slice(both, dims_.kv_rank, dims_.rope_dim)};
    const double root = std::sqrt(MeanSquare(latent.low) + double{config_.rms_norm_eps});
    for (size_t i = 0; i < latent.low.size(); ++i) latent.low[i] *= kv_a_norm_[i] / root;
    if (own_.rope) turn.Apply(&latent.turned, 0);
    return latent;
  }

  // Which of all tokens so far, the last of which is this one, it sees; of layers that choose.
  std::vector<size_t> Choose(const Row& x, const Turn& turn) {
    Row key = LayerNormed(Times(index_k_, x), index_norm_, index_norm_bias_);
    if (own_.rope) turn.Apply(&key, 0);
    index_keys_.push_back(key);
    std::vector<size_t> order(index_keys_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (std::ssize(order) <= index_.top_k) return order;
    const Row q = Times(index_q_, LayerNormed(x, index_q_norm_, index_q_norm_bias_));
    const Row weights = Times(index_weights_, x);
    const double log = std::log(static_cast<double>(index_keys_.size()));
    Row scores(order.size());
    for (int64_t h = 0; h < index_.heads; ++h) {
      const auto at = static_cast<size_t>(h);
      Row head = Slice(q, h * index_.head_dim, index_.head_dim);
      for (double& value : head) value *= index_scale_[at] * log + index_bias_[at];
      if (own_.rope) turn.Apply(&head, 0);
      for (size_t p = 0; p < scores.size(); ++p) {
        scores[p] += weights[at] * std::max(0.0, Dot(head, index_keys_[p]));
      }
    }
    std::stable_sort(order.begin(), order.end(),
                     [&scores](size_t a, size_t b) { return scores[a] > scores[b]; });
    order.resize(static_cast<size_t>(index_.top_k));
    return order;
  }

  Row Attend(const Row& x, const Turn& turn, const std::vector<Latent>& latents,
             const std::vector<size_t>& seen) const {
    const Row q = Times(q_, x);
    const double log = std::log(static_cast<double>(latents.size()));
    Row attended;
    for (int64_t h = 0; h < config_.heads; ++h) {
      Row head = Slice(q, h * config_.head_dim, config_.head_dim);
      if (own_.rope) turn.Apply(&head, dims_.nope_dim);
      for (double& value : head) {
        value *= scale_[static_cast<size_t>(h)] * log + bias_[static_cast<size_t>(h)];
      }
      const Row value = Head(h, head, latents, seen);
      attended.insert(attended.end(), value.begin(), value.end());
    }
    return Times(o_, attended);
  }

 private:
  Row Head(int64_t h, const Row& head, const std::vector<Latent>& latents,
           const std::vector<size_t>& seen) const {
    const int64_t rows = dims_.nope_dim + dims_.value_dim;
    const Row own = Slice(kv_b_, h * rows * dims_.kv_rank, rows * dims_.kv_rank);
    Row sum(static_cast<size_t>(dims_.value_dim));
    double total = 0;
    for (const size_t p : seen) {
      const Row both = Times(own, latents[p].low);
      const double score = Dot(Slice(head, 0, dims_.nope_dim), Slice(both, 0, dims_.nope_dim)) +
                           Dot(Slice(head, dims_.nope_dim, dims_.rope_dim), latents[p].turned);
      const double weight = std::exp(score / std::sqrt(static_cast<double>(config_.head_dim)));
      total += weight;
      for (size_t i = 0; i < sum.size(); ++i) {
        sum[i] += weight * both[static_cast<size_t>(dims_.nope_dim) + i];
      }
    }
    for (double& value : sum) value /= total;
    return sum;
  }

  const ModelConfig& config_;
  const LayerConfig& own_;
  const LatentConfig dims_;
  const IndexerConfig& index_;
  Row q_, scale_, bias_, kv_a_, kv_a_norm_, kv_b_, o_;
  Row index_q_, index_q_norm_, index_q_norm_bias_, index_scale_, index_bias_, index_k_;
  Row index_norm_, index_norm_bias_, index_weights_;
  std::vector<Row> index_keys_;  // of all tokens so far
};

// Two layers of mistral_large4-lent, the second of which reads the latents of the first. Their
// inputs are random.
class LentLatents {
 public:
  LentLatents(int64_t source, int64_t reader)
      : layer("mistral_large4-lent", source),
        indices{source, reader},
        half(layer.config.latent.rope_dim / 2),
        cos(static_cast<size_t>(kLength * half)),
        sin(cos.size()) {
    for (const uint32_t seed : {1u, 2u}) {
      inputs.push_back(RandomFloats(kLength * layer.config.hidden, seed));
    }
    std::vector<int32_t> positions(kLength), lengths(kLength, kLength);
    std::iota(positions.begin(), positions.end(), 0);
    Rope(layer.config.rope, layer.config.rope_dim(), layer.config.max_positions)
        .Fill(positions, lengths, AsMatrix(cos, kLength, half), AsMatrix(sin, kLength, half));
    for (int32_t t = 0; t < kLength; ++t) logs.push_back(std::log(static_cast<float>(t + 1)));
  }

  // What both give for all tokens, in steps of `chunk`: [2][kLength * H].
  std::vector<std::vector<float>> Run(int64_t chunk) {
    const ModelConfig& config = layer.config;
    const auto columns = MakeLoneColumns();
    const auto layers = Load(*columns);
    if (layers.size() < 2) return {};
    KvCache cache(CacheShape());
    KvCache keys({.layers = config.token_indexers(),
                  .blocks = 3,
                  .block_size = 16,
                  .kv_heads = 1,
                  .head_dim = config.indexer.head_dim,
                  .keys_only = true});
    std::vector<std::vector<float>> results(2);
    for (int64_t start = 0; start < kLength; start += chunk) {
      const int64_t rows = std::min(chunk, kLength - start);
      const int64_t most = config.indexer.top_k;
      std::vector<int32_t> counts(static_cast<size_t>(rows));
      std::vector<int32_t> positions(static_cast<size_t>(rows * most));
      const ChosenKeys chosen = {.most = most, .counts = counts, .positions = positions};
      const std::vector<int32_t> pages = {2, 0};
      const std::vector<AttentionSequence> sequences = {{0, rows, start, pages}};
      const AttentionStep step = {.sequences = sequences,
                                  .rope = {AsMatrix(cos, kLength, half).Rows(start, rows),
                                           AsMatrix(sin, kLength, half).Rows(start, rows)},
                                  .log_positions = std::span(logs).subspan(
                                      static_cast<size_t>(start), static_cast<size_t>(rows)),
                                  .index_keys = &keys,
                                  .chosen = start + rows <= most ? nullptr : &chosen};
      layer.workspace.Reset();
      LayerContext ctx = layer.Context();
      for (size_t i = 0; i < layers.size(); ++i) {
        const ConstMatrix x = AsMatrix(inputs[i], kLength, config.hidden).Rows(start, rows);
        const auto out = layers[i]->Forward(ctx, step, cache, x);
        EXPECT_TRUE(out.ok()) << out.status();
        if (!out.ok()) return {};
        for (int64_t t = 0; t < rows; ++t) {
          results[i].insert(results[i].end(), out->Row(t), out->Row(t) + out->cols);
        }
      }
    }
    return results;
  }

  std::vector<std::unique_ptr<Attention>> Load(ColumnExchange& columns) {
    const Family& family = *FindFamily(layer.config.architecture);
    std::vector<std::unique_ptr<Attention>> layers;
    for (const int64_t index : indices) {
      auto attention = LoadAttention(layer.pool, *layer.loader, layer.config, index,
                                     LayerNamesOf(family, *layer.loader, index), columns);
      EXPECT_TRUE(attention.ok()) << attention.status();
      if (attention.ok()) layers.push_back(*std::move(attention));
    }
    return layers;
  }

  KvCache::Shape CacheShape() const {
    const ModelConfig& config = layer.config;
    std::vector<KvCache::Heads> heads;
    for (const LayerConfig& each : config.layers) {
      if (!ModelConfig::caches(each)) continue;
      heads.push_back({.count = 1,
                       .head_dim = config.cache_key_dim(each),
                       .value_dim = config.cache_value_dim(each)});
    }
    return {.layers = config.cache_layers(),
            .blocks = 3,
            .block_size = 16,
            .layer_heads = std::move(heads)};
  }

  Row Input(size_t which, int64_t t) const {
    const auto first = inputs[which].begin() + t * layer.config.hidden;
    return {first, first + layer.config.hidden};
  }

  Turn TurnOf(int64_t t) const {
    const auto row = [&](const std::vector<float>& from) {
      return Row(from.begin() + t * half, from.begin() + (t + 1) * half);
    };
    return {row(cos), row(sin)};
  }

  GoldenLayer layer;
  std::vector<int64_t> indices;
  int64_t half;
  std::vector<float> cos, sin, logs;
  std::vector<std::vector<float>> inputs;  // of the layers, [kLength * H]
};

void ExpectRow(const std::vector<float>& all, int64_t t, const Row& wanted) {
  for (size_t c = 0; c < wanted.size(); ++c) {
    ASSERT_NEAR(all[static_cast<size_t>(t) * wanted.size() + c], wanted[c], 5e-6) << t;
  }
}

void ExpectAsInDouble(int64_t source, int64_t reader) {
  LentLatents both(source, reader);
  ASSERT_TRUE(both.layer.ok());
  ASSERT_LT(both.layer.config.indexer.top_k, kLength);
  const auto results = both.Run(kLength);
  ASSERT_EQ(results.size(), 2u);
  Reference first(both.layer, source), second(both.layer, reader);
  std::vector<Latent> latents;
  for (int64_t t = 0; t < kLength; ++t) {
    const Turn turn = both.TurnOf(t);
    const Row x = both.Input(0, t), y = both.Input(1, t);
    latents.push_back(first.MakeLatent(x, turn));
    std::vector<size_t> seen = first.Choose(x, turn);
    ASSERT_NO_FATAL_FAILURE(ExpectRow(results[0], t, first.Attend(x, turn, latents, seen)));
    const LayerConfig& own = both.layer.config.layers[static_cast<size_t>(reader)];
    if (own.indexer) seen = second.Choose(y, turn);
    ASSERT_NO_FATAL_FAILURE(ExpectRow(results[1], t, second.Attend(y, turn, latents, seen)));
  }
}

TEST(LentLatents, WithoutRotationAreAsInDouble) { ExpectAsInDouble(2, 4); }

TEST(LentLatents, AndKeysThatWereChosenAreAsInDouble) { ExpectAsInDouble(5, 6); }

TEST(LentLatents, PiecesHaveTheBitsOfTheWhole) {
  LentLatents both(2, 4);
  ASSERT_TRUE(both.layer.ok());
  const auto whole = both.Run(kLength);
  ASSERT_EQ(whole.size(), 2u);
  for (const int64_t chunk : {1, 5, 9}) {
    const auto pieces = both.Run(chunk);
    ASSERT_EQ(pieces.size(), 2u);
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ(Bits(pieces[i]), Bits(whole[i])) << chunk;
  }
}

}  // namespace
}  // namespace folkmoot
