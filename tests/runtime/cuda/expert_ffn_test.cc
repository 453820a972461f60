// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/expert_ffn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "runtime/cuda/product_task.h"
#include "runtime/cuda/routing.h"
#include "runtime/ops/gemm.h"
#include "tests/runtime/cuda/product_testing.h"

namespace folkmoot::cuda {
namespace {

constexpr float kUntouched = -7.0f;

double ActivateDouble(Activation activation, double x) {
  switch (activation) {
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1.0 + std::tanh(std::sqrt(2.0 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
    case Activation::kClampedSwiglu:  // not on GPUs
    case Activation::kReluSquared:    // nor this
      break;
  }
  return x / (1.0 + std::exp(-x));
}

// A layer and its input. slot_of[c]: the local expert of choice c, -1: not here.
struct FfnCase {
  DType dtype = DType::kBF16;
  int64_t hidden = 72;
  int64_t intermediate = 40;
  Activation activation = Activation::kSilu;
  int slots = 5;
  int k = 2;
  std::vector<int> slot_of = {};
  std::vector<float> row_weight = {};  // of choices; empty: none

  int rows() const { return static_cast<int>(slot_of.size()) / k; }
};

struct FfnData {
  HostMatrix x;                      // [T, H]
  std::vector<HostMatrix> gate, up;  // [I, H]
  std::vector<HostMatrix> down;      // [H, I]
};

FfnData MakeData(const FfnCase& c) {
  FfnData data;
  data.x = RandomMatrix(c.dtype, c.rows(), c.hidden, 100);
  for (int s = 0; s < c.slots; ++s) {
    const auto seed = static_cast<uint32_t>(3 * s);
    data.gate.push_back(RandomMatrix(c.dtype, c.intermediate, c.hidden, seed + 1));
    data.up.push_back(RandomMatrix(c.dtype, c.intermediate, c.hidden, seed + 2));
    data.down.push_back(RandomMatrix(c.dtype, c.hidden, c.intermediate, seed + 3));
    for (HostMatrix* w : {&data.gate.back(), &data.up.back()}) {
      for (float& v : w->values) v = RoundTo(c.dtype, v * 0.125f);
    }
  }
  return data;
}

class CudaExpertFfn : public CudaTest {
 protected:
  // [T * K, H]; rows of choices that are not here stay kUntouched.
  std::vector<float> Run(const FfnCase& c, const FfnData& data, const ExpertFfnPlan& plan) {
    std::vector<float> gate_up;
    std::vector<float> down;
    for (size_t s = 0; s < data.gate.size(); ++s) {
      std::vector<float> both(static_cast<size_t>(2 * c.intermediate * c.hidden));
      for (int64_t r = 0; r < 2 * c.intermediate; ++r) {
        const HostMatrix& from = r < c.intermediate ? data.gate[s] : data.up[s];
        std::copy_n(from.values.begin() + r % c.intermediate * c.hidden, c.hidden,
                    both.begin() + GateUpRow(r, c.intermediate) * c.hidden);
      }
      gate_up.insert(gate_up.end(), both.begin(), both.end());
      down.insert(down.end(), data.down[s].values.begin(), data.down[s].values.end());
    }
    const Memory d_gate_up = ToDevice(Encode(c.dtype, gate_up));
    const Memory d_down = ToDevice(Encode(c.dtype, down));
    const Memory d_x = ToDevice(Encode(c.dtype, data.x.values));
    const Memory d_weight = ToDevice(c.row_weight.empty() ? std::vector<float>(1) : c.row_weight);

    std::vector<int32_t> choices;
    std::vector<int32_t> offsets = {0};
    std::vector<ExpertTile> tiles;
    for (int s = 0; s < c.slots; ++s) {
      for (size_t choice = 0; choice < c.slot_of.size(); ++choice) {
        if (c.slot_of[choice] == s) choices.push_back(static_cast<int32_t>(choice));
      }
      const auto end = static_cast<int32_t>(choices.size());
      for (int32_t first = offsets.back(); first < end; first += plan.tile_rows) {
        tiles.push_back({s, first, std::min(plan.tile_rows, end - first)});
      }
      offsets.push_back(end);
    }
    GroupedRows groups;
    groups.slots = c.slots;
    groups.max_choices = static_cast<int>(c.slot_of.size());
    groups.max_tiles = MaxTiles(groups.max_choices, c.slots, plan.tile_rows);
    groups.tile_rows = plan.tile_rows;
    const Memory d_count = ToDevice(std::vector<int32_t>{static_cast<int32_t>(tiles.size())});
    EXPECT_LE(tiles.size(), static_cast<size_t>(groups.max_tiles));
    // What lies behind the counts is never to be read: make it point nowhere.
    tiles.resize(static_cast<size_t>(groups.max_tiles), {1 << 20, 1 << 20, 1});
    choices.resize(c.slot_of.size(), 1 << 20);
    const Memory d_tiles = ToDevice(tiles);
    const Memory d_choices = ToDevice(choices);
    const Memory d_offsets = ToDevice(offsets);
    groups.choices = d_choices.As<int32_t>();
    groups.offsets = d_offsets.As<int32_t>();
    groups.tiles = d_tiles.As<ExpertTile>();
    groups.tile_count = d_count.As<int32_t>();

    ExpertWeights weights;
    weights.gate_up = d_gate_up.data();
    weights.down = d_down.data();
    weights.dtype = c.dtype;
    weights.hidden = c.hidden;
    weights.intermediate = c.intermediate;
    weights.activation = static_cast<int>(c.activation);
    const Memory scratch = Zeros<uint8_t>(c.slot_of.size() * static_cast<size_t>(c.intermediate) *
                                          static_cast<size_t>(DTypeBytes(c.dtype)));
    const Memory out =
        ToDevice(std::vector<float>(c.slot_of.size() * static_cast<size_t>(c.hidden), kUntouched));
    const auto run = [&] {
      ExpertFfn(stream(), plan, weights, groups, c.k, RefOf(d_x, c.dtype, c.rows(), c.hidden),
                c.row_weight.empty() ? nullptr : d_weight.As<float>(), scratch.data(),
                out.As<float>());
    };
    if (!recorded_) {
      run();
      return ToHost<float>(out);
    }
    // Recorded and first run for a step without choices.
    const std::vector<int32_t> count = ToHost<int32_t>(d_count);
    FillZero(stream(), d_count.data(), d_count.bytes());
    const auto graph = Graph::Record(stream(), run);
    EXPECT_TRUE(graph.ok()) << graph.status();
    if (!graph.ok()) return {};
    (*graph)->Launch(stream());
    for (const float value : ToHost<float>(out)) EXPECT_EQ(value, kUntouched);
    CopyToDevice(stream(), d_count.data(), count.data(), d_count.bytes());
    (*graph)->Launch(stream());
    return ToHost<float>(out);
  }

  bool recorded_ = false;  // Run by a recorded graph

  static void ExpectFfn(const FfnCase& c, const FfnData& data, const std::vector<float>& out) {
    // Of hidden, once; sums in float32.
    const double rounding =
        c.dtype == DType::kBF16 ? 0x1p-8 : (c.dtype == DType::kF16 ? 0x1p-11 : 0x1p-19);
    for (size_t choice = 0; choice < c.slot_of.size(); ++choice) {
      const int slot = c.slot_of[choice];
      const float* got = &out[choice * static_cast<size_t>(c.hidden)];
      if (slot < 0) {
        for (int64_t h = 0; h < c.hidden; ++h) ASSERT_EQ(got[h], kUntouched) << "choice " << choice;
        continue;
      }
      const auto s = static_cast<size_t>(slot);
      std::vector<double> hidden(static_cast<size_t>(c.intermediate));
      for (int64_t i = 0; i < c.intermediate; ++i) {
        double gate = 0;
        double up = 0;
        for (int64_t h = 0; h < c.hidden; ++h) {
          float x = data.x.at(static_cast<int64_t>(choice) / c.k, h);
          if (!c.row_weight.empty()) x = RoundTo(c.dtype, x * c.row_weight[choice]);
          gate += double{x} * double{data.gate[s].at(i, h)};
          up += double{x} * double{data.up[s].at(i, h)};
        }
        hidden[static_cast<size_t>(i)] = ActivateDouble(c.activation, gate) * up;
      }
      for (int64_t h = 0; h < c.hidden; ++h) {
        double sum = 0;
        double size = 0;
        for (int64_t i = 0; i < c.intermediate; ++i) {
          const double product = double{data.down[s].at(h, i)} * hidden[static_cast<size_t>(i)];
          sum += product;
          size += std::abs(product);
        }
        ASSERT_NEAR(double{got[h]}, sum, size * rounding + 1e-4)
            << "choice " << choice << " of expert " << slot << ", element " << h << ", "
            << DTypeName(c.dtype);
      }
    }
  }

  static DeviceInfo AnyDevice() {
    DeviceInfo device;
    device.compute_capability = 80;
    device.multiprocessors = 4;
    return device;
  }
  // All plans that a type has, small to large, without wgmma.
  static std::vector<ExpertFfnPlan> Plans(DType dtype, GemmPolicy policy) {
    ExpertWeights weights;
    weights.dtype = dtype;
    std::vector<ExpertFfnPlan> plans;
    for (const int rows : {1, 60, 120, 300, 1000, 3000}) {
      const ExpertFfnPlan plan = PlanExpertFfn(AnyDevice(), weights, rows, 2, 16, policy);
      if (plans.empty() || plan.tile_rows != plans.back().tile_rows ||
          plan.kernel != plans.back().kernel) {
        plans.push_back(plan);
      }
    }
    return plans;
  }
};

// Experts with none, one, 17 and other numbers of rows; some choices live elsewhere.
std::vector<int> RaggedSlots() {
  std::vector<int> slots;
  for (const auto& [slot, count] :
       std::vector<std::pair<int, int>>{{0, 17}, {1, 0}, {2, 1}, {3, 9}, {4, 4}, {-1, 5}}) {
    slots.insert(slots.end(), static_cast<size_t>(count), slot);
  }
  std::mt19937 random(11);
  std::shuffle(slots.begin(), slots.end(), random);
  return slots;
}

TEST_F(CudaExpertFfn, PlansCoverTheTiles) {
  std::vector<int> tiles;
  for (const ExpertFfnPlan& plan : Plans(DType::kBF16, GemmPolicy::kBatchInvariant)) {
    EXPECT_EQ(plan.kernel, Plans(DType::kBF16, GemmPolicy::kBatchInvariant)[0].kernel);
    tiles.push_back(plan.tile_rows);
  }
  EXPECT_EQ(tiles, (std::vector<int>{8, 16, 32, 64, 128}));
  // Without wgmma nothing is faster.
  const auto fastest = Plans(DType::kBF16, GemmPolicy::kFastest);
  EXPECT_EQ(fastest.size(), tiles.size());
  EXPECT_EQ(fastest.front().kernel, Plans(DType::kBF16, GemmPolicy::kBatchInvariant)[0].kernel);
  EXPECT_EQ(Plans(DType::kF32, GemmPolicy::kFastest).size(), 1u);
}

TEST_F(CudaExpertFfn, EqualsDoubleLoops) {
  FfnCase c;
  c.slot_of = RaggedSlots();
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    c.dtype = dtype;
    const FfnData data = MakeData(c);
    for (const GemmPolicy policy : {GemmPolicy::kBatchInvariant, GemmPolicy::kFastest}) {
      for (const ExpertFfnPlan& plan : Plans(dtype, policy)) {
        ExpectFfn(c, data, Run(c, data, plan));
      }
    }
  }
}

TEST_F(CudaExpertFfn, ActivationsAndWeightOnInput) {
  FfnCase c;
  c.slot_of = RaggedSlots();
  for (const bool weighted : {false, true}) {
    if (weighted) c.row_weight = RandomMatrix(DType::kF32, 1, 36, 12).values;
    for (const Activation activation :
         {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
      for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
        c.activation = activation;
        c.dtype = dtype;
        const FfnData data = MakeData(c);
        ExpectFfn(c, data, Run(c, data, Plans(dtype, GemmPolicy::kBatchInvariant).front()));
        ExpectFfn(c, data, Run(c, data, Plans(dtype, GemmPolicy::kFastest).front()));
      }
    }
  }
}

// k over several steps and segments, more rows of weights than a tile, one expert with all rows.
TEST_F(CudaExpertFfn, LargerSizesAndOneExpertForAll) {
  FfnCase c;
  c.hidden = 328;
  c.intermediate = 136;
  c.slots = 2;
  c.k = 1;
  c.slot_of.assign(21, 1);
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    c.dtype = dtype;
    const FfnData data = MakeData(c);
    for (const ExpertFfnPlan& plan : Plans(dtype, GemmPolicy::kBatchInvariant)) {
      ExpectFfn(c, data, Run(c, data, plan));
    }
    ExpectFfn(c, data, Run(c, data, Plans(dtype, GemmPolicy::kFastest).front()));
  }
}

// The counts of a step lie on the device: one recorded graph serves all of them.
TEST_F(CudaExpertFfn, ARecordedGraphServesEveryStep) {
  recorded_ = true;
  FfnCase c;
  c.slot_of = RaggedSlots();
  const FfnData data = MakeData(c);
  for (const GemmPolicy policy : {GemmPolicy::kBatchInvariant, GemmPolicy::kFastest}) {
    const ExpertFfnPlan plan = Plans(c.dtype, policy).front();
    ExpectFfn(c, data, Run(c, data, plan));
  }
  const ExpertFfnPlan many =
      PlanExpertFfn(stream().device(), {}, 4096, 2, 16, GemmPolicy::kFastest);
  ExpectFfn(c, data, Run(c, data, many));
}

TEST_F(CudaExpertFfn, NothingToDoWritesNothing) {
  FfnCase c;
  c.slot_of.assign(8, -1);
  const FfnData data = MakeData(c);
  for (const ExpertFfnPlan& plan : Plans(c.dtype, GemmPolicy::kFastest)) {
    ExpectFfn(c, data, Run(c, data, plan));
  }
}

// The bits of a choice do not depend on the plan, on who shares its tile, or on its place in it.
TEST_F(CudaExpertFfn, SameBitsInEveryCompany) {
  FfnCase c;
  c.hidden = 328;
  c.intermediate = 72;
  c.slot_of = RaggedSlots();
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    c.dtype = dtype;
    c.row_weight = RandomMatrix(DType::kF32, 1, 36, 12).values;
    const FfnData data = MakeData(c);
    const auto plans = Plans(dtype, GemmPolicy::kBatchInvariant);
    const std::vector<float> weighted = Run(c, data, plans.front());
    for (const ExpertFfnPlan& plan : plans) EXPECT_EQ(Run(c, data, plan), weighted);
    c.row_weight.clear();
    const std::vector<float> all = Run(c, data, plans.front());
    for (const ExpertFfnPlan& plan : plans) EXPECT_EQ(Run(c, data, plan), all);
    EXPECT_EQ(Run(c, data, plans.front()), all) << "a second run";
    FfnCase some = c;
    for (size_t i = 0; i < some.slot_of.size(); ++i) {
      if (i % 3 != 0) some.slot_of[i] = -1;
    }
    const std::vector<float> part = Run(some, data, plans.back());
    for (size_t i = 0; i < some.slot_of.size(); ++i) {
      if (some.slot_of[i] < 0) continue;
      const auto h = static_cast<size_t>(c.hidden);
      EXPECT_TRUE(std::equal(part.begin() + static_cast<int64_t>(i * h),
                             part.begin() + static_cast<int64_t>((i + 1) * h),
                             all.begin() + static_cast<int64_t>(i * h)))
          << "choice " << i << " of " << DTypeName(dtype);
    }
  }
}

// wgmma: tiles that are full, that leave one warpgroup idle, and more of them than a block has in
// its first turn; rows that come back from a second run and in other company.
TEST_F(CudaExpertFfn, WgmmaForManyRows) {
  ExpertWeights weights;
  const DeviceInfo& device = stream().device();
  const ExpertFfnPlan plan = PlanExpertFfn(device, weights, 4096, 2, 16, GemmPolicy::kFastest);
  if (!HasWgmma(device)) GTEST_SKIP() << "no wgmma on " << device.name;
  FfnCase c;
  c.hidden = 328;
  c.intermediate = 136;
  c.slots = 3;
  for (const auto& [slot, count] : std::vector<std::pair<int, int>>{{0, 130}, {2, 70}, {-1, 4}}) {
    c.slot_of.insert(c.slot_of.end(), static_cast<size_t>(count), slot);
  }
  std::shuffle(c.slot_of.begin(), c.slot_of.end(), std::mt19937(13));
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    c.dtype = dtype;
    c.row_weight.clear();
    const FfnData data = MakeData(c);
    EXPECT_NE(plan.kernel, Plans(dtype, GemmPolicy::kBatchInvariant).back().kernel);
    const std::vector<float> all = Run(c, data, plan);
    ExpectFfn(c, data, all);
    EXPECT_EQ(Run(c, data, plan), all) << "a second run";
    FfnCase some = c;
    for (size_t i = 0; i < some.slot_of.size(); i += 2) some.slot_of[i] = -1;
    const std::vector<float> part = Run(some, data, plan);
    for (size_t i = 1; i < all.size() / static_cast<size_t>(c.hidden); i += 2) {
      const auto first = static_cast<int64_t>(i) * c.hidden;
      EXPECT_TRUE(
          std::equal(part.begin() + first, part.begin() + first + c.hidden, all.begin() + first))
          << "choice " << i;
    }
    c.row_weight = RandomMatrix(DType::kF32, 1, 204, 12).values;
    ExpectFfn(c, data, Run(c, data, plan));
  }
}

// More tiles than go through the rows of w together, several pieces of w, fewer steps than buffers;
// and the activations that have no short cut.
TEST_F(CudaExpertFfn, WgmmaForManyTiles) {
  if (!HasWgmma(stream().device())) GTEST_SKIP() << "no wgmma on " << stream().device().name;
  const ExpertFfnPlan plan =
      PlanExpertFfn(stream().device(), {}, 4096, 2, 16, GemmPolicy::kFastest);
  FfnCase c;
  c.hidden = 264;
  c.intermediate = 136;
  c.slots = 37;
  c.k = 1;
  for (int i = 0; i < 80; ++i) c.slot_of.push_back((i * i + i / 3) % c.slots);
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    c.activation = activation;
    const FfnData data = MakeData(c);
    ExpectFfn(c, data, Run(c, data, plan));
    c.slots = 3;
    c.hidden = 72;
    c.intermediate = 16;
    for (int& slot : c.slot_of) slot %= c.slots;
  }
}

}  // namespace
}  // namespace folkmoot::cuda
