// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/expert_ffn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "runtime/cuda/product_task.h"
#include "tests/runtime/cuda/expert_ffn_case.h"

namespace folkmoot::cuda {
namespace {

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

// E4M3 codes: every kind of number that they have, groups that end early, more groups than
// segments; the same bits from every plan and in every company.
TEST_F(CudaExpertFfn, Codes) {
  FfnCase c;
  c.codes = true;
  for (const auto& [hidden, intermediate] :
       std::vector<std::pair<int64_t, int64_t>>{{64, 32}, {144, 80}, {656, 272}}) {
    c.hidden = hidden;
    c.intermediate = intermediate;
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      c.dtype = dtype;
      c.slot_of = RaggedSlots();
      c.row_weight.clear();
      const FfnData data = MakeData(c);
      const auto plans = Plans(dtype, GemmPolicy::kFastest, true);
      ASSERT_EQ(plans.size(), 4u);
      const std::vector<float> all = Run(c, data, plans.front());
      ExpectFfn(c, data, all);
      for (const ExpertFfnPlan& plan : plans) EXPECT_EQ(Run(c, data, plan), all);
      for (size_t i = 0; i < c.slot_of.size(); i += 3) c.slot_of[i] = -1;
      const std::vector<float> part = Run(c, data, plans.back());
      for (size_t i = 0; i < all.size(); ++i) {
        const size_t choice = i / static_cast<size_t>(hidden);
        ASSERT_EQ(part[i], c.slot_of[choice] < 0 ? kUntouched : all[i]) << "choice " << choice;
      }
      c.row_weight = RandomMatrix(DType::kF32, 1, 36, 12).values;
      ExpectFfn(c, data, Run(c, data, plans.back()));
    }
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
