// SPDX-License-Identifier: Apache-2.0
// Every rank knows every choice, so each computes for itself where every row lies on every rank:
// no metadata returns with the results. Main functions: FinishDispatch (the layout), FinishCombine.
#include "parallel/all_gather_dispatcher.h"

#include <cstring>
#include <vector>

#include "parallel/combine.h"
#include "parallel/dispatch_header.h"
#include "parallel/grow_buffer.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

// A choice of a token, as all ranks see it: expert -1 for all but kExpert.
struct SharedChoice {
  int32_t token;
  int32_t expert;
  float weight;
};

struct GatherHandle final : DispatchHandle {
  ConstMatrix x;
  Routing routing;
  WaitLabel label;
  Exchange exchange;
  std::vector<DispatchHeader> headers;  // [ranks]
  GrowBuffer message;                   // this rank's rows, then choices
  std::vector<std::byte*> messages;     // [ranks], in `gathered`
  GrowBuffer gathered;
  GrowBuffer rows;
  std::vector<int64_t> offsets;       // [local slots + 1]
  std::vector<int64_t> expert_start;  // [experts], the expert's first row on its rank
  std::vector<int64_t> next;          // [experts], scratch
  std::vector<int64_t> rank_rows;     // [ranks], rows of the batch of each rank
  std::vector<int64_t> row_of;        // [T * K], the row of a choice of ours on its expert's rank
  GrowBuffer packed_out;
  GrowBuffer gathered_out;
  std::vector<const float*> outs;  // [T * K]
  std::vector<ConstBytes> send;
  std::vector<MutableBytes> recv;
};

GatherHandle& Cast(DispatchHandle& handle) { return static_cast<GatherHandle&>(handle); }

int64_t RowBytes(int64_t rows, int64_t hidden) {
  return rows * hidden * static_cast<int64_t>(sizeof(float));
}
int64_t MessageBytes(const DispatchHeader& header) {
  return RowBytes(header.rows, header.hidden) +
         header.choices * static_cast<int64_t>(sizeof(SharedChoice));
}
MutableBytes Range(std::byte* data, int64_t bytes) { return {data, static_cast<size_t>(bytes)}; }

const SharedChoice* ChoicesOf(const GatherHandle& flight, size_t rank) {
  const DispatchHeader& header = flight.headers[rank];
  return reinterpret_cast<const SharedChoice*>(flight.messages[rank] +
                                               RowBytes(header.rows, header.hidden));
}

std::byte* PackMessage(GatherHandle& flight, const DispatchHeader& header) {
  std::byte* message = flight.message.Get(MessageBytes(header));
  const Matrix rows(reinterpret_cast<float*>(message), header.rows, header.hidden);
  for (int64_t t = 0; t < header.rows; ++t) {
    CopyExpertRow(flight.x.Row(t), header.hidden, /*weight_on_input=*/false, 1.0f, rows.Row(t));
  }
  auto* choices = reinterpret_cast<SharedChoice*>(message + RowBytes(header.rows, header.hidden));
  const Routing& routing = flight.routing;
  for (int64_t i = 0; i < header.choices; ++i) {
    const size_t choice = static_cast<size_t>(i);
    const bool kept = routing.action[choice] == SlotAction::kExpert;
    choices[i] = {static_cast<int32_t>(i / routing.top_k), kept ? routing.expert[choice] : -1,
                  routing.weight[choice]};
  }
  return message;
}

}  // namespace

AllGatherDispatcher::AllGatherDispatcher(Communicator& comm, const ExpertPlacement& placement)
    : comm_(comm), placement_(placement) {
  FM_CHECK(placement.ranks() == comm.size());
}

std::unique_ptr<DispatchHandle> AllGatherDispatcher::MakeHandle() {
  return std::make_unique<GatherHandle>();
}

absl::Status AllGatherDispatcher::StartDispatch(ConstMatrix x, const Routing& routing,
                                                const WaitLabel& label, DispatchHandle& handle) {
  CheckRouting(x, routing, placement_.experts());
  GatherHandle& flight = Cast(handle);
  const size_t ranks = static_cast<size_t>(comm_.size());
  flight.x = x;
  flight.routing = routing;
  flight.label = label;
  DispatchHeader mine;
  mine.step = label.step;
  mine.layer = label.layer;
  mine.hidden = static_cast<int32_t>(x.cols);
  mine.placement = placement_.Fingerprint();
  mine.rows = x.rows;
  mine.choices = x.rows * routing.top_k;
  mine.weight_on_input = routing.weight_on_input ? 1 : 0;
  flight.headers.resize(ranks);
  WaitLabel counts_label = label;
  counts_label.phase = "dispatch counts";
  FM_RETURN_IF_ERROR(AllGather(comm_, std::as_bytes(std::span(&mine, 1)),
                               std::as_writable_bytes(std::span(flight.headers)), counts_label));

  int64_t total = 0;
  for (size_t q = 0; q < ranks; ++q) {
    FM_RETURN_IF_ERROR(
        CheckSamePlan(comm_.rank(), mine, static_cast<int>(q), flight.headers[q], counts_label));
    total += MessageBytes(flight.headers[q]);
  }
  std::byte* next = flight.gathered.Get(total);
  flight.messages.resize(ranks);
  flight.recv.resize(ranks);
  for (size_t q = 0; q < ranks; ++q) {
    const int64_t bytes = MessageBytes(flight.headers[q]);
    flight.messages[q] = next;
    flight.recv[q] = Range(next, bytes);
    next += bytes;
  }
  flight.send.assign(ranks, Range(PackMessage(flight, mine), MessageBytes(mine)));
  flight.label.phase = "dispatch";
  FM_ASSIGN_OR_RETURN(flight.exchange, comm_.Start(flight.send, flight.recv, flight.label));
  return absl::OkStatus();
}

absl::StatusOr<ExpertBatch> AllGatherDispatcher::FinishDispatch(DispatchHandle& handle) {
  GatherHandle& flight = Cast(handle);
  FM_RETURN_IF_ERROR(comm_.Wait(flight.exchange));
  const size_t ranks = static_cast<size_t>(comm_.size());
  const int me = comm_.rank();
  const int64_t hidden = flight.x.cols;

  // Rows per expert, over all ranks.
  flight.next.assign(static_cast<size_t>(placement_.experts()), 0);
  for (size_t q = 0; q < ranks; ++q) {
    const SharedChoice* choices = ChoicesOf(flight, q);
    for (int64_t i = 0; i < flight.headers[q].choices; ++i) {
      if (choices[i].expert >= placement_.experts() || choices[i].token < 0 ||
          choices[i].token >= flight.headers[q].rows) {
        return DataLoss("{}: rank {} sent a choice that does not exist", WaitName(me, flight.label),
                        q);
      }
      if (choices[i].expert >= 0) ++flight.next[static_cast<size_t>(choices[i].expert)];
    }
  }
  // The layout of the batch of every rank.
  flight.expert_start.assign(flight.next.size(), 0);
  flight.rank_rows.assign(ranks, 0);
  for (int q = 0; q < comm_.size(); ++q) {
    int64_t& rows = flight.rank_rows[static_cast<size_t>(q)];
    if (q == me) flight.offsets.assign(1, 0);
    for (const int expert : placement_.experts_of(q)) {
      flight.expert_start[static_cast<size_t>(expert)] = rows;
      rows += flight.next[static_cast<size_t>(expert)];
      if (q == me) flight.offsets.push_back(rows);
    }
  }
  // The rows of this rank's experts, and where the choices of this rank's tokens went.
  flight.next = flight.expert_start;
  flight.row_of.clear();
  const int64_t total = flight.rank_rows[static_cast<size_t>(me)];
  const Matrix batch(flight.rows.GetFloats(total * hidden), total, hidden);
  for (size_t q = 0; q < ranks; ++q) {
    const SharedChoice* choices = ChoicesOf(flight, q);
    const auto* x = reinterpret_cast<const float*>(flight.messages[q]);
    for (int64_t i = 0; i < flight.headers[q].choices; ++i) {
      const int32_t expert = choices[i].expert;
      const int64_t row = expert < 0 ? -1 : flight.next[static_cast<size_t>(expert)]++;
      if (q == static_cast<size_t>(me)) flight.row_of.push_back(row);
      if (expert < 0 || placement_.rank_of(expert) != me) continue;
      CopyExpertRow(x + choices[i].token * hidden, hidden, flight.headers[q].weight_on_input != 0,
                    choices[i].weight, batch.Row(row));
    }
  }
  return ExpertBatch{batch, flight.offsets};
}

absl::Status AllGatherDispatcher::StartCombine(ConstMatrix expert_out, DispatchHandle& handle) {
  GatherHandle& flight = Cast(handle);
  const int64_t hidden = flight.x.cols;
  FM_CHECK(expert_out.rows == flight.offsets.back() && expert_out.cols == hidden);
  const Matrix packed(flight.packed_out.GetFloats(expert_out.rows * hidden), expert_out.rows,
                      hidden);
  for (int64_t r = 0; r < packed.rows; ++r) {
    CopyExpertRow(expert_out.Row(r), hidden, /*weight_on_input=*/false, 1.0f, packed.Row(r));
  }
  int64_t total = 0;
  for (const int64_t rows : flight.rank_rows) total += rows;
  std::byte* next = flight.gathered_out.Get(RowBytes(total, hidden));
  for (size_t q = 0; q < flight.recv.size(); ++q) {
    flight.recv[q] = Range(next, RowBytes(flight.rank_rows[q], hidden));
    next += RowBytes(flight.rank_rows[q], hidden);
  }
  flight.send.assign(flight.recv.size(), Range(reinterpret_cast<std::byte*>(packed.data),
                                               RowBytes(packed.rows, hidden)));
  flight.label.phase = "combine";
  FM_ASSIGN_OR_RETURN(flight.exchange, comm_.Start(flight.send, flight.recv, flight.label));
  return absl::OkStatus();
}

absl::Status AllGatherDispatcher::FinishCombine(DispatchHandle& handle, Matrix out) {
  GatherHandle& flight = Cast(handle);
  FM_RETURN_IF_ERROR(comm_.Wait(flight.exchange));
  flight.outs.assign(flight.row_of.size(), nullptr);
  for (size_t choice = 0; choice < flight.outs.size(); ++choice) {
    if (flight.row_of[choice] < 0) continue;
    const int holder = placement_.rank_of(flight.routing.expert[choice]);
    flight.outs[choice] =
        reinterpret_cast<const float*>(flight.recv[static_cast<size_t>(holder)].data()) +
        flight.row_of[choice] * flight.x.cols;
  }
  CombineRows(flight.x, flight.routing, flight.outs, out);
  return absl::OkStatus();
}

}  // namespace folkmoot
