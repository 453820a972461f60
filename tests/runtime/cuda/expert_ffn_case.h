// SPDX-License-Identifier: Apache-2.0
// A layer of random experts for ExpertFfn, run on the device and in double by plain loops.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/cuda/expert_ffn.h"
#include "runtime/cuda/routing.h"
#include "runtime/ops/gemm.h"
#include "tests/runtime/cuda/product_testing.h"

namespace folkmoot::cuda {

inline constexpr float kUntouched = -7.0f;

inline double ActivateDouble(Activation activation, double x) {
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
    case Activation::kLimitedSwiglu:
    case Activation::kCappedSwiglu:
    case Activation::kSoftcappedSwiglu:
    case Activation::kReluSquared:
      break;
  }
  return x / (1.0 + std::exp(-x));
}

// A layer and its input. slot_of[c]: the local expert of choice c, -1: not here.
struct FfnCase {
  DType dtype = DType::kBF16;
  bool codes = false;  // of weights
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

inline FfnData MakeData(const FfnCase& c) {
  FfnData data;
  data.x = RandomMatrix(c.dtype, c.rows(), c.hidden, 100);
  for (int s = 0; s < c.slots; ++s) {
    const auto seed = static_cast<uint32_t>(3 * s);
    if (c.codes) {
      data.gate.push_back(RandomCodes(c.intermediate, c.hidden, seed + 1));
      data.up.push_back(RandomCodes(c.intermediate, c.hidden, seed + 2));
      data.down.push_back(RandomCodes(c.hidden, c.intermediate, seed + 3));
      continue;
    }
    data.gate.push_back(RandomMatrix(c.dtype, c.intermediate, c.hidden, seed + 1));
    data.up.push_back(RandomMatrix(c.dtype, c.intermediate, c.hidden, seed + 2));
    data.down.push_back(RandomMatrix(c.dtype, c.hidden, c.intermediate, seed + 3));
    for (HostMatrix* w : {&data.gate.back(), &data.up.back()}) {
      for (float& v : w->values) v = RoundTo(c.dtype, v * 0.125f);
    }
  }
  return data;
}

// One expert's matrix as the device has it: rows of one, or of gate and up in turn.
struct Placed {
  std::vector<uint8_t> rows;
  std::vector<float> scales;  // [groups, rows]
};

inline Placed Place(const FfnCase& c, std::span<const HostMatrix* const> parts) {
  const int64_t each = parts[0]->rows;
  const int64_t k = parts[0]->cols;
  const auto n = each * std::ssize(parts);
  const int64_t groups = CodeGroups(k);
  std::vector<float> values(static_cast<size_t>(n * k));
  Placed placed;
  placed.rows.resize(static_cast<size_t>(n * k));
  placed.scales.resize(static_cast<size_t>(groups * n));
  for (int64_t r = 0; r < n; ++r) {
    const HostMatrix& from = *parts[static_cast<size_t>(r / each)];
    const int64_t to = parts.size() > 1 ? GateUpRow(r, each) : r;
    for (int64_t i = 0; i < k; ++i) {
      values[static_cast<size_t>(to * k + i)] = from.at(r % each, i);
      if (!c.codes) continue;
      placed.rows[static_cast<size_t>(to * k + CodeColumn(i))] =
          from.codes[static_cast<size_t>(r % each * k + i)];
    }
    for (int64_t g = 0; c.codes && g < groups; ++g) {
      placed.scales[static_cast<size_t>(g * n + to)] =
          from.scales[static_cast<size_t>(r % each * groups + g)];
    }
  }
  if (!c.codes) placed.rows = Encode(c.dtype, values);
  return placed;
}

class CudaExpertFfn : public CudaTest {
 protected:
  // [T * K, H]; rows of choices that are not here stay kUntouched.
  std::vector<float> Run(const FfnCase& c, const FfnData& data, const ExpertFfnPlan& plan) {
    Placed gate_up;
    Placed down;
    const auto append = [](const Placed& from, Placed* to) {
      to->rows.insert(to->rows.end(), from.rows.begin(), from.rows.end());
      to->scales.insert(to->scales.end(), from.scales.begin(), from.scales.end());
    };
    for (size_t s = 0; s < data.gate.size(); ++s) {
      append(Place(c, std::array{&data.gate[s], &data.up[s]}), &gate_up);
      append(Place(c, std::array{&data.down[s]}), &down);
    }
    const Memory d_gate_up = ToDevice(gate_up.rows);
    const Memory d_down = ToDevice(down.rows);
    const Memory d_gate_up_scale = ToDevice(gate_up.scales);
    const Memory d_down_scale = ToDevice(down.scales);
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
    weights.codes = c.codes;
    if (c.codes) {
      weights.gate_up_scale = d_gate_up_scale.As<float>();
      weights.down_scale = d_down_scale.As<float>();
    }
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
  static std::vector<ExpertFfnPlan> Plans(DType dtype, GemmPolicy policy, bool codes = false) {
    ExpertWeights weights;
    weights.dtype = dtype;
    weights.codes = codes;
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

}  // namespace folkmoot::cuda
