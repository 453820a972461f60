// SPDX-License-Identifier: Apache-2.0
// Matrices whose columns are computed by different ranks and read by all: what tensor-parallel
// layers talk through.
//
//   Matrix all = columns.Take(rows, split);       // on every rank
//   Gemm(..., columns.Mine(all, split));          // this rank's columns
//   columns.Gather(label);                        // now `all` is whole on every rank
//
// All ranks make the same calls in the same order with the same shapes. Whole columns of whole
// sums travel, so a gathered matrix has the bits of one that a single rank computed.
//
// Like every wait between ranks, Gather has a deadline, the communicator's, and a name; its errors
// are those of Communicator::Wait. One thread per rank uses an exchange.
#pragma once

#include <cstdint>
#include <memory>

#include "parallel/column_split.h"
#include "parallel/communicator.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace folkmoot {

class ColumnExchange {
 public:
  virtual ~ColumnExchange() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Memory for a matrix [rows, split.cols()], undefined until this rank and, by the next Gather,
  // the others have written their columns. It lives until the Gather after that one has returned:
  // what one Gather brought may be read while the next is prepared. `split` must outlive the next
  // Gather. Allocates only while it warms up.
  virtual Matrix Take(int64_t rows, const ColumnSplit& split) = 0;
  // Returns when the columns of all ranks are in all matrices taken since the last Gather. Whoever
  // calls it has no reader left of the matrices of the last one but this.
  virtual absl::Status Gather(const WaitLabel& label) = 0;

  // This rank's columns of a matrix from Take.
  Matrix Mine(const Matrix& all, const ColumnSplit& split) const {
    return all.Columns(split.begin(rank()), split.width(rank()));
  }
};

// One rank, which has all columns: Take hands out memory and Gather does nothing.
std::unique_ptr<ColumnExchange> MakeLoneColumns();

// Messages over `comm`, which must outlive the exchange: works across hosts.
std::unique_ptr<ColumnExchange> MakeMessageColumns(Communicator& comm);

// Memory that all ranks of a host share (parallel/shared_columns.cc), for at most `floats` values
// between two Gathers, rounded up per matrix to 64 bytes. Address space: a page takes memory
// when it is first written. Collective. Null on every rank where one of them cannot: another host
// or container, or no memory. `comm` carries bad news and must outlive the exchange. `spin`: every
// compute thread of this host has a core of its own.
absl::StatusOr<std::unique_ptr<ColumnExchange>> MakeSharedColumns(Communicator& comm,
                                                                  int64_t floats, bool spin);

enum class ColumnsKind { kAuto, kMessages, kShared };

// kAuto: shared where that can be, else messages. Alone where `comm` has one rank. Collective.
absl::StatusOr<std::unique_ptr<ColumnExchange>> MakeColumnExchange(ColumnsKind kind,
                                                                   Communicator& comm,
                                                                   int64_t floats, bool spin);

}  // namespace folkmoot
