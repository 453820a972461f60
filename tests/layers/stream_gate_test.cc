// SPDX-License-Identifier: Apache-2.0
// The gated streams of Qwen4-Exp beside sums in double.
#include "layers/stream_gate.h"

#include <cmath>

#include "layers/hyper_connection.h"
#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kRows = 5;

using Numbers = std::vector<double>;

// What a part reads of one row of streams, and the weights by which these take up what it gives.
struct Gated {
  Numbers x, weights;
};

Gated GatedOf(GoldenLayer& layer, const HyperNames& names, const Numbers& streams) {
  const int64_t n = layer.config.hyper.streams, hidden = layer.config.hidden;
  const int64_t rank = layer.config.hyper.gate_rank;
  const Numbers norm = layer.Vector(names.norm + ".weight", n * hidden);
  Numbers y = streams;
  for (int64_t i = 0; i < n; ++i) {
    const std::span<const double> stream =
        std::span(streams).subspan(static_cast<size_t>(i * hidden), static_cast<size_t>(hidden));
    const double root = std::sqrt(MeanSquare(stream) + double{layer.config.rms_norm_eps});
    for (int64_t c = i * hidden; c < (i + 1) * hidden; ++c) {
      const auto at = static_cast<size_t>(c);
      y[at] *= (1 + norm[at]) / root;
    }
  }
  Numbers low = Times(layer.Matrix(names.down + ".weight", rank, n * hidden), y);
  for (double& value : low) {
    value /= static_cast<double>(n);
    value *= Sigmoid(value);
  }
  const Numbers gates = Times(layer.Matrix(names.up + ".weight", n * hidden, rank), low);
  Gated gated = {.x = Numbers(static_cast<size_t>(hidden))};
  for (size_t c = 0; c < y.size(); ++c) {
    gated.x[c % gated.x.size()] += Sigmoid(gates[c]) * y[c] / static_cast<double>(n);
  }
  gated.weights = Times(layer.Matrix(names.inject + ".weight", n, n * hidden), y);
  for (double& weight : gated.weights) weight = 2 * Sigmoid(weight / static_cast<double>(n));
  return gated;
}

TEST(StreamGate, PartsReadAndLeave) {
  GoldenLayer layer("qwen4_exp_text-odd", 1);
  ASSERT_TRUE(layer.ok());
  const int64_t n = layer.config.hyper.streams, hidden = layer.config.hidden;
  const HyperNames& names = layer.names.ffn_streams;
  const auto connection = HyperConnection::Load(layer.pool, *layer.loader, layer.config, names);
  ASSERT_TRUE(connection.ok()) << connection.status();
  std::vector<float> streams = RandomFloats(kRows * n * hidden, 1);
  const std::vector<float> before = streams;
  const std::vector<float> given = RandomFloats(kRows * hidden, 2);
  std::vector<float> x(static_cast<size_t>(kRows * hidden));
  LayerContext ctx = layer.Context();
  const ConstMatrix weights =
      connection->Read(ctx, AsMatrix(before, kRows, n * hidden), AsMatrix(x, kRows, hidden));
  connection->Leave(ctx, weights, AsMatrix(given, kRows, hidden),
                    AsMatrix(streams, kRows, n * hidden));
  for (int64_t t = 0; t < kRows; ++t) {
    const Numbers row(before.begin() + t * n * hidden, before.begin() + (t + 1) * n * hidden);
    const Gated wanted = GatedOf(layer, names, row);
    for (int64_t c = 0; c < n * hidden; ++c) {
      const double gift = given[static_cast<size_t>(t * hidden + c % hidden)];
      EXPECT_NEAR(
          streams[static_cast<size_t>(t * n * hidden + c)],
          row[static_cast<size_t>(c)] + wanted.weights[static_cast<size_t>(c / hidden)] * gift,
          2e-6);
      if (c >= hidden) continue;
      EXPECT_NEAR(x[static_cast<size_t>(t * hidden + c)], wanted.x[static_cast<size_t>(c)], 2e-6);
    }
  }
}

TEST(StreamGate, TheHeadReadsAlone) {
  GoldenLayer layer("qwen4_exp_text-odd", 1);
  ASSERT_TRUE(layer.ok());
  const int64_t n = layer.config.hyper.streams, hidden = layer.config.hidden;
  const HyperNames& names = layer.names.ffn_streams;  // as good as those of the head
  const auto head = HyperHead::Load(layer.pool, *layer.loader, layer.config, names);
  ASSERT_TRUE(head.ok()) << head.status();
  const std::vector<float> streams = RandomFloats(n * hidden, 3);
  std::vector<float> x(static_cast<size_t>(hidden));
  LayerContext ctx = layer.Context();
  head->Read(ctx, AsMatrix(streams, 1, n * hidden), AsMatrix(x, 1, hidden));
  const Gated wanted = GatedOf(layer, names, {streams.begin(), streams.end()});
  for (size_t c = 0; c < x.size(); ++c) EXPECT_NEAR(x[c], wanted.x[c], 2e-6);
}

}  // namespace
}  // namespace folkmoot
