// SPDX-License-Identifier: Apache-2.0
// The device dispatchers against the oracle of the host's, bit for bit. The experts are a host
// function on the stream, which also checks what they are given.
#include "parallel/nccl_dispatcher.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "parallel/combine.h"
#include "runtime/cuda/platform.h"
#include "tests/support/gpu_ranks.h"
#include "tests/support/routing_case.h"
#include "tests/support/test_exchange.h"

namespace folkmoot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr WaitLabel kStep{.phase = "step", .layer = 3, .step = 41};
constexpr int kLayer = 3;

template <typename T>
struct DeviceArray {
  explicit DeviceArray(size_t count)
      : memory(cuda::Memory::Allocate(static_cast<int64_t>(count * sizeof(T)), "a test").value()) {}
  void Set(cuda::Stream& stream, const std::vector<T>& values) const {
    cuda::CopyToDevice(stream, memory.data(), values.data(),
                       static_cast<int64_t>(values.size() * sizeof(T)));
  }
  T* data() const { return memory.As<T>(); }
  cuda::Memory memory;
};

// The rows of one rank on its device, with room for `rows`: those beyond its tokens are padding.
class DeviceTokens {
 public:
  DeviceTokens(int rows, int64_t hidden, int k, DType dtype)
      : rows_(rows),
        hidden_(hidden),
        k_(k),
        dtype_(dtype),
        x_(static_cast<size_t>(rows * hidden * DTypeBytes(dtype))),
        expert_(static_cast<size_t>(rows * k)),
        weight_(static_cast<size_t>(rows * k)),
        action_(static_cast<size_t>(rows * k)) {}

  void Set(cuda::Stream& stream, const TestTokens& tokens) {
    std::vector<std::byte> x(static_cast<size_t>(rows_ * hidden_ * DTypeBytes(dtype_)));
    seen_.clear();
    for (size_t i = 0; i < tokens.values.size(); ++i) {
      const uint16_t half = FloatToBF16(tokens.values[i]);
      seen_.push_back(dtype_ == DType::kBF16 ? BF16ToFloat(half) : tokens.values[i]);
      if (dtype_ == DType::kBF16) {
        std::memcpy(x.data() + 2 * i, &half, 2);
      } else {
        std::memcpy(x.data() + 4 * i, &tokens.values[i], 4);
      }
    }
    x_.Set(stream, x);
    const size_t choices = static_cast<size_t>(rows_ * k_);
    std::vector<int32_t> expert = tokens.expert;
    std::vector<float> weight = tokens.weight;
    std::vector<uint8_t> action;
    for (const SlotAction one : tokens.action) action.push_back(static_cast<uint8_t>(one));
    expert.resize(choices, 1 << 20);  // must not be looked at
    weight.resize(choices, 7.0f);
    action.resize(choices, 0);
    expert_.Set(stream, expert);
    weight_.Set(stream, weight);
    action_.Set(stream, action);
    ASSERT_TRUE(stream.Synchronize().ok());
  }

  DeviceDispatchInput Input(DispatchSizes sizes) const {
    DeviceDispatchInput input;
    input.x = {x_.data(), dtype_, rows_, hidden_, hidden_};
    input.routing.rows = rows_;
    input.routing.k = k_;
    input.routing.expert = expert_.data();
    input.routing.weight = weight_.data();
    input.routing.action = action_.data();
    input.sizes = sizes;
    input.label = {.phase = "", .layer = kLayer, .step = 41};
    return input;
  }
  // x as the experts see it, widened.
  ConstMatrix seen() const {
    return {seen_.data(), static_cast<int64_t>(seen_.size()) / hidden_, hidden_};
  }

 private:
  int rows_;
  int64_t hidden_;
  int k_;
  DType dtype_;
  DeviceArray<std::byte> x_;
  DeviceArray<int32_t> expert_;
  DeviceArray<float> weight_;
  DeviceArray<uint8_t> action_;
  std::vector<float> seen_;
};

float ReadElement(const cuda::MatrixRef& x, int64_t row, int64_t column) {
  const int64_t at = row * x.stride + column;
  if (x.dtype == DType::kBF16) return BF16ToFloat(static_cast<const uint16_t*>(x.data)[at]);
  return static_cast<const float*>(x.data)[at];
}

// What GroupChoices and ExpertFfn do, in the order of (slot, row, k): expert e multiplies by
// ExpertFactor(e).
struct ExpertWork {
  DeviceBatch batch;
  std::vector<int> experts;  // of this rank
  bool weight_on_input = false;
  std::vector<float> rows;  // that they saw
  std::vector<int64_t> offsets;

  static void Run(void* self) {
    auto& work = *static_cast<ExpertWork*>(self);
    const cuda::RoutingRef& routing = work.batch.routing;
    const int64_t hidden = work.batch.x.cols;
    work.rows.clear();
    work.offsets.assign(1, 0);
    int64_t count = 0;
    for (const int expert : work.experts) {
      for (int64_t c = 0; c < int64_t{routing.rows} * routing.k; ++c) {
        if (routing.action[c] != 1 || routing.expert[c] != expert) continue;
        ++count;
        for (int64_t h = 0; h < hidden; ++h) {
          const float x = ReadElement(work.batch.x, c / routing.k, h);
          const float in = work.weight_on_input ? routing.weight[c] * x : x;
          work.rows.push_back(in);
          work.batch.out[c * hidden + h] = in * ExpertFactor(expert);
        }
      }
      work.offsets.push_back(count);
    }
  }
};

void Start(cuda::Stream& stream, ExpertWork& work) {
  ASSERT_EQ(cudaLaunchHostFunc(static_cast<cudaStream_t>(stream.handle()), &ExpertWork::Run, &work),
            cudaSuccess);
}

// The sums at the owner, from the rows that came back.
std::vector<float> Sums(const TestTokens& tokens, ConstMatrix x, const float* expert_rows) {
  std::vector<const float*> rows;
  for (int64_t c = 0; c < tokens.routing.tokens * tokens.routing.top_k; ++c) {
    rows.push_back(expert_rows + c * x.cols);
  }
  std::vector<float> out(static_cast<size_t>(x.rows * x.cols));
  CombineRows(x, tokens.routing, rows, {out.data(), x.rows, x.cols});
  return out;
}
// The same without any exchange.
std::vector<float> LocalSums(const TestTokens& tokens, ConstMatrix x) {
  std::vector<float> rows;
  for (int64_t c = 0; c < tokens.routing.tokens * tokens.routing.top_k; ++c) {
    const size_t choice = static_cast<size_t>(c);
    const float weight = tokens.routing.weight_on_input ? tokens.weight[choice] : 1.0f;
    for (int64_t h = 0; h < x.cols; ++h) {
      rows.push_back(weight * x.Row(c / tokens.routing.top_k)[h] *
                     ExpertFactor(tokens.expert[choice]));
    }
  }
  return Sums(tokens, x, rows.data());
}

struct Rank {
  GpuRank& gpu;
  const ExpertPlacement& placement;
  DeviceDispatcher& dispatcher;
};

// One layer for one case. `rows`: of the bucket under kFixed.
void RunLayer(const Rank& rank, const RoutingCase& test, DispatchSizes sizes, DType dtype) {
  const int me = rank.gpu.host.rank();
  const int ranks = rank.gpu.host.size();
  int64_t most = 0;
  for (int q = 0; q < ranks; ++q) {
    most = std::max(most, test.FirstToken(q + 1, ranks) - test.FirstToken(q, ranks));
  }
  const int64_t first = test.FirstToken(me, ranks);
  const int64_t count = test.FirstToken(me + 1, ranks) - first;
  const TestTokens tokens(test, first, count);
  const int64_t rows = sizes == DispatchSizes::kFixed ? most + 2 : count;
  DeviceTokens device(static_cast<int>(rows), test.hidden, test.top_k, dtype);
  cuda::Stream& stream = *rank.gpu.stream;
  device.Set(stream, tokens);

  const auto batch = rank.dispatcher.Dispatch(stream, device.Input(sizes));
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_LE(int64_t{batch->routing.rows} * batch->routing.k,
            rank.dispatcher.MaxChoices(sizes, static_cast<int>(most) + 2));
  ExpertWork work{*batch, rank.placement.experts_of(me), test.weight_on_input, {}, {}};
  Start(stream, work);
  const auto expert_rows = rank.dispatcher.Return(stream);
  ASSERT_TRUE(expert_rows.ok()) << expert_rows.status();
  const absl::Status done = rank.dispatcher.Wait(stream, kStep);
  ASSERT_TRUE(done.ok()) << done;

  const std::vector<float> sums = Sums(tokens, device.seen(), *expert_rows);
  EXPECT_TRUE(SameBits(sums, LocalSums(tokens, device.seen()))) << test.Name();
  const ExpectedBatch expected = DenseBatch(test, rank.placement, me);
  EXPECT_EQ(work.offsets, expected.offsets) << test.Name();
  if (dtype != DType::kF32) return;
  EXPECT_TRUE(SameBits(work.rows, expected.rows)) << test.Name();
  EXPECT_TRUE(SameBits(sums, DenseSum(test, first, count))) << test.Name();
}

std::vector<RoutingCase> DeviceCases() {
  std::vector<RoutingCase> cases = AllCases();
  RoutingCase tiles;  // more rows than a block has threads
  tiles.tokens = 700;
  tiles.top_k = 4;
  cases.push_back(tiles);
  for (RoutingCase& test : cases) test.hidden = test.hidden > 100 ? 264 : 8;
  return cases;
}

std::vector<ExpertPlacement> Placements(int experts, int ranks) {
  std::vector<int> uneven;  // the last rank holds most, the middle ones none
  for (int e = 0; e < experts; ++e) uneven.push_back(e == 2 ? 0 : ranks - 1);
  return {ExpertPlacement::Contiguous(experts, ranks), ExpertPlacement::RoundRobin(experts, ranks),
          ExpertPlacement::Explicit(uneven, ranks).value()};
}

class NcclDispatcherTest : public testing::TestWithParam<int> {};

TEST_P(NcclDispatcherTest, GivesTheBitsOfTheOracle) {
  FakeNccl nccl;
  RunGpuRanks(nccl, GetParam(), [](GpuRank& gpu) {
    for (const RoutingCase& test : DeviceCases()) {
      for (const ExpertPlacement& placement : Placements(test.experts, gpu.host.size())) {
        for (const DType dtype : {DType::kF32, DType::kBF16}) {
          const DeviceDispatchLimits limits{test.hidden, test.top_k, dtype, 710};
          const auto dispatcher =
              NcclDispatcher::Create(*gpu.nccl, placement, limits, *gpu.stream).value();
          const Rank rank{gpu, placement, *dispatcher};
          for (const DispatchSizes sizes :
               {DispatchSizes::kFixed, DispatchSizes::kExact, DispatchSizes::kFixed}) {
            RunLayer(rank, test, sizes, dtype);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  });
  EXPECT_EQ(nccl.Complaint(), "");
}

// One recording serves steps whose routing, and so whose counts, differ.
TEST_P(NcclDispatcherTest, ReplaysWithOtherCounts) {
  FakeNccl nccl;
  RunGpuRanks(nccl, GetParam(), [](GpuRank& gpu) {
    const int me = gpu.host.rank();
    RoutingCase test;
    test.tokens = 5 * gpu.host.size();
    test.hidden = 8;
    const ExpertPlacement placement = ExpertPlacement::RoundRobin(test.experts, gpu.host.size());
    const auto dispatcher =
        NcclDispatcher::Create(*gpu.nccl, placement, {8, test.top_k, DType::kF32, 8}, *gpu.stream)
            .value();
    DeviceTokens device(8, 8, test.top_k, DType::kF32);
    ExpertWork work{{}, placement.experts_of(me), false, {}, {}};
    const float* expert_rows = nullptr;
    const auto graph = cuda::Graph::Record(*gpu.stream, [&] {
      work.batch = dispatcher->Dispatch(*gpu.stream, device.Input(DispatchSizes::kFixed)).value();
      Start(*gpu.stream, work);
      expert_rows = dispatcher->Return(*gpu.stream).value();
    });
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ((*graph)->kernels(), 3);
    for (uint32_t seed = 1; seed < 8; ++seed) {
      test.seed = seed;
      test.pattern = seed == 3 ? ChoicePattern::kOneExpert : ChoicePattern::kMixed;
      if (seed == 5) test.pattern = ChoicePattern::kNoneKept;
      const TestTokens tokens(test, 5 * me, 5);
      device.Set(*gpu.stream, tokens);
      (*graph)->Launch(*gpu.stream);
      const absl::Status done = dispatcher->Wait(*gpu.stream, kStep);
      ASSERT_TRUE(done.ok()) << done;
      EXPECT_EQ(work.offsets, DenseBatch(test, placement, me).offsets);
      EXPECT_TRUE(SameBits(Sums(tokens, device.seen(), expert_rows), DenseSum(test, 5 * me, 5)));
    }
  });
  EXPECT_EQ(nccl.Complaint(), "");
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclDispatcherTest, testing::Values(1, 2, 3, 4));

TEST(LocalDeviceDispatcher, GivesTheBitsOfTheOracle) {
  RunUnconnectedGpuRanks(1, [](GpuRank& gpu) {
    for (const RoutingCase& test : DeviceCases()) {
      const ExpertPlacement placement = ExpertPlacement::Contiguous(test.experts, 1);
      const auto dispatcher =
          MakeLocalDeviceDispatcher({test.hidden, test.top_k, DType::kF32, 702}).value();
      for (const DispatchSizes sizes : {DispatchSizes::kFixed, DispatchSizes::kExact}) {
        RunLayer({gpu, placement, *dispatcher}, test, sizes, DType::kF32);
      }
    }
  });
}

// ---- Ranks that disagree, and ranks that do not answer ----

struct Lie {
  int layer = kLayer;
  int64_t step = 41;
  bool other_placement = false;
  bool strange_expert = false;
  int k = 2;
};

// Runs a layer in which rank 1 is elsewhere; what each rank's error says.
void ExpectNamed(DispatchSizes sizes, const Lie& lie, const std::string& expected) {
  FakeNccl nccl;
  RunGpuRanks(nccl, 3, [&](GpuRank& gpu) {
    const bool liar = gpu.host.rank() == 1;
    RoutingCase test;
    test.hidden = 8;
    test.pattern = ChoicePattern::kAllKept;
    const TestTokens tokens(test, 0, 4);
    const ExpertPlacement placement = liar && lie.other_placement
                                          ? ExpertPlacement::RoundRobin(7, 3)
                                          : ExpertPlacement::Contiguous(7, 3);
    const auto dispatcher =
        NcclDispatcher::Create(*gpu.nccl, placement, {8, 2, DType::kF32, 4}, *gpu.stream).value();
    DeviceTokens device(4, 8, 2, DType::kF32);
    device.Set(*gpu.stream, tokens);
    DeviceDispatchInput input = device.Input(sizes);
    if (liar) input.label = {.phase = "", .layer = lie.layer, .step = lie.step};
    if (liar && lie.strange_expert) input.routing.expert[3] = 7;
    const Stopwatch stopwatch;
    absl::Status status = dispatcher->Dispatch(*gpu.stream, input).status();
    if (status.ok()) status = dispatcher->Return(*gpu.stream).status();
    if (status.ok()) status = dispatcher->Wait(*gpu.stream, kStep);
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    if (!liar) {
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
      EXPECT_THAT(std::string(Message(status)), HasSubstr(expected));
    }
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(dispatcher->Wait(*gpu.stream, kStep).ok());  // dead
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
}

TEST(NcclDispatcherFailure, ARankInAnotherLayerIsNamed) {
  ExpectNamed(DispatchSizes::kFixed, {.layer = 5}, "rank 1 is at layer 5");
  ExpectNamed(DispatchSizes::kExact, {.layer = 5}, "rank 1 is at layer 5");
}
TEST(NcclDispatcherFailure, ARankInAnotherStepIsNamed) {
  ExpectNamed(DispatchSizes::kExact, {.step = 40}, "rank 1 is at layer 3 of step 40");
}
TEST(NcclDispatcherFailure, ARankWithAnotherPlacementIsNamed) {
  ExpectNamed(DispatchSizes::kFixed, {.other_placement = true}, "rank 1 uses another expert");
  ExpectNamed(DispatchSizes::kExact, {.other_placement = true}, "rank 1 uses another expert");
}
TEST(NcclDispatcherFailure, AnExpertThatDoesNotExistIsNamed) {
  ExpectNamed(DispatchSizes::kFixed, {.strange_expert = true},
              "rank 1 sent a choice that does not exist");
}

// A rank with another number of rows under fixed sizes: real NCCL would hang or mix up memory, the
// fake names it.
TEST(NcclDispatcherFailure, OtherRowsUnderFixedSizes) {
  FakeNccl nccl;
  RunGpuRanks(nccl, 3, [](GpuRank& gpu) {
    const ExpertPlacement placement = ExpertPlacement::Contiguous(7, 3);
    const auto dispatcher =
        NcclDispatcher::Create(*gpu.nccl, placement, {8, 2, DType::kF32, 8}, *gpu.stream).value();
    RoutingCase test;
    test.hidden = 8;
    const TestTokens tokens(test, 0, 4);
    DeviceTokens device(gpu.host.rank() == 2 ? 5 : 4, 8, 2, DType::kF32);
    device.Set(*gpu.stream, tokens);
    absl::Status status =
        dispatcher->Dispatch(*gpu.stream, device.Input(DispatchSizes::kFixed)).status();
    if (status.ok()) status = dispatcher->Wait(*gpu.stream, kStep);
    EXPECT_THAT(std::string(Message(status)), HasSubstr("rank 2 calls ncclAllGather"));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
}

// How far the device came is part of the error: `calls` of NCCL ran well before it hung.
void ExpectHang(DispatchSizes sizes, int calls, const std::string& where) {
  FakeNccl nccl;
  constexpr int kSetUpCalls = 2;
  for (int rank = 0; rank < 3; ++rank) nccl.HangCall(rank, kSetUpCalls + calls);
  RunGpuRanks(nccl, 3, [&](GpuRank& gpu) {
    const ExpertPlacement placement = ExpertPlacement::Contiguous(7, 3);
    const auto dispatcher =
        NcclDispatcher::Create(*gpu.nccl, placement, {8, 2, DType::kF32, 4}, *gpu.stream).value();
    RoutingCase test;
    test.hidden = 8;
    test.pattern = ChoicePattern::kAllKept;
    const TestTokens tokens(test, 4 * gpu.host.rank(), 4);
    DeviceTokens device(4, 8, 2, DType::kF32);
    device.Set(*gpu.stream, tokens);
    gpu.host.set_timeout(std::chrono::milliseconds(200));
    const Stopwatch stopwatch;
    absl::Status status = dispatcher->Dispatch(*gpu.stream, device.Input(sizes)).status();
    if (status.ok()) status = dispatcher->Return(*gpu.stream).status();
    if (status.ok()) status = dispatcher->Wait(*gpu.stream, {.phase = "step", .step = 41});
    EXPECT_LT(stopwatch.elapsed(), kSoon);
    EXPECT_THAT(std::string(Message(status)), AllOf(HasSubstr(where), HasSubstr("200 ms")));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
}

TEST(NcclDispatcherFailure, TheDeadlineSaysWhereTheDeviceHasCome) {
  ExpectHang(DispatchSizes::kFixed, 0, "layer 3 dispatch of step 41");
  ExpectHang(DispatchSizes::kFixed, 1, "layer 3 combine of step 41");
  ExpectHang(DispatchSizes::kExact, 0, "layer 3 dispatch counts of step 41");
  ExpectHang(DispatchSizes::kExact, 1, "layer 3 dispatch of step 41");
  ExpectHang(DispatchSizes::kExact, 2, "layer 3 combine of step 41");
}

}  // namespace
}  // namespace folkmoot
