// SPDX-License-Identifier: Apache-2.0
// See the drawing in the header. Main functions, in the order of a flight: DispatchFixed or
// DispatchExact (ExchangeCounts, ExchangeRows), then Return, and Wait once per step.
#include "parallel/nccl_dispatcher.h"

#include <algorithm>
#include <utility>

#include "parallel/dispatch_header.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

using cuda::ExactChoice;
using cuda::ExchangeHeader;
using cuda::ExchangeProgress;
using cuda::ExchangeVerdict;

constexpr int64_t kHeaderBytes = static_cast<int64_t>(sizeof(ExchangeHeader));
constexpr int64_t kChoiceBytes = static_cast<int64_t>(sizeof(ExactChoice));
constexpr int64_t kFloatBytes = static_cast<int64_t>(sizeof(float));

size_t Index(int64_t i) { return static_cast<size_t>(i); }

DeviceRange Range(const void* data, int64_t offset, int64_t bytes) {
  // NCCL sends from memory that it does not change.
  return {const_cast<std::byte*>(static_cast<const std::byte*>(data)) + offset, bytes};
}

DispatchHeader HostHeader(const ExchangeHeader& header) {
  return {.step = header.round,
          .layer = header.layer,
          .hidden = header.hidden,
          .placement = header.placement,
          .rows = header.rows,
          .choices = header.choices};
}

}  // namespace

bool NcclDispatcher::Received::Fits(const Sizes& sizes, int64_t row_bytes, int64_t hidden) const {
  return x.Fits(sizes.rows * row_bytes) && expert.Fits(sizes.choices * 4) &&
         out.Fits(sizes.choices * hidden * kFloatBytes) &&
         returned.Fits(sizes.returned * hidden * kFloatBytes) &&
         placed.Fits(sizes.own * hidden * kFloatBytes);
}

absl::Status NcclDispatcher::Received::Grow(const Sizes& sizes, int64_t row_bytes, int64_t hidden) {
  const int64_t result = hidden * kFloatBytes;
  FM_RETURN_IF_ERROR(x.Grow(sizes.rows * row_bytes));
  FM_RETURN_IF_ERROR(expert.Grow(sizes.choices * 4));
  FM_RETURN_IF_ERROR(weight.Grow(sizes.choices * 4));
  FM_RETURN_IF_ERROR(action.Grow(sizes.choices));
  FM_RETURN_IF_ERROR(out.Grow(sizes.choices * result));
  FM_RETURN_IF_ERROR(returned.Grow(sizes.returned * result));
  return placed.Grow(sizes.own * result);
}

cuda::RoutingRef NcclDispatcher::Received::Routing(int64_t rows, int k) const {
  cuda::RoutingRef routing;
  routing.rows = static_cast<int>(rows);
  routing.k = k;
  routing.expert = expert.As<int32_t>();
  routing.weight = weight.As<float>();
  routing.action = action.As<uint8_t>();
  return routing;
}

NcclDispatcher::NcclDispatcher(NcclCommunicator& comm, const ExpertPlacement& placement,
                               const DeviceDispatchLimits& limits)
    : comm_(comm),
      placement_(placement),
      limits_(limits),
      row_bytes_(limits.hidden * DTypeBytes(limits.dtype)) {
  FM_CHECK(placement.ranks() == comm.size());
  FM_CHECK(limits.hidden % 8 == 0 && limits.k > 0 && limits.fixed_rows >= 0);
}

absl::StatusOr<std::unique_ptr<NcclDispatcher>> NcclDispatcher::Create(
    NcclCommunicator& comm, const ExpertPlacement& placement, const DeviceDispatchLimits& limits,
    cuda::Stream& stream) {
  std::unique_ptr<NcclDispatcher> dispatcher(new NcclDispatcher(comm, placement, limits));
  if (absl::Status status = dispatcher->SetUp(stream); !status.ok()) return comm.Abandon(status);
  return dispatcher;
}

absl::Status NcclDispatcher::SetUp(cuda::Stream& stream) {
  using cuda::Memory;
  using cuda::MemoryKind;
  constexpr const char* kWhat = "the exchange of the ranks";
  const int64_t ranks = comm_.size();
  const int64_t experts = placement_.experts();
  FM_ASSIGN_OR_RETURN(part_of_, Memory::Allocate(std::max<int64_t>(experts, 1) * 4, kWhat));
  FM_ASSIGN_OR_RETURN(round_, Memory::Allocate(sizeof(int64_t), kWhat));
  FM_ASSIGN_OR_RETURN(verdict_, Memory::Allocate(sizeof(ExchangeVerdict), kWhat));
  FM_ASSIGN_OR_RETURN(headers_, Memory::Allocate(2 * ranks * kHeaderBytes, kWhat));
  FM_ASSIGN_OR_RETURN(progress_,
                      Memory::Allocate(sizeof(ExchangeProgress), kWhat, MemoryKind::kPinnedHost));
  FM_ASSIGN_OR_RETURN(read_,
                      Memory::Allocate(sizeof(ExchangeVerdict), kWhat, MemoryKind::kPinnedHost));
  FM_ASSIGN_OR_RETURN(counts_,
                      Memory::Allocate(2 * ranks * kHeaderBytes, kWhat, MemoryKind::kPinnedHost));
  *progress_.As<ExchangeProgress>() = {};
  *read_.As<ExchangeVerdict>() = {};

  const int64_t rows = limits_.fixed_rows;
  const int64_t choices = rows * limits_.k;
  FM_RETURN_IF_ERROR(fixed_.Grow({.rows = ranks * rows,
                                  .choices = ranks * choices,
                                  .returned = ranks * choices,
                                  .own = choices},
                                 row_bytes_, limits_.hidden));
  const int64_t block = cuda::FixedBlockBytes(limits_.fixed_rows, limits_.k);
  FM_RETURN_IF_ERROR(block_.Grow(block));
  FM_RETURN_IF_ERROR(blocks_.Grow(ranks * block));

  std::vector<int32_t> part_of;
  for (int e = 0; e < placement_.experts(); ++e) part_of.push_back(placement_.rank_of(e));
  cuda::CopyToDevice(stream, part_of_.data(), part_of.data(), experts * 4);
  cuda::FillZero(stream, round_.data(), sizeof(int64_t));
  cuda::FillZero(stream, verdict_.data(), sizeof(ExchangeVerdict));
  table_ = {part_of_.As<int32_t>(), placement_.experts(), comm_.size(), comm_.rank()};
  return stream.Synchronize();
}

int64_t NcclDispatcher::MaxChoices(DispatchSizes /*sizes*/, int rows) const {
  return int64_t{comm_.size()} * rows * limits_.k;
}

ExchangeHeader NcclDispatcher::Header(const DeviceDispatchInput& input) const {
  ExchangeHeader header;
  header.round = input.label.step;
  header.layer = input.label.layer;
  header.hidden = static_cast<int32_t>(limits_.hidden);
  header.placement = placement_.Fingerprint();
  header.rows = input.routing.rows;
  header.k = limits_.k;
  header.choices = int64_t{input.routing.rows} * limits_.k;
  return header;
}

absl::StatusOr<DeviceBatch> NcclDispatcher::Dispatch(cuda::Stream& stream,
                                                     const DeviceDispatchInput& input) {
  FM_CHECK(input.x.rows == input.routing.rows && input.routing.k == limits_.k);
  FM_CHECK(input.x.cols == limits_.hidden && input.x.dtype == limits_.dtype);
  input_ = input;
  return input.sizes == DispatchSizes::kFixed ? DispatchFixed(stream) : DispatchExact(stream);
}

absl::StatusOr<DeviceBatch> NcclDispatcher::DispatchFixed(cuda::Stream& stream) {
  const int rows = input_.routing.rows;
  FM_CHECK(rows > 0 && rows <= limits_.fixed_rows);
  FM_CHECK(input_.x.stride == limits_.hidden);
  const ExchangeHeader header = Header(input_);
  auto* progress = progress_.As<ExchangeProgress>();
  cuda::PackFixed(stream, input_.routing, header, round_.As<int64_t>(), progress,
                  block_.As<void>());
  const GatherPart parts[] = {
      {input_.x.data, fixed_.x.As<void>(), rows * row_bytes_},
      {block_.As<void>(), blocks_.As<void>(), cuda::FixedBlockBytes(rows, limits_.k)}};
  WaitLabel label = input_.label;
  label.phase = "dispatch";
  FM_RETURN_IF_ERROR(comm_.AllGather(stream, parts, label));
  const int64_t all_rows = int64_t{comm_.size()} * rows;
  DeviceBatch batch;
  batch.x = {fixed_.x.As<void>(), limits_.dtype, all_rows, limits_.hidden, limits_.hidden};
  batch.routing = fixed_.Routing(all_rows, limits_.k);
  batch.out = fixed_.out.As<float>();
  cuda::UnpackFixed(stream, table_, header, round_.As<int64_t>(), blocks_.As<void>(),
                    verdict_.As<ExchangeVerdict>(), progress, batch.routing);
  return batch;
}

cuda::ExactLists NcclDispatcher::ListsRef() const {
  return {lists_.rows.As<int32_t>(), lists_.choices.As<ExactChoice>(), lists_.index.As<int32_t>(),
          headers_.As<ExchangeHeader>()};
}

// Memory is only given back when the device is done with it; and it must not wait for that without
// a deadline, as the freeing call would.
absl::Status NcclDispatcher::GrowIdle(cuda::Stream& stream, DeviceBuffer& buffer, int64_t bytes) {
  if (buffer.Fits(bytes)) return absl::OkStatus();
  FM_RETURN_IF_ERROR(comm_.Wait(stream, [this] { return Whereabouts(input_.label); }));
  if (absl::Status status = buffer.Grow(bytes + bytes / 4); !status.ok()) {
    return comm_.Abandon(status);
  }
  return absl::OkStatus();
}

// After it, the counts of both sides are known here: counts_.
absl::Status NcclDispatcher::ExchangeCounts(cuda::Stream& stream) {
  const int64_t ranks = comm_.size();
  const int64_t rows = input_.routing.rows;
  FM_RETURN_IF_ERROR(GrowIdle(stream, lists_.rows, ranks * rows * 4));
  FM_RETURN_IF_ERROR(GrowIdle(stream, lists_.choices, ranks * rows * limits_.k * kChoiceBytes));
  FM_RETURN_IF_ERROR(GrowIdle(stream, lists_.index, rows * limits_.k * 4));
  cuda::ListExact(stream, table_, input_.routing, Header(input_), progress_.As<ExchangeProgress>(),
                  ListsRef());
  WaitLabel label = input_.label;
  label.phase = "dispatch counts";
  auto* headers = headers_.As<ExchangeHeader>();
  FM_RETURN_IF_ERROR(comm_.AllToAll(stream, headers, headers + ranks, kHeaderBytes, label));
  cuda::CopyToHost(stream, counts_.data(), headers, 2 * ranks * kHeaderBytes);
  FM_RETURN_IF_ERROR(comm_.Wait(stream, [&label] { return label; }));

  const auto* sent = counts_.As<ExchangeHeader>();
  for (int q = 0; q < comm_.size(); ++q) {
    const ExchangeHeader& theirs = sent[ranks + q];
    absl::Status same =
        CheckSamePlan(comm_.rank(), HostHeader(sent[q]), q, HostHeader(theirs), label);
    // More choices than rows can have would be read as lengths of memory.
    if (same.ok() && (theirs.choices > int64_t{theirs.rows} * limits_.k || theirs.k != limits_.k)) {
      same = DataLoss("{}: rank {} announced {} choices for {} rows", WaitName(comm_.rank(), label),
                      q, theirs.choices, theirs.rows);
    }
    if (!same.ok()) return comm_.Abandon(same);
  }
  return absl::OkStatus();
}

// The stream is idle.
absl::Status NcclDispatcher::FitExact(cuda::Stream& stream) {
  const int64_t ranks = comm_.size();
  const auto* sent = counts_.As<ExchangeHeader>();
  int64_t rows_out = 0;
  int64_t rows_in = 0;
  Received::Sizes sizes{};
  for (int64_t q = 0; q < ranks; ++q) {
    const ExchangeHeader& theirs = sent[ranks + q];
    sizes.choices += theirs.choices;
    sizes.returned += sent[q].choices;
    if (q == comm_.rank()) continue;
    rows_out += sent[q].rows;
    rows_in += theirs.rows;
  }
  sizes.rows = sizes.choices;  // a row for each
  sizes.own = int64_t{input_.routing.rows} * limits_.k;
  if (!exact_.Fits(sizes, row_bytes_, limits_.hidden)) {
    Received::Sizes more = sizes;
    for (int64_t* size : {&more.rows, &more.choices, &more.returned}) *size += *size / 4;
    if (absl::Status status = exact_.Grow(more, row_bytes_, limits_.hidden); !status.ok()) {
      return comm_.Abandon(status);
    }
  }
  FM_RETURN_IF_ERROR(GrowIdle(stream, lists_.packed, rows_out * row_bytes_));
  FM_RETURN_IF_ERROR(GrowIdle(stream, lists_.rows_in, rows_in * row_bytes_));
  FM_RETURN_IF_ERROR(GrowIdle(stream, lists_.choices_in, sizes.choices * kChoiceBytes));
  cuda::PackRows(stream, table_, input_.x, ListsRef(), rows_out, lists_.packed.As<void>());
  return absl::OkStatus();
}

absl::Status NcclDispatcher::ExchangeRows(cuda::Stream& stream) {
  const int64_t ranks = comm_.size();
  const int64_t list = int64_t{input_.routing.rows} * limits_.k * kChoiceBytes;
  const auto* sent = counts_.As<ExchangeHeader>();
  send_.assign(Index(2 * ranks), {});
  recv_.assign(Index(2 * ranks), {});
  int64_t packed = 0;
  int64_t row_at = 0;
  int64_t choice_at = 0;
  for (int64_t q = 0; q < ranks; ++q) {
    const ExchangeHeader& theirs = sent[ranks + q];
    if (q != comm_.rank()) {
      send_[Index(q)] = Range(lists_.packed.As<void>(), packed, sent[q].rows * row_bytes_);
      recv_[Index(q)] = Range(lists_.rows_in.As<void>(), row_at, theirs.rows * row_bytes_);
      packed += sent[q].rows * row_bytes_;
      row_at += theirs.rows * row_bytes_;
    }
    send_[Index(ranks + q)] =
        Range(lists_.choices.As<void>(), q * list, sent[q].choices * kChoiceBytes);
    recv_[Index(ranks + q)] =
        Range(lists_.choices_in.As<void>(), choice_at, theirs.choices * kChoiceBytes);
    choice_at += theirs.choices * kChoiceBytes;
  }
  WaitLabel label = input_.label;
  label.phase = "dispatch";
  return comm_.AllToAllV(stream, send_, recv_, label);
}

absl::StatusOr<DeviceBatch> NcclDispatcher::DispatchExact(cuda::Stream& stream) {
  FM_RETURN_IF_ERROR(ExchangeCounts(stream));
  FM_RETURN_IF_ERROR(FitExact(stream));
  FM_RETURN_IF_ERROR(ExchangeRows(stream));
  const auto* theirs = headers_.As<ExchangeHeader>() + comm_.size();
  const auto* counts = counts_.As<ExchangeHeader>() + comm_.size();
  cuda::ExactArrivals arrivals;
  arrivals.headers = theirs;
  arrivals.rows = lists_.rows_in.As<void>();
  arrivals.choices = lists_.choices_in.As<ExactChoice>();
  for (int q = 0; q < comm_.size(); ++q) arrivals.total += counts[q].choices;
  DeviceBatch batch;
  batch.x = {exact_.x.As<void>(), limits_.dtype, arrivals.total, limits_.hidden, limits_.hidden};
  batch.routing = exact_.Routing(arrivals.total, 1);
  batch.out = exact_.out.As<float>();
  cuda::ExpandRows(stream, table_, input_.x, ListsRef(), arrivals, verdict_.As<ExchangeVerdict>(),
                   progress_.As<ExchangeProgress>(), exact_.x.As<void>(), batch.routing);
  return batch;
}

absl::Status NcclDispatcher::ReturnExact(cuda::Stream& stream) {
  const int64_t ranks = comm_.size();
  const int64_t result = limits_.hidden * kFloatBytes;
  const auto* sent = counts_.As<ExchangeHeader>();
  send_.assign(Index(ranks), {});
  recv_.assign(Index(ranks), {});
  int64_t out_at = 0;
  int64_t in_at = 0;
  for (int64_t q = 0; q < ranks; ++q) {
    const int64_t out = sent[ranks + q].choices * result;
    const int64_t in = sent[q].choices * result;
    send_[Index(q)] = Range(exact_.out.As<void>(), out_at, out);
    recv_[Index(q)] = Range(exact_.returned.As<void>(), in_at, in);
    out_at += out;
    in_at += in;
  }
  WaitLabel label = input_.label;
  label.phase = "combine";
  return comm_.AllToAllV(stream, send_, recv_, label);
}

absl::StatusOr<const float*> NcclDispatcher::Return(cuda::Stream& stream) {
  auto* progress = progress_.As<ExchangeProgress>();
  if (input_.sizes == DispatchSizes::kExact) {
    FM_RETURN_IF_ERROR(ReturnExact(stream));
    const cuda::ExactLists lists = ListsRef();
    auto* placed = exact_.placed.As<float>();
    cuda::PlaceReturned(stream, table_, input_.routing, exact_.returned.As<float>(), &lists,
                        limits_.hidden, progress, placed);
    return placed;
  }
  WaitLabel label = input_.label;
  label.phase = "combine";
  const int64_t bytes = int64_t{input_.routing.rows} * limits_.k * limits_.hidden * kFloatBytes;
  FM_RETURN_IF_ERROR(
      comm_.AllToAll(stream, fixed_.out.As<void>(), fixed_.returned.As<void>(), bytes, label));
  auto* placed = fixed_.placed.As<float>();
  cuda::PlaceReturned(stream, table_, input_.routing, fixed_.returned.As<float>(), nullptr,
                      limits_.hidden, progress, placed);
  return placed;
}

WaitLabel NcclDispatcher::Whereabouts(const WaitLabel& label) const {
  const volatile ExchangeProgress* progress = progress_.As<ExchangeProgress>();
  const int phase = progress->phase;
  if (phase == 0) return label;
  return {
      .phase = phase == 1 ? "dispatch" : "combine", .layer = progress->layer, .step = label.step};
}

absl::Status NcclDispatcher::Judge(const WaitLabel& label) const {
  const auto& verdict = *read_.As<ExchangeVerdict>();
  if (verdict.differs == 0 && verdict.strange == 0) return absl::OkStatus();
  const ExchangeHeader& mine = verdict.mine;
  const ExchangeHeader& theirs = verdict.theirs;
  WaitLabel where = label;
  if (verdict.differs != 0) where = {.phase = "dispatch", .layer = mine.layer, .step = label.step};
  const std::string name = WaitName(comm_.rank(), where);
  const int part = verdict.differs - 1;
  if (verdict.differs == 0) {
    return DataLoss("{}: rank {} sent a choice that does not exist", name, verdict.strange - 1);
  }
  if (theirs.placement != mine.placement) {
    return DataLoss("{}: rank {} uses another expert placement; give all ranks the same one", name,
                    part);
  }
  if (theirs.hidden != mine.hidden || theirs.k != mine.k) {
    return DataLoss(
        "{}: rank {} has rows of {} numbers with {} experts each, this rank of {} with {}; do all "
        "ranks load the same model?",
        name, part, theirs.hidden, theirs.k, mine.hidden, mine.k);
  }
  return DataLoss(
      "{}: the ranks disagree about the plan: rank {} is at layer {} with {} rows in exchange {}, "
      "this rank at layer {} with {} rows in exchange {}",
      name, part, theirs.layer, theirs.rows, theirs.round, mine.layer, mine.rows, mine.round);
}

absl::Status NcclDispatcher::Wait(cuda::Stream& stream, const WaitLabel& label) {
  FM_RETURN_IF_ERROR(comm_.status());
  cuda::CopyToHost(stream, read_.data(), verdict_.data(), sizeof(ExchangeVerdict));
  FM_RETURN_IF_ERROR(comm_.Wait(stream, [&] { return Whereabouts(label); }));
  const absl::Status judged = Judge(label);
  return judged.ok() ? judged : comm_.Abandon(judged);
}

}  // namespace folkmoot
