// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/recurrent_state.h"

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {
namespace {

int64_t Aligned(int64_t floats) {
  constexpr int64_t kLine = 16;
  return (floats + kLine - 1) / kLine * kLine;
}

int64_t FloatsPerLayer(const RecurrentState::LayerShape& layer) {
  return Aligned(layer.inputs) + Aligned(layer.memory);
}

}  // namespace

RecurrentState::RecurrentState(const Shape& shape)
    : shape_(shape), floats_(shape.slots * BytesPerSlot(shape)) {}

int64_t RecurrentState::BytesPerSlot(const Shape& shape) {
  FM_CHECK(shape.layers >= 0 && shape.layer.inputs >= 0 && shape.layer.memory >= 0);
  return shape.layers * FloatsPerLayer(shape.layer) * static_cast<int64_t>(sizeof(float));
}

void RecurrentState::Copy(ThreadPool& pool, int64_t from, int64_t to) {
  pool.ParallelFor(shape_.layers, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t layer = begin; layer < end; ++layer) {
      std::copy_n(Inputs(layer, from), FloatsPerLayer(shape_.layer), Inputs(layer, to));
    }
  });
}

float* RecurrentState::Inputs(int64_t layer, int64_t slot) {
  FM_CHECK(layer >= 0 && layer < shape_.layers && slot >= 0 && slot < shape_.slots);
  return reinterpret_cast<float*>(floats_.data()) +
         (slot * shape_.layers + layer) * FloatsPerLayer(shape_.layer);
}

float* RecurrentState::Memory(int64_t layer, int64_t slot) {
  return Inputs(layer, slot) + Aligned(shape_.layer.inputs);
}

}  // namespace folkmoot
