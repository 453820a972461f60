// SPDX-License-Identifier: Apache-2.0
// Hyper-connections whose streams do not read each other, and a head that reads their mean, beside
// sums in double.
#include "layers/hyper_connection.h"

#include <cmath>

#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kRows = 5;

// Of one row of streams: gates of reading, and of writing.
struct Gates {
  std::vector<double> pre, post;
};

Gates GatesOf(GoldenLayer& layer, const HyperNames& names, std::span<const double> streams) {
  const HyperConfig& hyper = layer.config.hyper;
  const int64_t n = hyper.streams;
  const auto fn = layer.Matrix(names.weights, 2 * n, n * layer.config.hidden);
  const auto base = layer.Vector(names.base, 2 * n);
  const auto scale = layer.Vector(names.scale, 2);
  std::vector<double> outputs = Times(fn, streams);
  const double root = std::sqrt(MeanSquare(streams) + double{layer.config.rms_norm_eps});
  Gates gates;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const bool writes = static_cast<int64_t>(i) >= n;
    const double gate = Sigmoid(outputs[i] / root * scale[writes ? 1 : 0] + base[i]);
    if (writes) {
      gates.post.push_back(hyper.magnitude * gate + hyper.eps);
    } else {
      gates.pre.push_back(gate + hyper.eps);
    }
  }
  return gates;
}

TEST(HyperConnection, StreamsByThemselves) {
  GoldenLayer layer("hy_v4-saved", 0);
  ASSERT_TRUE(layer.ok());
  layer.config.hyper.eps = 0.125;  // which shows
  const int64_t n = layer.config.hyper.streams;
  const int64_t hidden = layer.config.hidden;
  const HyperNames& names = layer.names.ffn_streams;
  const auto connection = HyperConnection::Load(layer.pool, *layer.loader, layer.config, names);
  ASSERT_TRUE(connection.ok()) << connection.status();

  std::vector<float> streams = RandomFloats(kRows * n * hidden, 1);
  const std::vector<float> before = streams;
  const std::vector<float> given = RandomFloats(kRows * hidden, 2);
  std::vector<float> x(static_cast<size_t>(kRows * hidden));
  LayerContext ctx = layer.Context();
  const ConstMatrix gates =
      connection->Read(ctx, AsMatrix(before, kRows, n * hidden), AsMatrix(x, kRows, hidden));
  connection->Leave(ctx, gates, AsMatrix(given, kRows, hidden),
                    AsMatrix(streams, kRows, n * hidden));

  for (int64_t t = 0; t < kRows; ++t) {
    const std::vector<double> row(before.begin() + t * n * hidden,
                                  before.begin() + (t + 1) * n * hidden);
    const Gates wanted = GatesOf(layer, names, row);
    for (int64_t c = 0; c < hidden; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(i * hidden + c);
        sum += wanted.pre[static_cast<size_t>(i)] * row[at];
        EXPECT_NEAR(streams[static_cast<size_t>(t * n * hidden) + at],
                    row[at] + wanted.post[static_cast<size_t>(i)] *
                                  double{given[static_cast<size_t>(t * hidden + c)]},
                    2e-6);
      }
      EXPECT_NEAR(x[static_cast<size_t>(t * hidden + c)], sum, 2e-6);
    }
  }
}

TEST(HyperHead, ReadsTheMean) {
  GoldenLayer layer("glm5_next-groups", 0);
  ASSERT_TRUE(layer.ok());
  layer.config.hyper.streams = 3;
  const int64_t hidden = layer.config.hidden;
  const auto head = HyperHead::Load(layer.pool, *layer.loader, layer.config, {});
  ASSERT_TRUE(head.ok()) << head.status();
  const std::vector<float> streams = RandomFloats(kRows * 3 * hidden, 1);
  std::vector<float> x(static_cast<size_t>(kRows * hidden));
  LayerContext ctx = layer.Context();
  head->Read(ctx, AsMatrix(streams, kRows, 3 * hidden), AsMatrix(x, kRows, hidden));
  for (int64_t t = 0; t < kRows; ++t) {
    for (int64_t c = 0; c < hidden; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < 3; ++i) {
        sum += static_cast<double>(streams[static_cast<size_t>((t * 3 + i) * hidden + c)]);
      }
      EXPECT_NEAR(x[static_cast<size_t>(t * hidden + c)], sum / 3, 1e-6);
    }
  }
}

// One row by itself has the bits that it has among others.
TEST(HyperConnection, RowsDoNotMeet) {
  GoldenLayer layer("hy_v4-saved", 0);
  ASSERT_TRUE(layer.ok());
  const int64_t n = layer.config.hyper.streams;
  const int64_t hidden = layer.config.hidden;
  const auto connection =
      HyperConnection::Load(layer.pool, *layer.loader, layer.config, layer.names.attention_streams);
  ASSERT_TRUE(connection.ok()) << connection.status();
  const auto run = [&](int64_t first, int64_t rows) {
    std::vector<float> streams = RandomFloats(kRows * n * hidden, 1);
    const std::vector<float> given = RandomFloats(kRows * hidden, 2);
    std::vector<float> x(static_cast<size_t>(rows * hidden));
    LayerContext ctx = layer.Context();
    const folkmoot::Matrix mine = AsMatrix(streams, kRows, n * hidden).Rows(first, rows);
    const ConstMatrix gates = connection->Read(ctx, mine, AsMatrix(x, rows, hidden));
    connection->Leave(ctx, gates, AsMatrix(given, kRows, hidden).Rows(first, rows), mine);
    x.insert(x.end(), mine.Row(0), mine.Row(0) + rows * n * hidden);
    return Bits(x);
  };
  const std::vector<uint32_t> all = run(0, kRows);
  for (int64_t t = 0; t < kRows; ++t) {
    const std::vector<uint32_t> alone = run(t, 1);
    EXPECT_TRUE(std::equal(alone.begin(), alone.begin() + hidden, all.begin() + t * hidden)) << t;
    EXPECT_TRUE(
        std::equal(alone.begin() + hidden, alone.end(), all.begin() + (kRows + t * n) * hidden))
        << t;
  }
}

}  // namespace
}  // namespace folkmoot
