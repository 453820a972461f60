// SPDX-License-Identifier: Apache-2.0
// Norms that multiply first, norms without weights, and gates of residuals (Muse Spark), beside
// sums in double.
#include "layers/norm.h"

#include <cmath>

#include "layers/learned_residual.h"
#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

constexpr int64_t kRows = 3;
constexpr const char* kModel = "muse_spark-epsilons";

TEST(Norm, LateOnesMultiplyFirst) {
  GoldenLayer layer(kModel, 1);
  ASSERT_TRUE(layer.ok());
  const int64_t n = layer.config.hidden;
  const auto norm = Norm::LoadLate(*layer.loader, layer.config, layer.names.ffn_post_norm, n);
  ASSERT_TRUE(norm.ok()) << norm.status();
  const std::vector<double> weight = layer.Vector(layer.names.ffn_post_norm + ".weight", n);
  const std::vector<float> x = RandomFloats(kRows * n, 1);
  std::vector<float> out(x.size());
  LayerContext ctx = layer.Context();
  norm->Apply(ctx, AsMatrix(x, kRows, n), AsMatrix(out, kRows, n));
  for (int64_t t = 0; t < kRows; ++t) {
    std::vector<double> y(static_cast<size_t>(n));
    for (size_t c = 0; c < y.size(); ++c) {
      y[c] = double{x[static_cast<size_t>(t * n) + c]} * (1 + weight[c]);
    }
    const double root = std::sqrt(MeanSquare(y) + double{layer.config.rms_norm_eps});
    for (size_t c = 0; c < y.size(); ++c) {
      EXPECT_NEAR(out[static_cast<size_t>(t * n) + c], y[c] / root, 2e-6);
    }
  }
}

TEST(Norm, WithoutWeights) {
  GoldenLayer layer(kModel, 1);
  ASSERT_TRUE(layer.ok());
  auto norm = Norm::Load(*layer.loader, layer.config, "", 4);
  ASSERT_TRUE(norm.ok()) << norm.status();
  norm->set_eps(0.75f);
  const std::vector<float> x = {1, -2, 2, 0};  // a mean square of 9 / 4
  std::vector<float> out(4);
  LayerContext ctx = layer.Context();
  norm->Apply(ctx, AsMatrix(x, 1, 4), AsMatrix(out, 1, 4));
  for (size_t c = 0; c < 4; ++c) EXPECT_NEAR(out[c], double{x[c]} / std::sqrt(3.0), 1e-6);
}

TEST(LearnedResidual, GatesKeepTheLength) {
  GoldenLayer layer(kModel, 1);
  ASSERT_TRUE(layer.ok());
  const int64_t n = layer.config.hidden;
  const std::string& name = layer.names.ffn_residual.gate;
  constexpr float kTemperature = 0.01f;  // some gates are all but shut
  const auto residual = LearnedResidual::LoadGate(*layer.loader, name, kTemperature, n);
  ASSERT_TRUE(residual.ok()) << residual.status();
  const std::vector<float> ones(static_cast<size_t>(n), 1.0f);
  std::vector<float> given(ones.size()), stream(ones.size());
  LayerContext ctx = layer.Context();
  residual->given.Apply(ctx, AsMatrix(ones, 1, n), AsMatrix(given, 1, n));
  residual->stream.Apply(ctx, AsMatrix(ones, 1, n), AsMatrix(stream, 1, n));
  const std::vector<double> gate = layer.Vector(name, n);
  bool open = false;
  for (size_t c = 0; c < gate.size(); ++c) {
    const double beta = 1 / (1 + std::exp(-gate[c] / double{kTemperature}));
    const double square = std::max(1 - beta * beta, 1e-3);
    EXPECT_NEAR(given[c], beta, 1e-6);
    EXPECT_NEAR(stream[c], std::sqrt(square), 2e-6);
    open = open || square == 1e-3;
  }
  EXPECT_TRUE(open) << "the least that is left of the stream was not seen";
}

}  // namespace
}  // namespace folkmoot
