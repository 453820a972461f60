// SPDX-License-Identifier: Apache-2.0
// The device's part of an exchange of rows among `parts`: packing what travels, unpacking what
// came, and checking that the others are where we are. Which part holds which expert is a table;
// nothing here knows how bytes move. parallel/nccl_dispatcher.cc puts the pieces together.
//
// Two ways. Fixed: every part shows all its rows and choices to all, at fixed places, so no count
// is needed. Exact: lists of the rows and choices for each part, in the order (row, slot), and
// their lengths.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

// What a part says about itself; all but rows and choices must agree.
struct ExchangeHeader {
  int64_t round = 0;  // fixed: of this exchange, counted on the device; exact: the step
  int32_t layer = 0;
  int32_t hidden = 0;
  uint64_t placement = 0;  // fingerprint of the table
  int32_t rows = 0;        // that follow
  int32_t k = 0;
  int64_t choices = 0;  // that follow
  int64_t reserved = 0;
};
static_assert(sizeof(ExchangeHeader) == 48);

// A choice as it travels under fixed sizes; expert -1: none.
struct FixedChoice {
  int32_t expert;
  float weight;
};
// A choice as it travels under exact sizes: for a row of the same message.
struct ExactChoice {
  int32_t row;
  int32_t expert;
  float weight;
};

// Bytes of a header and the choices of `rows` rows, a multiple of 16.
inline int64_t FixedBlockBytes(int rows, int k) {
  const int64_t bytes = static_cast<int64_t>(sizeof(ExchangeHeader)) +
                        int64_t{rows} * k * static_cast<int64_t>(sizeof(FixedChoice));
  return (bytes + 15) / 16 * 16;
}

// The first disagreement, for the host to read. Zero before anything went wrong.
struct ExchangeVerdict {
  int32_t differs = 0;  // 1 + the part whose header is not like ours
  int32_t strange = 0;  // 1 + a part that sent an expert or a row that does not exist
  ExchangeHeader theirs;
  ExchangeHeader mine;
};

// How far the device has come, in pinned host memory: written by the kernels below, so that a wait
// that fails can say where.
struct ExchangeProgress {
  int32_t layer = -1;
  int32_t phase = 0;  // 0: nothing under way, 1: dispatch, 2: combine
};

// Which part holds an expert.
struct PartTable {
  const int32_t* part_of = nullptr;  // [experts], on the device
  int experts = 0;
  int parts = 1;
  int self = 0;
};

// ---- Fixed sizes ----

// Adds 1 to *round and writes header (with that round) and choices to `block`.
void PackFixed(Stream& stream, const RoutingRef& routing, const ExchangeHeader& header,
               int64_t* round, ExchangeProgress* progress, void* block);
// blocks: table.parts blocks of equal size, side by side. Writes the choices of all parts to `out`
// ([parts * rows, k]: expert, weight, action) and compares the headers with ours.
void UnpackFixed(Stream& stream, const PartTable& table, const ExchangeHeader& header,
                 const int64_t* round, const void* blocks, ExchangeVerdict* verdict,
                 ExchangeProgress* progress, const RoutingRef& out);

// ---- Exact sizes ----

// What goes to each part, listed on the device. Choices of action 1 alone travel.
struct ExactLists {
  int32_t* rows = nullptr;            // [parts, T] rows of x, in order
  ExactChoice* choices = nullptr;     // [parts, T * K]
  int32_t* index = nullptr;           // [T * K] of a choice in the list of its part
  ExchangeHeader* headers = nullptr;  // [parts] rows and choices filled in
};
void ListExact(Stream& stream, const PartTable& table, const RoutingRef& routing,
               const ExchangeHeader& header, ExchangeProgress* progress, const ExactLists& lists);

// to[i] = the i-th row of x that goes to another part, parts in order; `total` of them.
void PackRows(Stream& stream, const PartTable& table, const MatrixRef& x, const ExactLists& lists,
              int64_t total, void* to);

// What came: headers of all parts, rows of the other parts side by side (ours are in x), choices of
// all parts side by side.
struct ExactArrivals {
  const ExchangeHeader* headers = nullptr;  // [parts]
  const void* rows = nullptr;
  const ExactChoice* choices = nullptr;
  int64_t total = 0;  // choices
};
// One row for each choice, in the order in which they came: to [total, H] of the type of x, out
// [total, 1].
void ExpandRows(Stream& stream, const PartTable& table, const MatrixRef& x, const ExactLists& lists,
                const ExactArrivals& arrivals, ExchangeVerdict* verdict, ExchangeProgress* progress,
                void* to, const RoutingRef& out);

// ---- Both ----

// expert_rows[c] = the row of `returned` with the result of choice c, for choices of action 1.
// lists == nullptr: fixed, results of part p start at p * rows * k, by choice; else they lie side
// by side in the order of the lists.
void PlaceReturned(Stream& stream, const PartTable& table, const RoutingRef& routing,
                   const float* returned, const ExactLists* lists, int64_t hidden,
                   ExchangeProgress* progress, float* expert_rows);

}  // namespace folkmoot::cuda
