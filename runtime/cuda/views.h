// SPDX-License-Identifier: Apache-2.0
// What kernels are told: shapes and device addresses, plain structs that are passed by value. None
// of them owns memory. Counts that change from step to step lie in device memory, so that a
// recorded graph fits every step of its bucket.
#pragma once

#include <cstdint>

#include "runtime/dtype.h"

namespace folkmoot::cuda {

// [rows, cols] of kF32, kBF16 or kF16, row r at data + r * stride elements.
struct MatrixRef {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
};

// The rows of a step, padded to a bucket: rows from *valid on are padding. Their ids are 0, they
// belong to no sequence, are routed nowhere, and whatever is computed for them is never read.
// A copy brings them and the sequences to the device before the step's first kernel, which is
// launched without overlap (launch.h); no kernel writes them. So kernels may read them before
// GridDependencyWait.
struct StepRows {
  int rows = 0;                        // launched for, padding included
  const int32_t* valid = nullptr;      // [1] real rows
  const int32_t* token_ids = nullptr;  // [rows]
  const int32_t* positions = nullptr;  // [rows]
  const int32_t* sequence = nullptr;   // [rows] index of its sequence; -1: padding
  const uint64_t* streams = nullptr;   // [rows] keys of random draws
  const float* cos = nullptr;          // [rows, rotary / 2]
  const float* sin = nullptr;
};

// The sequences of a step; sequences from *valid on are padding.
struct StepSequences {
  int sequences = 0;                   // launched for
  const int32_t* valid = nullptr;      // [1]
  const int32_t* first_row = nullptr;  // [sequences]
  const int32_t* rows = nullptr;       // [sequences] rows in this step
  const int32_t* start = nullptr;      // [sequences] position of the first row
  const int32_t* blocks = nullptr;     // [sequences, block_stride] pages
  int block_stride = 0;
  int max_rows = 1;    // upper bounds for the launch
  int max_length = 0;  // of start + rows
};

// Keys and values of one layer: [blocks, kv_heads, block_size, head_dim] each, elements of `dtype`.
struct KvLayer {
  void* keys = nullptr;
  void* values = nullptr;
  DType dtype = DType::kBF16;
  int kv_heads = 0;
  int head_dim = 0;
  int block_size = 16;
};

// Routing of a layer, [rows, k], slot 0 = best (parallel/routing.h has the same on the host).
// `action`: 0 nothing, 1 expert, 2 identity (SlotAction).
struct RoutingRef {
  int rows = 0;
  int k = 0;
  int32_t* expert = nullptr;
  float* weight = nullptr;
  uint8_t* state = nullptr;   // SlotState
  uint8_t* action = nullptr;  // SlotAction
  int32_t* place = nullptr;   // may be null where no expert has a capacity
  uint8_t* bad = nullptr;     // [rows]
  double* raw = nullptr;      // scratch of RouteRows; may be null where place is
};

// At most GroupedRows::tile_rows choices of one expert slot.
struct ExpertTile {
  int32_t slot;
  int32_t first;  // index into GroupedRows::choices
  int32_t count;
};

// Choices grouped by local expert slot, for the expert kernels: a list of choices sorted by (slot,
// row, k) and a list of tiles over it in the same order.
struct GroupedRows {
  int slots = 0;        // local experts
  int max_choices = 0;  // capacity of `choices`
  int max_tiles = 0;    // capacity of `tiles`
  int tile_rows = 0;
  int32_t* choices = nullptr;     // [max_choices] row * k + slot of the routing
  int32_t* offsets = nullptr;     // [slots + 1] into choices
  ExpertTile* tiles = nullptr;    // [max_tiles]
  int32_t* tile_count = nullptr;  // [1]
};

}  // namespace folkmoot::cuda
