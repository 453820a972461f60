// SPDX-License-Identifier: Apache-2.0
// dots3.note: latent attention with a window and heads, latents and a rotation of its own, scaled
// latents, a normalised shared key and one gate for each head, beside the same in double and not
// absorbed.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/attention.h"
#include "runtime/rope.h"
#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kLength = 23;

using Row = std::vector<double>;

Row Slice(const Row& from, int64_t first, int64_t count) {
  return {from.begin() + first, from.begin() + first + count};
}

double Dot(const Row& a, const Row& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Of numbers whose weights are behind the root of their mean square and an epsilon that shows.
Row Normed(Row row, const Row& weight, double eps, double scale) {
  const double root = std::sqrt(MeanSquare(row) + eps);
  for (size_t i = 0; i < row.size(); ++i) row[i] *= scale * weight[i] / root;
  return row;
}

// A token's angles, by which neighbours turn.
struct Turn {
  Row cos, sin;

  Row Of(Row row) const {
    for (size_t i = 0; i < cos.size(); ++i) {
      const double a = row[2 * i], b = row[2 * i + 1];
      row[2 * i] = a * cos[i] - b * sin[i];
      row[2 * i + 1] = b * cos[i] + a * sin[i];
    }
    return row;
  }
};

class Reference {
 public:
  explicit Reference(GoldenLayer& layer)
      : config_(layer.config),
        dims_(*config_.local_latent),
        heads_(config_.layers[0].heads),
        window_(config_.layers[0].sliding_window) {
    const AttentionNames& names = layer.names.attention;
    const auto weight = [&](const std::string& module, int64_t n, int64_t k) {
      return layer.Matrix(module + ".weight", n, k);
    };
    const int64_t h = config_.hidden;
    q_a_ = weight(names.q_a, dims_.q_rank, h);
    q_a_norm_ = layer.Vector(names.q_a_norm + ".weight", dims_.q_rank);
    q_b_ = weight(names.q_b, heads_ * (dims_.nope_dim + dims_.rope_dim), dims_.q_rank);
    kv_a_ = weight(names.kv_a, dims_.kv_rank + dims_.rope_dim, h);
    kv_a_norm_ = layer.Vector(names.kv_a_norm + ".weight", dims_.kv_rank);
    key_norm_ = layer.Vector(names.k_norm + ".weight", dims_.rope_dim);
    kv_b_ = weight(names.kv_b, heads_ * (dims_.nope_dim + dims_.value_dim), dims_.kv_rank);
    gate_ = weight(names.gate, heads_, h);
    o_ = weight(names.o, h, heads_ * dims_.value_dim);
  }

  // What the layer gives for the next token.
  Row Step(const Row& x, const Turn& turn) {
    const double eps = config_.rms_norm_eps;
    const Row both = Times(kv_a_, x);
    keys_.push_back(
        turn.Of(Normed(Slice(both, dims_.kv_rank, dims_.rope_dim), key_norm_, eps, 1.0)));
    latents_.push_back(Normed(Slice(both, 0, dims_.kv_rank), kv_a_norm_, eps, Root(dims_.kv_rank)));
    const Row q = Times(q_b_, Normed(Times(q_a_, x), q_a_norm_, eps, Root(dims_.q_rank)));
    const Row gates = Times(gate_, x);
    const int64_t width = dims_.nope_dim + dims_.rope_dim;
    Row attended;
    for (int64_t h = 0; h < heads_; ++h) {
      const Row still = Slice(q, h * width, dims_.nope_dim);
      const Row turned = turn.Of(Slice(q, h * width + dims_.nope_dim, dims_.rope_dim));
      for (const double value : Head(h, still, turned)) {
        attended.push_back(value * Sigmoid(gates[static_cast<size_t>(h)]));
      }
    }
    return Times(o_, attended);
  }

 private:
  double Root(int64_t rank) const {
    return std::sqrt(static_cast<double>(config_.hidden) / static_cast<double>(rank));
  }

  Row Head(int64_t h, const Row& still, const Row& turned) const {
    const int64_t rows = dims_.nope_dim + dims_.value_dim;
    const Row own = Slice(kv_b_, h * rows * dims_.kv_rank, rows * dims_.kv_rank);
    Row sum(static_cast<size_t>(dims_.value_dim));
    double total = 0;
    const int64_t first = std::max<int64_t>(std::ssize(keys_) - window_, 0);
    for (auto p = static_cast<size_t>(first); p < keys_.size(); ++p) {
      const Row both = Times(own, latents_[p]);
      const double score = Dot(still, Slice(both, 0, dims_.nope_dim)) + Dot(turned, keys_[p]);
      const auto width = static_cast<double>(dims_.nope_dim + dims_.rope_dim);
      const double weight = std::exp(score / std::sqrt(width));
      total += weight;
      for (size_t i = 0; i < sum.size(); ++i) {
        sum[i] += weight * both[static_cast<size_t>(dims_.nope_dim) + i];
      }
    }
    for (double& value : sum) value /= total;
    return sum;
  }

  const ModelConfig& config_;
  const LatentConfig dims_;
  const int64_t heads_, window_;
  Row q_a_, q_a_norm_, q_b_, kv_a_, kv_a_norm_, key_norm_, kv_b_, gate_, o_;
  std::vector<Row> keys_, latents_;  // of all tokens so far
};

// The first layer, whose inputs are random.
class WindowLatents : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(layer_.ok());
    const ModelConfig& config = layer_.config;
    ASSERT_TRUE(config.local_latent && config.local_rope);
    ASSERT_LT(config.layers[0].sliding_window, kLength);
    half_ = config.local_latent->rope_dim / 2;
    cos_.resize(static_cast<size_t>(kLength * half_));
    sin_.resize(cos_.size());
    x_ = RandomFloats(kLength * config.hidden, 1);
    std::vector<int32_t> positions(kLength), lengths(kLength, kLength);
    std::iota(positions.begin(), positions.end(), 0);
    Rope(*config.local_rope, config.rope_dim(), config.max_positions)
        .Fill(positions, lengths, AsMatrix(cos_, kLength, half_), AsMatrix(sin_, kLength, half_));
  }

  // What it gives for all tokens, in steps of `chunk`.
  std::vector<float> Run(int64_t chunk) {
    const ModelConfig& config = layer_.config;
    const auto columns = MakeLoneColumns();
    const auto attention =
        LoadAttention(layer_.pool, *layer_.loader, config, 0, layer_.names, *columns);
    EXPECT_TRUE(attention.ok()) << attention.status();
    if (!attention.ok()) return {};
    KvCache cache({.layers = 1,
                   .blocks = 3,
                   .block_size = 16,
                   .kv_heads = 1,
                   .head_dim = config.cache_key_dim(config.layers[0]),
                   .value_dim = config.cache_value_dim(config.layers[0])});
    const std::vector<int32_t> pages = {2, 0};
    std::vector<float> result;
    for (int64_t start = 0; start < kLength; start += chunk) {
      const int64_t rows = std::min(chunk, kLength - start);
      const std::vector<AttentionSequence> sequences = {{0, rows, start, pages}};
      const AttentionStep step = {.sequences = sequences,
                                  .local_rope = {AsMatrix(cos_, kLength, half_).Rows(start, rows),
                                                 AsMatrix(sin_, kLength, half_).Rows(start, rows)}};
      layer_.workspace.Reset();
      LayerContext ctx = layer_.Context();
      const ConstMatrix x = AsMatrix(x_, kLength, config.hidden).Rows(start, rows);
      const auto out = (*attention)->Forward(ctx, step, cache, x);
      EXPECT_TRUE(out.ok()) << out.status();
      if (!out.ok()) return {};
      for (int64_t t = 0; t < rows; ++t) {
        result.insert(result.end(), out->Row(t), out->Row(t) + out->cols);
      }
    }
    return result;
  }

  static Row RowOf(const std::vector<float>& from, int64_t t, int64_t width) {
    return {from.begin() + t * width, from.begin() + (t + 1) * width};
  }

  GoldenLayer layer_{"dots3_note_text-windows", 0};
  int64_t half_ = 0;
  std::vector<float> x_, cos_, sin_;
};

TEST_F(WindowLatents, AreAsInDouble) {
  const int64_t hidden = layer_.config.hidden;
  const std::vector<float> out = Run(kLength);
  ASSERT_EQ(out.size(), x_.size());
  Reference reference(layer_);
  for (int64_t t = 0; t < kLength; ++t) {
    const Turn turn = {RowOf(cos_, t, half_), RowOf(sin_, t, half_)};
    const Row wanted = reference.Step(RowOf(x_, t, hidden), turn);
    for (int64_t c = 0; c < hidden; ++c) {
      ASSERT_NEAR(out[static_cast<size_t>(t * hidden + c)], wanted[static_cast<size_t>(c)], 5e-6)
          << t;
    }
  }
}

TEST_F(WindowLatents, PiecesHaveTheBitsOfTheWhole) {
  const std::vector<uint32_t> whole = Bits(Run(kLength));
  for (const int64_t chunk : {1, 5, 9}) EXPECT_EQ(Bits(Run(chunk)), whole) << chunk;
}

}  // namespace
}  // namespace folkmoot
