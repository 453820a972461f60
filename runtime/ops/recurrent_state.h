// SPDX-License-Identifier: Apache-2.0
// What layers without keys and values remember of a sequence: one slot for each sequence, whatever
// its length.
#pragma once

#include <cstdint>

#include "runtime/lazy_memory.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// The slots of one model on one rank, float32. Owns its memory, which costs nothing until a slot is
// used. Whoever computes the first row of a sequence takes what its slot holds for zeros, so slots
// need not be emptied.
class RecurrentState {
 public:
  // Floats of one layer in one slot.
  struct LayerShape {
    int64_t inputs = 0;  // of a causal convolution: those of the last rows, [kernel - 1, channels]
    int64_t memory = 0;  // of linear attention: a matrix per head
  };
  struct Shape {
    int64_t layers = 0;
    int64_t slots = 0;
    LayerShape layer;
  };
  explicit RecurrentState(const Shape& shape);
  static int64_t BytesPerSlot(const Shape& shape);
  // What slot `from` holds, to slot `to`.
  void Copy(ThreadPool& pool, int64_t from, int64_t to);

  const Shape& shape() const { return shape_; }
  // Both begin at multiples of 64 bytes.
  float* Inputs(int64_t layer, int64_t slot);
  float* Memory(int64_t layer, int64_t slot);

 private:
  Shape shape_;
  LazyMemory floats_;  // [slots, layers, inputs and memory]
};

}  // namespace folkmoot
