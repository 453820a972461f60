// SPDX-License-Identifier: Apache-2.0
// The exchange of one rank, the one by messages, and the choice among them.
#include "parallel/column_exchange.h"

#include <array>
#include <cstring>
#include <vector>

#include "runtime/check.h"
#include "runtime/workspace.h"

namespace folkmoot {
namespace {

// Two workspaces in turn: matrices of one Gather stay while those of the next are taken.
class LoneColumns : public ColumnExchange {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }

  Matrix Take(int64_t rows, const ColumnSplit& split) override {
    FM_CHECK(split.ranks() == size());
    return memory_[turn_].GetMatrix(rows, split.cols());
  }
  absl::Status Gather(const WaitLabel& /*label*/) override {
    NextTurn();
    return absl::OkStatus();
  }

 protected:
  Workspace& memory() { return memory_[turn_]; }
  void NextTurn() {
    turn_ = 1 - turn_;
    memory_[turn_].Reset();
  }

 private:
  std::array<Workspace, 2> memory_;
  size_t turn_ = 0;
};

// Each rank packs its columns of all matrices into one message for everybody.
class MessageColumns final : public LoneColumns {
 public:
  explicit MessageColumns(Communicator& comm)
      : comm_(comm),
        send_(static_cast<size_t>(comm.size())),
        recv_(send_.size()),
        from_(send_.size()) {}

  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }

  Matrix Take(int64_t rows, const ColumnSplit& split) override {
    const Matrix all = LoneColumns::Take(rows, split);
    taken_.push_back({all, &split});
    return all;
  }

  absl::Status Gather(const WaitLabel& label) override {
    for (int q = 0; q < size(); ++q) {
      const auto peer = static_cast<size_t>(q);
      from_[peer] = memory().Get<float>(Floats(q));
      recv_[peer] = std::as_writable_bytes(from_[peer]);
    }
    recv_[static_cast<size_t>(rank())] = {};
    const std::span<float> mine = from_[static_cast<size_t>(rank())];
    float* at = mine.data();
    for (const Taken& taken : taken_) at = CopyColumns<true>(taken, rank(), at);
    for (ConstBytes& send : send_) send = std::as_bytes(mine);
    send_[static_cast<size_t>(rank())] = {};
    FM_ASSIGN_OR_RETURN(const Exchange exchange, comm_.Start(send_, recv_, label));
    FM_RETURN_IF_ERROR(comm_.Wait(exchange));
    for (int q = 0; q < size(); ++q) {
      if (q == rank()) continue;
      float* from = from_[static_cast<size_t>(q)].data();
      for (const Taken& taken : taken_) from = CopyColumns<false>(taken, q, from);
    }
    taken_.clear();
    NextTurn();
    return absl::OkStatus();
  }

 private:
  struct Taken {
    Matrix all;
    const ColumnSplit* split;
  };

  int64_t Floats(int q) const {
    int64_t floats = 0;
    for (const Taken& taken : taken_) floats += taken.all.rows * taken.split->width(q);
    return floats;
  }

  // Copies the columns of rank q to (kPack) or from a message; returns the message's rest.
  template <bool kPack>
  static float* CopyColumns(const Taken& taken, int q, float* message) {
    const Matrix columns = taken.all.Columns(taken.split->begin(q), taken.split->width(q));
    if (columns.cols == 0) return message;
    const size_t bytes = static_cast<size_t>(columns.cols) * sizeof(float);
    for (int64_t r = 0; r < columns.rows; ++r, message += columns.cols) {
      float* row = columns.Row(r);
      std::memcpy(kPack ? message : row, kPack ? row : message, bytes);
    }
    return message;
  }

  Communicator& comm_;
  std::vector<Taken> taken_;
  std::vector<ConstBytes> send_;
  std::vector<MutableBytes> recv_;
  std::vector<std::span<float>> from_;
};

}  // namespace

std::unique_ptr<ColumnExchange> MakeLoneColumns() { return std::make_unique<LoneColumns>(); }

std::unique_ptr<ColumnExchange> MakeMessageColumns(Communicator& comm) {
  return std::make_unique<MessageColumns>(comm);
}

absl::StatusOr<std::unique_ptr<ColumnExchange>> MakeColumnExchange(ColumnsKind kind,
                                                                   Communicator& comm,
                                                                   int64_t floats, bool spin) {
  if (comm.size() == 1) return MakeLoneColumns();
  if (kind != ColumnsKind::kMessages) {
    FM_ASSIGN_OR_RETURN(std::unique_ptr<ColumnExchange> shared,
                        MakeSharedColumns(comm, floats, spin));
    if (shared != nullptr) return shared;
    if (kind == ColumnsKind::kShared) {
      return Unavailable("the ranks cannot share memory: they are not on one host");
    }
  }
  return MakeMessageColumns(comm);
}

}  // namespace folkmoot
