// SPDX-License-Identifier: Apache-2.0
// A gate of messages beside sums in double.
#include "layers/message_gate.h"

#include <cmath>

#include "tests/layers/golden_layer.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

using Numbers = std::vector<double>;

void AddNormalised(std::span<const float> row, double eps, Numbers* to) {
  const Numbers x(row.begin(), row.end());
  const double root = std::sqrt(MeanSquare(x) + eps);
  for (const double v : x) to->push_back(v / root);
}

TEST(MessageGate, TakesUpMessages) {
  constexpr int64_t kRows = 5;
  GoldenLayer layer("inkling2_loop-full", 1);
  ASSERT_TRUE(layer.ok());
  layer.config.rms_norm_eps = 0.125f;  // which shows
  const int64_t hidden = layer.config.hidden, rank = layer.config.loop.gate_rank;
  const MessageGateNames& names = layer.names.v_gate;
  const auto gate = MessageGate::Load(layer.pool, *layer.loader, layer.config, names);
  ASSERT_TRUE(gate.ok()) << gate.status();
  std::vector<float> rows = RandomFloats(kRows * hidden, 1);
  const std::vector<float> before = rows;
  const std::vector<float> messages = RandomFloats(kRows * hidden, 2);
  LayerContext ctx = layer.Context();
  gate->Apply(ctx, AsMatrix(messages, kRows, hidden), AsMatrix(rows, kRows, hidden));

  const Numbers down = layer.Matrix(names.down, rank, 2 * hidden);
  for (int64_t t = 0; t < kRows; ++t) {
    const std::span<const float> x = AsMatrix(before, kRows, hidden).RowSpan(t);
    const std::span<const float> message = AsMatrix(messages, kRows, hidden).RowSpan(t);
    Numbers both;
    AddNormalised(x, 0.125, &both);
    AddNormalised(message, 0.125, &both);
    const Numbers low = Times(down, both);
    const Numbers forget = Times(layer.Matrix(names.forget, hidden, rank), low);
    const Numbers gain = Times(layer.Matrix(names.gain, hidden, rank), low);
    for (size_t c = 0; c < x.size(); ++c) {
      const double wanted = (1 - std::tanh(forget[c])) * x[c] + std::tanh(gain[c]) * message[c];
      EXPECT_NEAR(rows[static_cast<size_t>(t * hidden) + c], wanted, 2e-6);
    }
  }
}

TEST(MessageGates, HaveAQueryForEachPart) {
  GoldenLayer layer("inkling2_loop-full", 1);
  ASSERT_TRUE(layer.ok());
  const auto gates = MessageGates::Load(layer.pool, *layer.loader, layer.config, 1, layer.names);
  ASSERT_TRUE(gates.ok()) << gates.status();
  const Numbers all =
      layer.Matrix(layer.names.message_queries, 1, 4 * layer.config.hidden);  // of one layer
  EXPECT_EQ(Numbers(gates->queries.begin(), gates->queries.end()), all);
}

}  // namespace
}  // namespace folkmoot
