// SPDX-License-Identifier: Apache-2.0
// See the drawing in the header. Main functions, in the order of a flight: StartDispatch (counts,
// then messages on their way), FinishDispatch (FillBatch), StartCombine, FinishCombine.
#include "parallel/all_to_all_dispatcher.h"

#include <algorithm>
#include <vector>

#include "parallel/combine.h"
#include "parallel/dispatch_header.h"
#include "parallel/grow_buffer.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

// What a message says about one choice.
struct Choice {
  int32_t row;   // of the packet; for the rank itself: of x
  int32_t slot;  // expert slot on the receiver
  float weight;
};

constexpr int64_t kAlignment = 64;

int64_t RowBytes(int64_t rows, int64_t hidden) {
  return rows * hidden * static_cast<int64_t>(sizeof(float));
}
int64_t ChoiceBytes(int64_t choices) { return choices * static_cast<int64_t>(sizeof(Choice)); }
int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
size_t Index(int64_t i) { return static_cast<size_t>(i); }

MutableBytes Range(std::byte* data, int64_t bytes) { return {data, Index(bytes)}; }

// A message in memory. For the rank itself, rows is the unpacked x and travels nowhere.
struct Packet {
  float* rows = nullptr;
  Choice* choices = nullptr;
};

Packet PacketAt(std::byte* data, int64_t rows, int64_t hidden) {
  return {reinterpret_cast<float*>(data), reinterpret_cast<Choice*>(data + RowBytes(rows, hidden))};
}

enum class Stage { kIdle, kDispatching, kComputing, kCombining };

}  // namespace

// Vectors indexed by rank unless said otherwise. They and the buffers keep their memory.
struct AllToAllDispatcher::Handle final : DispatchHandle {
  Stage stage = Stage::kIdle;
  ConstMatrix x;
  Routing routing;
  ConstMatrix expert_out;
  WaitLabel label;
  Exchange exchange;
  std::vector<DispatchHeader> sent;      // what goes to each rank
  std::vector<DispatchHeader> received;  // what comes from each rank
  std::vector<ConstBytes> send;
  std::vector<MutableBytes> recv;
  std::vector<Packet> out_packets;
  std::vector<Packet> in_packets;
  std::vector<int64_t> next;  // scratch
  std::vector<int64_t> last;  // scratch
  GrowBuffer outgoing;
  GrowBuffer incoming;
  GrowBuffer batch;
  std::vector<int64_t> offsets;       // [local slots + 1]
  std::vector<int64_t> slot_next;     // [local slots], scratch
  std::vector<int64_t> choice_start;  // [ranks + 1], index of the first choice from each rank
  std::vector<int64_t> row_of;        // [received choices], row in the batch
  GrowBuffer results_out;
  GrowBuffer results_in;
  std::vector<const float*> result_of;  // [T * K], for the combine
};

AllToAllDispatcher::AllToAllDispatcher(Communicator& comm, const ExpertPlacement& placement)
    : comm_(comm), placement_(placement), placement_fingerprint_(placement.Fingerprint()) {
  FM_CHECK(placement.ranks() == comm.size());
}

std::unique_ptr<DispatchHandle> AllToAllDispatcher::MakeHandle() {
  return std::make_unique<Handle>();
}

AllToAllDispatcher::Handle& AllToAllDispatcher::Cast(DispatchHandle& handle) {
  return static_cast<Handle&>(handle);
}

// Rows and choices for each rank. A token counts as a row once per rank.
void AllToAllDispatcher::CountChoices(Handle& flight) const {
  DispatchHeader header;
  header.step = flight.label.step;
  header.layer = flight.label.layer;
  header.hidden = static_cast<int32_t>(flight.x.cols);
  header.weight_on_input = flight.routing.weight_on_input ? 1 : 0;
  header.placement = placement_fingerprint_;
  flight.sent.assign(Index(comm_.size()), header);
  flight.last.assign(flight.sent.size(), -1);
  const Routing& routing = flight.routing;
  for (int64_t t = 0; t < routing.tokens; ++t) {
    for (int64_t k = 0; k < routing.top_k; ++k) {
      const size_t choice = Index(t * routing.top_k + k);
      if (routing.action[choice] != SlotAction::kExpert) continue;
      const size_t to = Index(placement_.rank_of(routing.expert[choice]));
      ++flight.sent[to].choices;
      if (flight.last[to] != t) ++flight.sent[to].rows;
      flight.last[to] = t;
    }
  }
}

void AllToAllDispatcher::PackPackets(Handle& flight) const {
  const int64_t hidden = flight.x.cols;
  const size_t me = Index(comm_.rank());
  const size_t ranks = flight.sent.size();
  int64_t total = 0;
  for (size_t q = 0; q < ranks; ++q) {
    total += Aligned(RowBytes(flight.sent[q].rows, hidden) + ChoiceBytes(flight.sent[q].choices));
  }
  std::byte* at = flight.outgoing.Get(total);
  flight.send.assign(ranks, {});
  flight.out_packets.resize(ranks);
  for (size_t q = 0; q < ranks; ++q) {
    const DispatchHeader& header = flight.sent[q];
    const int64_t rows = q == me ? 0 : header.rows;
    const int64_t bytes = RowBytes(rows, hidden) + ChoiceBytes(header.choices);
    flight.out_packets[q] = PacketAt(at, rows, hidden);
    if (q != me) flight.send[q] = Range(at, bytes);
    at += Aligned(bytes);
  }

  const Routing& routing = flight.routing;
  flight.next.assign(ranks, 0);   // choices written
  flight.last.assign(ranks, -1);  // token written last
  for (int64_t t = 0; t < routing.tokens; ++t) {
    for (int64_t k = 0; k < routing.top_k; ++k) {
      const size_t choice = Index(t * routing.top_k + k);
      if (routing.action[choice] != SlotAction::kExpert) continue;
      const int expert = routing.expert[choice];
      const size_t to = Index(placement_.rank_of(expert));
      const Packet& packet = flight.out_packets[to];
      // The choices of one token for one rank follow each other, so the row written last is the
      // token's own or the one before it.
      const int64_t written = flight.next[to]++;
      int64_t row = t;
      if (to != me) {
        const bool first = flight.last[to] != t;
        row = written == 0 ? 0 : packet.choices[written - 1].row + (first ? 1 : 0);
        if (first) {
          CopyExpertRow(flight.x.Row(t), hidden, false, 1.0f, packet.rows + row * hidden);
        }
        flight.last[to] = t;
      }
      packet.choices[written] = {static_cast<int32_t>(row), placement_.slot_of(expert),
                                 routing.weight[choice]};
    }
  }
}

absl::Status AllToAllDispatcher::ExchangeCounts(Handle& flight) const {
  const size_t ranks = flight.sent.size();
  flight.received.resize(ranks);
  flight.send.resize(ranks);
  flight.recv.resize(ranks);
  for (size_t q = 0; q < ranks; ++q) {
    flight.send[q] = std::as_bytes(std::span(&flight.sent[q], 1));
    flight.recv[q] = std::as_writable_bytes(std::span(&flight.received[q], 1));
  }
  flight.label.phase = "dispatch counts";
  FM_ASSIGN_OR_RETURN(flight.exchange, comm_.Start(flight.send, flight.recv, flight.label));
  PackPackets(flight);  // while the counts travel
  FM_RETURN_IF_ERROR(comm_.Wait(flight.exchange));
  const DispatchHeader& mine = flight.sent[Index(comm_.rank())];
  for (size_t q = 0; q < ranks; ++q) {
    FM_RETURN_IF_ERROR(
        CheckSamePlan(comm_.rank(), mine, static_cast<int>(q), flight.received[q], flight.label));
  }
  return absl::OkStatus();
}

// Lays out the memory for the messages to come, by their counts.
void AllToAllDispatcher::PrepareReceive(Handle& flight) const {
  const int64_t hidden = flight.x.cols;
  const size_t me = Index(comm_.rank());
  const size_t ranks = flight.sent.size();
  int64_t total = 0;
  for (size_t q = 0; q < ranks; ++q) {
    const DispatchHeader& header = flight.received[q];
    total += Aligned(RowBytes(header.rows, hidden) + ChoiceBytes(header.choices));
  }
  std::byte* at = flight.incoming.Get(total);
  flight.recv.assign(ranks, {});
  flight.in_packets.resize(ranks);
  flight.choice_start.assign(ranks + 1, 0);
  for (size_t q = 0; q < ranks; ++q) {
    const DispatchHeader& header = flight.received[q];
    flight.choice_start[q + 1] = flight.choice_start[q] + header.choices;
    if (q == me) {
      flight.in_packets[q] = flight.out_packets[q];
      continue;
    }
    const int64_t bytes = RowBytes(header.rows, hidden) + ChoiceBytes(header.choices);
    flight.in_packets[q] = PacketAt(at, header.rows, hidden);
    flight.recv[q] = Range(at, bytes);
    at += Aligned(bytes);
  }
}

absl::Status AllToAllDispatcher::StartDispatch(ConstMatrix x, const Routing& routing,
                                               const WaitLabel& label, DispatchHandle& handle) {
  CheckRouting(x, routing, placement_.experts());
  Handle& flight = Cast(handle);
  flight.stage = Stage::kIdle;  // a flight that failed is over
  flight.x = x;
  flight.routing = routing;
  flight.label = label;
  CountChoices(flight);
  FM_RETURN_IF_ERROR(ExchangeCounts(flight));
  PrepareReceive(flight);
  flight.label.phase = "dispatch";
  FM_ASSIGN_OR_RETURN(flight.exchange, comm_.Start(flight.send, flight.recv, flight.label));
  flight.stage = Stage::kDispatching;
  return absl::OkStatus();
}

// Sets offsets by the received choices, which a broken peer may have got wrong.
absl::Status AllToAllDispatcher::CountBatch(Handle& flight) const {
  const size_t slots = placement_.experts_of(comm_.rank()).size();
  flight.offsets.assign(slots + 1, 0);
  for (size_t q = 0; q < flight.received.size(); ++q) {
    const int64_t rows = q == Index(comm_.rank()) ? flight.x.rows : flight.received[q].rows;
    for (int64_t i = 0; i < flight.received[q].choices; ++i) {
      const Choice& choice = flight.in_packets[q].choices[i];
      if (choice.slot < 0 || Index(choice.slot) >= slots || choice.row < 0 || choice.row >= rows) {
        return DataLoss(
            "{}: rank {} sent a choice that does not exist: row {} of {}, slot {} of {}",
            WaitName(comm_.rank(), flight.label), q, choice.row, rows, choice.slot, slots);
      }
      ++flight.offsets[Index(choice.slot) + 1];
    }
  }
  for (size_t s = 0; s < slots; ++s) flight.offsets[s + 1] += flight.offsets[s];
  return absl::OkStatus();
}

Matrix AllToAllDispatcher::FillBatch(Handle& flight) const {
  const int64_t hidden = flight.x.cols;
  const size_t me = Index(comm_.rank());
  const int64_t total = flight.offsets.back();
  const Matrix rows(flight.batch.GetFloats(total * hidden), total, hidden);
  flight.slot_next.assign(flight.offsets.begin(), flight.offsets.end() - 1);
  flight.row_of.resize(Index(flight.choice_start.back()));
  for (size_t q = 0; q < flight.received.size(); ++q) {
    const bool weight_on_input = flight.received[q].weight_on_input != 0;
    for (int64_t i = 0; i < flight.received[q].choices; ++i) {
      const Choice& choice = flight.in_packets[q].choices[i];
      const int64_t row = flight.slot_next[Index(choice.slot)]++;
      flight.row_of[Index(flight.choice_start[q] + i)] = row;
      const float* from =
          q == me ? flight.x.Row(choice.row) : flight.in_packets[q].rows + choice.row * hidden;
      CopyExpertRow(from, hidden, weight_on_input, choice.weight, rows.Row(row));
    }
  }
  return rows;
}

absl::StatusOr<ExpertBatch> AllToAllDispatcher::FinishDispatch(DispatchHandle& handle) {
  Handle& flight = Cast(handle);
  FM_CHECK(flight.stage == Stage::kDispatching);
  FM_RETURN_IF_ERROR(comm_.Wait(flight.exchange));
  FM_RETURN_IF_ERROR(CountBatch(flight));
  flight.stage = Stage::kComputing;
  return ExpertBatch{FillBatch(flight), flight.offsets};
}

absl::Status AllToAllDispatcher::StartCombine(ConstMatrix expert_out, DispatchHandle& handle) {
  Handle& flight = Cast(handle);
  const int64_t hidden = flight.x.cols;
  const size_t me = Index(comm_.rank());
  FM_CHECK(flight.stage == Stage::kComputing);
  FM_CHECK(expert_out.rows == flight.offsets.back() && expert_out.cols == hidden);
  flight.expert_out = expert_out;
  int64_t results = 0;
  for (const DispatchHeader& header : flight.sent) results += header.choices;
  std::byte* out = flight.results_out.Get(RowBytes(flight.choice_start.back(), hidden));
  std::byte* in = flight.results_in.Get(RowBytes(results, hidden));
  for (size_t q = 0; q < flight.sent.size(); ++q) {
    flight.send[q] = {};
    flight.recv[q] = {};
    if (q == me) continue;  // the owner's own results are read where they are
    const int64_t answers = flight.received[q].choices;
    const Matrix rows(reinterpret_cast<float*>(out), answers, hidden);
    for (int64_t i = 0; i < answers; ++i) {
      const int64_t row = flight.row_of[Index(flight.choice_start[q] + i)];
      CopyExpertRow(expert_out.Row(row), hidden, false, 1.0f, rows.Row(i));
    }
    flight.send[q] = Range(out, RowBytes(answers, hidden));
    flight.recv[q] = Range(in, RowBytes(flight.sent[q].choices, hidden));
    out += flight.send[q].size();
    in += flight.recv[q].size();
  }
  flight.label.phase = "combine";
  FM_ASSIGN_OR_RETURN(flight.exchange, comm_.Start(flight.send, flight.recv, flight.label));
  flight.stage = Stage::kCombining;
  return absl::OkStatus();
}

absl::Status AllToAllDispatcher::FinishCombine(DispatchHandle& handle, Matrix out) {
  Handle& flight = Cast(handle);
  FM_CHECK(flight.stage == Stage::kCombining);
  FM_RETURN_IF_ERROR(comm_.Wait(flight.exchange));
  const Routing& routing = flight.routing;
  const size_t me = Index(comm_.rank());
  flight.result_of.assign(Index(routing.tokens * routing.top_k), nullptr);
  flight.next.assign(flight.sent.size(), 0);
  for (size_t choice = 0; choice < flight.result_of.size(); ++choice) {
    if (routing.action[choice] != SlotAction::kExpert) continue;
    const size_t from = Index(placement_.rank_of(routing.expert[choice]));
    const int64_t answer = flight.next[from]++;
    flight.result_of[choice] =
        from == me
            ? flight.expert_out.Row(flight.row_of[Index(flight.choice_start[me] + answer)])
            : reinterpret_cast<const float*>(flight.recv[from].data()) + answer * flight.x.cols;
  }
  CombineRows(flight.x, routing, flight.result_of, out);
  flight.stage = Stage::kIdle;
  return absl::OkStatus();
}

}  // namespace folkmoot
