// SPDX-License-Identifier: Apache-2.0
// What the tests of recurrent layers share: a layer that keeps a state for each sequence, its rows
// in pieces, and the same bits however they come.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include "runtime/ops/causal_convolution.h"
#include "runtime/workspace.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {

// A layer with a state, and the projections of one sequence.
struct StatefulLayer {
  RecurrentState::LayerShape state;
  int64_t width = 0;  // of projections
  int64_t columns = 0;
  std::vector<float> inputs;  // [rows, width]
  std::function<void(ThreadPool&, std::span<const AttentionSequence>, ConstMatrix, RecurrentState&,
                     Workspace&, Matrix)>
      run;

  int64_t rows() const { return std::ssize(inputs) / width; }
  ConstMatrix Inputs() const { return AsMatrix(inputs, rows(), width); }
  RecurrentState State(int64_t slots) const {
    return RecurrentState({.layers = 1, .slots = slots, .layer = state});
  }
};

// Rows of the sequence in pieces that end at `ends`, one step each.
inline std::vector<float> InPieces(const StatefulLayer& layer, ThreadPool& pool,
                                   const std::vector<int64_t>& ends) {
  RecurrentState state = layer.State(3);
  // Whatever a slot held before does not count.
  std::fill_n(state.Memory(0, 1), layer.state.memory, NAN);
  std::fill_n(state.Inputs(0, 1), layer.state.inputs, NAN);
  Workspace workspace;
  std::vector<float> out(static_cast<size_t>(layer.rows() * layer.columns));
  const Matrix result = AsMatrix(out, layer.rows(), layer.columns);
  int64_t start = 0;
  for (const int64_t end : ends) {
    const AttentionSequence piece = {.rows = end - start, .start = start, .slot = 1};
    layer.run(pool, {&piece, 1}, layer.Inputs().Rows(start, end - start), state, workspace,
              result.Rows(start, end - start));
    start = end;
  }
  return out;
}

// However the sequence comes: in pieces, on any threads and target, beside others.
inline void ExpectSameBits(const StatefulLayer& layer) {
  const int64_t rows = layer.rows();
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    ForEachTarget([&] {
      std::vector<int64_t> ones;
      for (int64_t end = 1; end <= rows; ++end) ones.push_back(end);
      for (const auto& ends : {std::vector<int64_t>{rows}, {1, rows}, {2, 4, 5, 9, rows}, ones}) {
        const std::vector<float> out = InPieces(layer, pool, ends);
        if (first.empty()) first = out;
        ASSERT_EQ(Bits(out), Bits(first)) << threads << " threads, " << ends.size() << " pieces";
      }
    });
  }
  // Another sequence before it in the step, in another slot.
  ThreadPool pool(2);
  RecurrentState state = layer.State(4);
  Workspace workspace;
  std::vector<float> step(layer.inputs.begin(), layer.inputs.begin() + 5 * layer.width);
  step.insert(step.end(), layer.inputs.begin(), layer.inputs.end());
  const AttentionSequence both[] = {{.first_row = 0, .rows = 5, .start = 0, .slot = 3},
                                    {.first_row = 5, .rows = rows, .start = 0, .slot = 0}};
  std::vector<float> out(static_cast<size_t>((rows + 5) * layer.columns));
  layer.run(pool, both, AsMatrix(step, rows + 5, layer.width), state, workspace,
            AsMatrix(out, rows + 5, layer.columns));
  EXPECT_EQ(Bits({out.begin() + 5 * layer.columns, out.end()}), Bits(first));
  EXPECT_EQ(Bits({out.begin(), out.begin() + 5 * layer.columns}),
            Bits({first.begin(), first.begin() + 5 * layer.columns}));
}

}  // namespace folkmoot
