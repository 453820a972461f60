// SPDX-License-Identifier: Apache-2.0
#include "parallel/communicator.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

// Up to this many ranks a collective takes no memory from the heap.
constexpr size_t kInlineRanks = 32;
using SendList = absl::InlinedVector<ConstBytes, kInlineRanks>;
using RecvList = absl::InlinedVector<MutableBytes, kInlineRanks>;

// No string that ranks exchange comes near this; a greater length is a broken peer.
constexpr int64_t kMaxStringBytes = int64_t{1} << 36;

size_t Ranks(const Communicator& comm) { return static_cast<size_t>(comm.size()); }
size_t Index(int rank) { return static_cast<size_t>(rank); }

ConstBytes BytesOf(const std::string& text) { return std::as_bytes(std::span(text)); }
MutableBytes BytesOf(std::string& text) { return std::as_writable_bytes(std::span(text)); }
ConstBytes BytesOf(const int64_t& value) { return std::as_bytes(std::span(&value, 1)); }
MutableBytes BytesOf(int64_t& value) { return std::as_writable_bytes(std::span(&value, 1)); }

absl::Status Run(Communicator& comm, const SendList& send, const RecvList& recv,
                 const WaitLabel& label) {
  FM_ASSIGN_OR_RETURN(const Exchange exchange, comm.Start(send, recv, label));
  return comm.Wait(exchange);
}

absl::Status CheckLength(const Communicator& comm, int peer, int64_t length,
                         const WaitLabel& label) {
  if (length >= 0 && length <= kMaxStringBytes) return absl::OkStatus();
  return DataLoss("{}: rank {} announced a string of {} bytes", WaitName(comm.rank(), label), peer,
                  length);
}

}  // namespace

std::string WaitPlace(const WaitLabel& label) {
  std::string place;
  if (label.layer >= 0) place += fmt::format("layer {} ", label.layer);
  place += label.phase;
  if (label.step >= 0) place += fmt::format(" of step {}", label.step);
  return place;
}

std::string WaitName(int rank, const WaitLabel& label) {
  return fmt::format("rank {}: {}", rank, WaitPlace(label));
}

std::string FormatDuration(std::chrono::milliseconds duration) {
  const int64_t ms = duration.count();
  return ms % 1000 == 0 ? fmt::format("{} s", ms / 1000) : fmt::format("{} ms", ms);
}

std::string FormatRanks(const std::vector<int>& ranks) {
  if (ranks.size() == 1) return fmt::format("rank {}", ranks[0]);
  std::string text = "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

absl::Status Barrier(Communicator& comm, const WaitLabel& label) {
  if (comm.size() == 1) return absl::OkStatus();
  const std::byte token{1};
  absl::InlinedVector<std::byte, kInlineRanks> heard(Ranks(comm));
  const SendList send(Ranks(comm), ConstBytes(&token, 1));
  RecvList recv(Ranks(comm));
  for (size_t q = 0; q < recv.size(); ++q) recv[q] = MutableBytes(&heard[q], 1);
  return Run(comm, send, recv, label);
}

absl::Status Broadcast(Communicator& comm, int root, MutableBytes data, const WaitLabel& label) {
  FM_CHECK(root >= 0 && root < comm.size());
  if (comm.size() == 1) return absl::OkStatus();
  SendList send(Ranks(comm));
  RecvList recv(Ranks(comm));
  if (comm.rank() == root) {
    std::fill(send.begin(), send.end(), ConstBytes(data));
    send[Index(root)] = {};
  } else {
    recv[Index(root)] = data;
  }
  return Run(comm, send, recv, label);
}

absl::Status BroadcastString(Communicator& comm, int root, std::string* data,
                             const WaitLabel& label) {
  int64_t length = static_cast<int64_t>(data->size());
  FM_RETURN_IF_ERROR(Broadcast(comm, root, BytesOf(length), label));
  FM_RETURN_IF_ERROR(CheckLength(comm, root, length, label));
  data->resize(static_cast<size_t>(length));
  return Broadcast(comm, root, BytesOf(*data), label);
}

absl::Status AllGather(Communicator& comm, ConstBytes mine, MutableBytes all,
                       const WaitLabel& label) {
  FM_CHECK(all.size() == Ranks(comm) * mine.size());
  const SendList send(Ranks(comm), mine);
  RecvList recv(Ranks(comm));
  for (size_t q = 0; q < recv.size(); ++q) recv[q] = all.subspan(q * mine.size(), mine.size());
  return Run(comm, send, recv, label);
}

absl::StatusOr<std::vector<std::string>> AllGatherStrings(Communicator& comm,
                                                          const std::string& mine,
                                                          const WaitLabel& label) {
  const int64_t length = static_cast<int64_t>(mine.size());
  std::vector<int64_t> lengths(Ranks(comm));
  FM_RETURN_IF_ERROR(
      AllGather(comm, BytesOf(length), std::as_writable_bytes(std::span(lengths)), label));
  std::vector<std::string> all(Ranks(comm));
  const SendList send(Ranks(comm), BytesOf(mine));
  RecvList recv(Ranks(comm));
  for (size_t q = 0; q < all.size(); ++q) {
    FM_RETURN_IF_ERROR(CheckLength(comm, static_cast<int>(q), lengths[q], label));
    all[q].resize(static_cast<size_t>(lengths[q]));
    recv[q] = BytesOf(all[q]);
  }
  FM_RETURN_IF_ERROR(Run(comm, send, recv, label));
  return all;
}

absl::StatusOr<std::vector<std::string>> GatherStrings(Communicator& comm, int root,
                                                       const std::string& mine,
                                                       const WaitLabel& label) {
  FM_CHECK(root >= 0 && root < comm.size());
  const bool at_root = comm.rank() == root;
  const int64_t length = static_cast<int64_t>(mine.size());
  std::vector<int64_t> lengths(Ranks(comm));
  SendList send(Ranks(comm));
  RecvList recv(Ranks(comm));
  send[Index(root)] = BytesOf(length);
  if (at_root) {
    for (size_t q = 0; q < recv.size(); ++q) recv[q] = BytesOf(lengths[q]);
  }
  FM_RETURN_IF_ERROR(Run(comm, send, recv, label));

  std::vector<std::string> all(Ranks(comm));
  send[Index(root)] = BytesOf(mine);
  if (at_root) {
    for (size_t q = 0; q < all.size(); ++q) {
      FM_RETURN_IF_ERROR(CheckLength(comm, static_cast<int>(q), lengths[q], label));
      all[q].resize(static_cast<size_t>(lengths[q]));
      recv[q] = BytesOf(all[q]);
    }
  }
  FM_RETURN_IF_ERROR(Run(comm, send, recv, label));
  return all;
}

}  // namespace folkmoot
