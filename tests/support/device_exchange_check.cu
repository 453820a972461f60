// SPDX-License-Identifier: Apache-2.0
#include "tests/support/device_exchange_check.h"

#include <chrono>
#include <utility>
#include <vector>

#include "parallel/combine.h"
#include "parallel/nccl_dispatcher.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/platform.h"
#include "tests/support/routing_case.h"

namespace folkmoot {
namespace {

constexpr WaitLabel kLabel{.phase = "check", .layer = 1, .step = 7};
constexpr int kThreads = 128;

// Expert e multiplies by factor[e]; factor 0: an expert of another rank.
__global__ void ScaleExpertsKernel(DeviceBatch batch, const float* factor) {
  const int64_t choice = blockIdx.x;
  if (batch.routing.action[choice] != 1) return;
  const float scale = factor[batch.routing.expert[choice]];
  if (scale == 0.0f) return;
  const int64_t hidden = batch.x.cols;
  const float* x = static_cast<const float*>(batch.x.data) + choice / batch.routing.k * hidden;
  for (int64_t h = threadIdx.x; h < hidden; h += blockDim.x) {
    batch.out[choice * hidden + h] = x[h] * scale;
  }
}

void ScaleExperts(cuda::Stream& stream, const DeviceBatch& batch, const float* factor) {
  const int64_t choices = int64_t{batch.routing.rows} * batch.routing.k;
  if (choices == 0) return;
  cuda::Launch(stream, {.grid = dim3(static_cast<unsigned>(choices)), .block = dim3(kThreads)},
               &ScaleExpertsKernel, batch, factor);
}

template <typename T>
class Array {
 public:
  absl::Status Make(size_t count) {
    FM_ASSIGN_OR_RETURN(memory_,
                        cuda::Memory::Allocate(static_cast<int64_t>(count * sizeof(T)), "a check"));
    return absl::OkStatus();
  }
  void Set(cuda::Stream& stream, const std::vector<T>& values) {
    cuda::CopyToDevice(stream, memory_.data(), values.data(),
                       static_cast<int64_t>(values.size() * sizeof(T)));
  }
  T* data() const { return memory_.template As<T>(); }

 private:
  cuda::Memory memory_;
};

// One rank's part of the check.
class ExchangeCheck {
 public:
  ExchangeCheck(NcclCommunicator& comm, cuda::Stream& stream, int64_t hidden)
      : comm_(comm), stream_(stream), placement_(ExpertPlacement::RoundRobin(7, comm.size())) {
    test_.hidden = hidden;
    test_.tokens = 6 * comm.size();
    test_.top_k = 4;
  }

  absl::StatusOr<DeviceExchangeReport> Run() {
    FM_RETURN_IF_ERROR(Blocks());
    FM_RETURN_IF_ERROR(Ranges());
    FM_RETURN_IF_ERROR(SetUp());
    FM_RETURN_IF_ERROR(Fixed());
    FM_RETURN_IF_ERROR(Exact());
    return report_;
  }

 private:
  static constexpr int kRows = 8;  // 6 of them real

  absl::Status Blocks();
  absl::Status Ranges();
  absl::Status SetUp();
  absl::Status Fixed();
  absl::Status Exact();
  absl::Status Load(const TestTokens& tokens, int rows);
  DeviceDispatchInput Input(int rows, DispatchSizes sizes) const;
  absl::Status Compare(const TestTokens& tokens, int64_t first, const float* expert_rows,
                       const char* what);
  absl::Status Wait() {
    return comm_.Wait(stream_, [] { return kLabel; });
  }
  absl::StatusOr<std::vector<int32_t>> Read(const Array<int32_t>& array, size_t count) {
    std::vector<int32_t> values(count);
    cuda::CopyToHost(stream_, values.data(), array.data(), static_cast<int64_t>(count * 4));
    FM_RETURN_IF_ERROR(Wait());
    return values;
  }

  NcclCommunicator& comm_;
  cuda::Stream& stream_;
  const ExpertPlacement placement_;
  RoutingCase test_;
  std::unique_ptr<NcclDispatcher> dispatcher_;
  Array<float> x_;
  Array<int32_t> expert_;
  Array<float> weight_;
  Array<uint8_t> action_;
  Array<float> factor_;
  DeviceExchangeReport report_;
};

// AllGather, then AllToAll of what it brought: every rank gets its own number back from all.
absl::Status ExchangeCheck::Blocks() {
  constexpr int kCount = 1000;
  const size_t all = static_cast<size_t>(comm_.size()) * kCount;
  Array<int32_t> send;
  Array<int32_t> gathered;
  Array<int32_t> back;
  FM_RETURN_IF_ERROR(send.Make(kCount));
  FM_RETURN_IF_ERROR(gathered.Make(all));
  FM_RETURN_IF_ERROR(back.Make(all));
  send.Set(stream_, std::vector<int32_t>(kCount, comm_.rank() + 1));
  const GatherPart part{send.data(), gathered.data(), kCount * 4};
  FM_RETURN_IF_ERROR(comm_.AllGather(stream_, {&part, 1}, kLabel));
  FM_RETURN_IF_ERROR(comm_.AllToAll(stream_, gathered.data(), back.data(), kCount * 4, kLabel));
  FM_ASSIGN_OR_RETURN(const std::vector<int32_t> values, Read(back, all));
  for (const int32_t value : values) {
    if (value != comm_.rank() + 1) return DataLoss("all-to-all brought {}", value);
  }
  return absl::OkStatus();
}

// Rank p sends 10 * ((p + q) % 3) numbers to rank q: some pairs have nothing.
absl::Status ExchangeCheck::Ranges() {
  const int ranks = comm_.size();
  const auto count = [](int p, int q) { return size_t{10} * static_cast<size_t>((p + q) % 3); };
  Array<int32_t> send;
  Array<int32_t> recv;
  FM_RETURN_IF_ERROR(send.Make(20));
  FM_RETURN_IF_ERROR(recv.Make(20 * static_cast<size_t>(ranks)));
  send.Set(stream_, std::vector<int32_t>(20, comm_.rank() + 1));
  std::vector<DeviceRange> out;
  std::vector<DeviceRange> in;
  size_t at = 0;
  for (int q = 0; q < ranks; ++q) {
    out.push_back({send.data(), static_cast<int64_t>(count(comm_.rank(), q) * 4)});
    in.push_back({recv.data() + at, static_cast<int64_t>(count(q, comm_.rank()) * 4)});
    at += count(q, comm_.rank());
  }
  FM_RETURN_IF_ERROR(comm_.AllToAllV(stream_, out, in, kLabel));
  FM_ASSIGN_OR_RETURN(const std::vector<int32_t> values, Read(recv, at));
  at = 0;
  for (int q = 0; q < ranks; ++q) {
    for (size_t i = 0; i < count(q, comm_.rank()); ++i, ++at) {
      if (values[at] != q + 1) return DataLoss("rank {}'s range brought {}", q, values[at]);
    }
  }
  return absl::OkStatus();
}

absl::Status ExchangeCheck::SetUp() {
  FM_ASSIGN_OR_RETURN(dispatcher_, NcclDispatcher::Create(
                                       comm_, placement_,
                                       {test_.hidden, test_.top_k, DType::kF32, kRows}, stream_));
  const size_t choices = static_cast<size_t>(test_.tokens * test_.top_k) + kRows * 4;
  FM_RETURN_IF_ERROR(x_.Make(static_cast<size_t>((test_.tokens + kRows) * test_.hidden)));
  FM_RETURN_IF_ERROR(expert_.Make(choices));
  FM_RETURN_IF_ERROR(weight_.Make(choices));
  FM_RETURN_IF_ERROR(action_.Make(choices));
  FM_RETURN_IF_ERROR(factor_.Make(7));
  std::vector<float> factors;
  for (int e = 0; e < 7; ++e) {
    factors.push_back(placement_.rank_of(e) == comm_.rank() ? ExpertFactor(e) : 0.0f);
  }
  factor_.Set(stream_, factors);
  return Wait();  // before the vector goes
}

absl::Status ExchangeCheck::Load(const TestTokens& tokens, int rows) {
  const size_t choices = static_cast<size_t>(rows * test_.top_k);
  std::vector<float> x = tokens.values;
  x.resize(static_cast<size_t>(rows * test_.hidden));
  std::vector<int32_t> expert = tokens.expert;
  std::vector<float> weight = tokens.weight;
  std::vector<uint8_t> action;
  for (const SlotAction one : tokens.action) action.push_back(static_cast<uint8_t>(one));
  expert.resize(choices);
  weight.resize(choices);
  action.resize(choices);
  x_.Set(stream_, x);
  expert_.Set(stream_, expert);
  weight_.Set(stream_, weight);
  action_.Set(stream_, action);
  return Wait();
}

DeviceDispatchInput ExchangeCheck::Input(int rows, DispatchSizes sizes) const {
  DeviceDispatchInput input;
  input.x = {x_.data(), DType::kF32, rows, test_.hidden, test_.hidden};
  input.routing.rows = rows;
  input.routing.k = test_.top_k;
  input.routing.expert = expert_.data();
  input.routing.weight = weight_.data();
  input.routing.action = action_.data();
  input.sizes = sizes;
  input.label = kLabel;
  return input;
}

absl::Status ExchangeCheck::Compare(const TestTokens& tokens, int64_t first,
                                    const float* expert_rows, const char* what) {
  const size_t choices = tokens.expert.size();
  std::vector<float> rows(choices * static_cast<size_t>(test_.hidden));
  cuda::CopyToHost(stream_, rows.data(), expert_rows, static_cast<int64_t>(rows.size() * 4));
  FM_RETURN_IF_ERROR(dispatcher_->Wait(stream_, kLabel));
  std::vector<const float*> pointers;
  for (size_t c = 0; c < choices; ++c) {
    pointers.push_back(rows.data() + c * static_cast<size_t>(test_.hidden));
  }
  std::vector<float> sums(tokens.values.size());
  CombineRows(tokens.x(), tokens.routing, pointers,
              {sums.data(), tokens.routing.tokens, test_.hidden});
  if (SameBits(sums, DenseSum(test_, first, tokens.routing.tokens))) return absl::OkStatus();
  return DataLoss("rank {}: {}: the sums differ from the host's (seed {})", comm_.rank(), what,
                  test_.seed);
}

absl::Status ExchangeCheck::Fixed() {
  const float* expert_rows = nullptr;
  absl::Status recorded;
  const auto layer = [&]() -> absl::Status {
    FM_ASSIGN_OR_RETURN(const DeviceBatch batch,
                        dispatcher_->Dispatch(stream_, Input(kRows, DispatchSizes::kFixed)));
    ScaleExperts(stream_, batch, factor_.data());
    FM_ASSIGN_OR_RETURN(expert_rows, dispatcher_->Return(stream_));
    return absl::OkStatus();
  };
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<cuda::Graph> graph,
                      cuda::Graph::Record(stream_, [&] { recorded.Update(layer()); }));
  FM_RETURN_IF_ERROR(recorded);
  report_.launches = graph->kernels();
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<cuda::Timer> timer, cuda::Timer::Create());
  for (uint32_t seed = 1; seed < 20; ++seed) {
    test_.seed = seed;
    const TestTokens tokens(test_, 6 * comm_.rank(), 6);
    FM_RETURN_IF_ERROR(Load(tokens, kRows));
    timer->Start(stream_);
    graph->Launch(stream_);
    timer->Stop(stream_);
    FM_RETURN_IF_ERROR(Compare(tokens, 6 * comm_.rank(), expert_rows, "fixed sizes"));
    FM_ASSIGN_OR_RETURN(const double seconds, timer->Seconds());
    report_.fixed_us = seconds * 1e6;
  }
  return absl::OkStatus();
}

absl::Status ExchangeCheck::Exact() {
  for (const TokenSplit split :
       {TokenSplit::kEven, TokenSplit::kFirstRankEmpty, TokenSplit::kLastRankOnly}) {
    test_.split = split;
    for (uint32_t seed = 1; seed < 4; ++seed) {
      test_.seed = seed;
      const int64_t first = test_.FirstToken(comm_.rank(), comm_.size());
      const int64_t count = test_.FirstToken(comm_.rank() + 1, comm_.size()) - first;
      const TestTokens tokens(test_, first, count);
      FM_RETURN_IF_ERROR(Load(tokens, static_cast<int>(count)));
      const auto begin = std::chrono::steady_clock::now();
      FM_ASSIGN_OR_RETURN(
          const DeviceBatch batch,
          dispatcher_->Dispatch(stream_, Input(static_cast<int>(count), DispatchSizes::kExact)));
      ScaleExperts(stream_, batch, factor_.data());
      FM_ASSIGN_OR_RETURN(const float* expert_rows, dispatcher_->Return(stream_));
      FM_RETURN_IF_ERROR(dispatcher_->Wait(stream_, kLabel));
      report_.exact_us =
          std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
              .count();
      FM_RETURN_IF_ERROR(Compare(tokens, first, expert_rows, "exact sizes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DeviceExchangeReport> CheckDeviceExchange(NcclCommunicator& comm,
                                                         cuda::Stream& stream, int64_t hidden) {
  return ExchangeCheck(comm, stream, hidden).Run();
}

}  // namespace folkmoot
