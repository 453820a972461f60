// SPDX-License-Identifier: Apache-2.0
// RouteStep against its parts: the normalised rows and logits in double, the decisions of RouteRows
// and the groups of GroupChoices on the logits that it computed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "runtime/cuda/routing.h"
#include "runtime/cuda/rows.h"
#include "runtime/dtype.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {
namespace {

struct StepShape {
  int rows = 0;
  int valid = 0;
  int hidden = 0;
  int experts = 0;
  int k = 0;
  DType dtype = DType::kF32;  // of out
  DType router = DType::kF32;
  bool wide = false;
  bool places = false;
  bool chunks = false;  // places are counted by sequence: of 3 rows each
};

std::vector<float> Random(size_t count, float spread, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    value = (static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f) * spread;
  }
  return values;
}

float Rounded(DType dtype, float value) {
  if (dtype == DType::kBF16) return BF16ToFloat(FloatToBF16(value));
  if (dtype == DType::kF16) return F16ToFloat(FloatToF16(value));
  return value;
}

class RouteStepTest : public CudaTest {
 protected:
  struct Outcome {
    std::vector<int32_t> expert, place, taken, choices, offsets, tile_count;
    std::vector<float> weight, logits, residual, out, wide;
    std::vector<uint8_t> state, action, bad;
    std::vector<uint32_t> arrivals;
  };

  template <typename T>
  T* Add(const std::vector<T>& values) {
    held_.push_back(ToDevice(values));
    return held_.back().template As<T>();
  }
  template <typename T>
  std::vector<T> Read(const T* from, size_t count) {
    std::vector<T> values(count);
    CopyToHost(stream(), values.data(), from, static_cast<int64_t>(count * sizeof(T)));
    EXPECT_TRUE(stream().Synchronize().ok()) << stream().status();
    return values;
  }
  MatrixRef AddMatrix(const std::vector<float>& values, int rows, int cols, DType dtype) {
    MatrixRef matrix = {nullptr, dtype, rows, cols, cols};
    if (dtype == DType::kF32) {
      matrix.data = Add(values);
      return matrix;
    }
    std::vector<uint16_t> narrow;
    for (const float value : values) {
      narrow.push_back(dtype == DType::kBF16 ? FloatToBF16(value) : FloatToF16(value));
    }
    matrix.data = Add(narrow);
    return matrix;
  }
  std::vector<float> ReadMatrix(const MatrixRef& matrix) {
    const auto count = static_cast<size_t>(matrix.rows * matrix.cols);
    if (matrix.dtype == DType::kF32) return Read(static_cast<const float*>(matrix.data), count);
    std::vector<float> values;
    for (const uint16_t bits : Read(static_cast<const uint16_t*>(matrix.data), count)) {
      values.push_back(matrix.dtype == DType::kBF16 ? BF16ToFloat(bits) : F16ToFloat(bits));
    }
    return values;
  }

  // Everything of a step on the device.
  struct Setup {
    StepShape shape;
    RouteStepInput step;
    RoutingParams params;
    RoutingInput input;
    RoutingRef routing;
    ChoiceGrouping grouping;
  };

  Setup Prepare(const StepShape& shape, uint64_t seed) {
    Setup setup;
    setup.shape = shape;
    const auto rows = static_cast<size_t>(shape.rows);
    const auto hidden = static_cast<size_t>(shape.hidden);
    const auto experts = static_cast<size_t>(shape.experts);
    residual_ = Random(rows * hidden, 2.0f, seed);
    delta_ = Random(rows * hidden, 1.0f, seed + 1);
    norm_ = Random(hidden, 1.0f, seed + 2);
    router_ = Random(experts * hidden, 0.3f, seed + 3);
    setup.step.delta = Add(delta_);
    setup.step.norm_weight = Add(norm_);
    setup.step.eps = 1e-5f;
    setup.step.residual = Add(residual_);
    setup.step.out =
        AddMatrix(std::vector<float>(rows * hidden, -7.0f), shape.rows, shape.hidden, shape.dtype);
    setup.step.wide_logits = shape.wide;
    if (shape.wide) setup.step.wide = Add(std::vector<float>(rows * hidden, -7.0f));
    setup.step.router = AddMatrix(router_, shape.experts, shape.hidden, shape.router);
    setup.step.logits = Add(std::vector<float>(rows * experts, -7.0f));
    setup.step.arrivals =
        Add(std::vector<uint32_t>(static_cast<size_t>(RouteStepCounters(shape.rows)), 0));
    setup.params.experts = shape.experts;
    setup.params.k = shape.k;
    setup.params.normalize = 1;
    if (shape.places) {
      setup.params.capacity = Add(std::vector<int32_t>(rows + 1, 1 + shape.rows / 4));
    }
    if (shape.chunks) AddSequences(&setup);
    setup.input.rows.rows = shape.rows;
    setup.input.rows.valid = Add(std::vector<int32_t>{shape.valid});
    AddRouting(&setup);
    AddGroups(&setup);
    return setup;
  }
  void AddSequences(Setup* setup) {
    StepSequences& sequences = setup->input.sequences;
    std::vector<int32_t> first, count, start;
    for (int row = 0; row < setup->shape.valid; row += 3) {
      first.push_back(row);
      count.push_back(std::min(3, setup->shape.valid - row));
      start.push_back(row % 7);
    }
    sequences.sequences = static_cast<int>(first.size());
    sequences.valid = Add(std::vector<int32_t>{sequences.sequences});
    sequences.first_row = Add(first);
    sequences.rows = Add(count);
    sequences.start = Add(start);
    setup->params.capacity = Add(std::vector<int32_t>{1});
    setup->params.capacity_of_chunk = true;
    setup->params.chunk_size = 4;
    AddCounters(setup);
  }
  void AddCounters(Setup* setup) {
    const auto count = static_cast<size_t>(setup->input.sequences.sequences * setup->shape.experts);
    std::vector<int32_t> taken(count);
    for (size_t i = 0; i < count; ++i) taken[i] = i % 5 == 0 ? 1 : 0;
    setup->input.counters.taken = Add(taken);
    setup->input.counters.stride = setup->shape.experts;
  }
  void AddRouting(Setup* setup) {
    const auto rows = static_cast<size_t>(setup->shape.rows);
    const size_t choices = rows * static_cast<size_t>(setup->shape.k);
    setup->routing.rows = setup->shape.rows;
    setup->routing.k = setup->shape.k;
    setup->routing.expert = Add(std::vector<int32_t>(choices, -7));
    setup->routing.weight = Add(std::vector<float>(choices, -7.0f));
    setup->routing.state = Add(std::vector<uint8_t>(choices, 77));
    setup->routing.action = Add(std::vector<uint8_t>(choices, 77));
    setup->routing.bad = Add(std::vector<uint8_t>(rows, 77));
    if (!setup->shape.places) return;
    setup->routing.place = Add(std::vector<int32_t>(choices, -7));
    setup->routing.raw = Add(std::vector<double>(choices, -7.0));
  }
  void AddGroups(Setup* setup) {
    const StepShape& shape = setup->shape;
    std::vector<int32_t> slots;
    GroupedRows& groups = setup->grouping.groups;
    for (int e = 0; e < shape.experts; ++e) slots.push_back(e % 3 == 1 ? -1 : groups.slots++);
    groups.tile_rows = 4;
    groups.max_choices = shape.rows * shape.k;
    groups.max_tiles = MaxTiles(groups.max_choices, groups.slots, groups.tile_rows);
    setup->grouping.slot_of_expert = Add(slots);
    groups.choices = Add(std::vector<int32_t>(static_cast<size_t>(groups.max_choices), -7));
    groups.offsets = Add(std::vector<int32_t>(static_cast<size_t>(groups.slots) + 1, -7));
    groups.tiles = Add(std::vector<ExpertTile>(static_cast<size_t>(groups.max_tiles)));
    groups.tile_count = Add(std::vector<int32_t>{-7});
  }
  void Run(const Setup& s) {
    RouteStep(stream(), s.step, s.params, s.input, s.routing, s.grouping);
  }
  Outcome Result(const Setup& setup) {
    const StepShape& shape = setup.shape;
    const auto rows = static_cast<size_t>(shape.rows);
    const size_t choices = rows * static_cast<size_t>(shape.k);
    const size_t elements = rows * static_cast<size_t>(shape.hidden);
    Outcome result;
    result.expert = Read(setup.routing.expert, choices);
    result.weight = Read(setup.routing.weight, choices);
    result.state = Read(setup.routing.state, choices);
    result.action = Read(setup.routing.action, choices);
    result.bad = Read(setup.routing.bad, rows);
    if (shape.places) result.place = Read(setup.routing.place, choices);
    if (shape.chunks) {
      const int count = setup.input.sequences.sequences * shape.experts;
      result.taken = Read(setup.input.counters.taken, static_cast<size_t>(count));
    }
    result.logits = Read(setup.step.logits, rows * static_cast<size_t>(shape.experts));
    result.residual = Read(setup.step.residual, elements);
    result.out = ReadMatrix(setup.step.out);
    if (shape.wide) result.wide = Read(setup.step.wide, elements);
    const GroupedRows& groups = setup.grouping.groups;
    result.offsets = Read(groups.offsets, static_cast<size_t>(groups.slots) + 1);
    result.choices = Read(groups.choices, static_cast<size_t>(result.offsets.back()));
    result.tile_count = Read(groups.tile_count, 1);
    result.arrivals = Read(setup.step.arrivals, static_cast<size_t>(RouteStepCounters(shape.rows)));
    return result;
  }

  // The rows of `got` in double from what went in.
  void ExpectNumbers(const Setup& setup, const Outcome& got) {
    const StepShape& shape = setup.shape;
    const auto hidden = static_cast<size_t>(shape.hidden);
    const double unit = shape.dtype == DType::kF32    ? 1e-6
                        : shape.dtype == DType::kBF16 ? 0x1p-8
                                                      : 0x1p-10;
    for (size_t row = 0; row < static_cast<size_t>(shape.rows); ++row) {
      double squares = 0;
      std::vector<double> sum(hidden);
      for (size_t i = 0; i < hidden; ++i) {
        ASSERT_EQ(got.residual[row * hidden + i],
                  residual_[row * hidden + i] + delta_[row * hidden + i]);
        sum[i] = static_cast<double>(got.residual[row * hidden + i]);
        squares += sum[i] * sum[i];
      }
      const double scale =
          1 / std::sqrt(squares / shape.hidden + static_cast<double>(setup.step.eps));
      for (size_t i = 0; i < hidden; ++i) {
        const double want = sum[i] * scale * static_cast<double>(norm_[i]);
        ASSERT_NEAR(got.out[row * hidden + i], want, unit * std::fabs(want) + 1e-6);
        if (shape.wide) {
          ASSERT_NEAR(got.wide[row * hidden + i], want, 1e-6 * std::fabs(want) + 1e-6);
        }
      }
      // Logits of the very rows that the router saw.
      const std::vector<float>& x = shape.wide ? got.wide : got.out;
      for (size_t e = 0; e < static_cast<size_t>(shape.experts); ++e) {
        double dot = 0;
        for (size_t i = 0; i < hidden; ++i) {
          dot += static_cast<double>(x[row * hidden + i]) *
                 static_cast<double>(Rounded(shape.router, router_[e * hidden + i]));
        }
        ASSERT_NEAR(got.logits[row * static_cast<size_t>(shape.experts) + e], dot, 2e-5);
      }
    }
  }
  // RouteRows and GroupChoices, on the logits that the step left.
  void ExpectDecisions(const Setup& setup, const Outcome& got) {
    Setup parts = setup;
    AddRouting(&parts);
    if (parts.shape.chunks) AddCounters(&parts);
    parts.grouping.groups.slots = 0;
    AddGroups(&parts);
    RouteRows(stream(), parts.params, parts.input, parts.step.logits, parts.routing);
    GroupChoices(stream(), parts.routing, parts.grouping);
    const Outcome want = Result(parts);
    EXPECT_EQ(got.expert, want.expert);
    EXPECT_EQ(got.weight, want.weight);
    EXPECT_EQ(got.state, want.state);
    EXPECT_EQ(got.action, want.action);
    EXPECT_EQ(got.place, want.place);
    EXPECT_EQ(got.taken, want.taken);
    EXPECT_EQ(got.bad, want.bad);
    EXPECT_EQ(got.offsets, want.offsets);
    EXPECT_EQ(got.choices, want.choices);
    EXPECT_EQ(got.tile_count, want.tile_count);
    EXPECT_EQ(std::count(got.arrivals.begin(), got.arrivals.end(), 0u),
              static_cast<ptrdiff_t>(got.arrivals.size()));
  }

  std::vector<float> residual_, delta_, norm_, router_;

 private:
  std::vector<Memory> held_;
};

TEST_F(RouteStepTest, EqualsItsParts) {
  const StepShape shapes[] = {
      {.rows = 1, .valid = 1, .hidden = 64, .experts = 8, .k = 2},
      {.rows = 4, .valid = 3, .hidden = 72, .experts = 17, .k = 3, .places = true},
      {.rows = 13, .valid = 10, .hidden = 264, .experts = 24, .k = 4, .places = true},
      {.rows = 20, .valid = 19, .hidden = 40, .experts = 6, .k = 3, .places = true, .chunks = true},
      {.rows = 16, .valid = 16, .hidden = 1032, .experts = 5, .k = 1},
      {.rows = 70, .valid = 69, .hidden = 40, .experts = 9, .k = 2, .places = true},
      // Several slabs to a part; experts that one block takes one after another.
      {.rows = 2, .valid = 2, .hidden = 2184, .experts = 20, .k = 2},
      {.rows = 40, .valid = 40, .hidden = 136, .experts = 70, .k = 8},
      // Tiles of 16, 32 and 64 rows, on a device with few multiprocessors; two tiles of experts.
      {.rows = 67, .valid = 65, .hidden = 2184, .experts = 40, .k = 4},
      {.rows = 100, .valid = 100, .hidden = 136, .experts = 33, .k = 3, .places = true},
      {.rows = 197, .valid = 197, .hidden = 72, .experts = 139, .k = 8},
  };
  uint64_t seed = 1;
  for (StepShape shape : shapes) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const bool wide : {false, true}) {
        SCOPED_TRACE(testing::Message() << shape.rows << " rows, dtype " << static_cast<int>(dtype)
                                        << (wide ? " wide" : ""));
        shape.dtype = dtype;
        shape.router = wide && shape.rows % 2 == 0 ? DType::kF32 : dtype;
        shape.wide = wide;
        const Setup setup = Prepare(shape, seed += 10);
        Run(setup);
        const Outcome got = Result(setup);
        ExpectNumbers(setup, got);
        ExpectDecisions(setup, got);
        if (HasFailure()) return;
      }
    }
  }
}

// The fused norm is AddRmsNorm, bit for bit.
TEST_F(RouteStepTest, NormalisesAsAddRmsNorm) {
  for (const int hidden : {40, 264, 1032, 2056}) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      StepShape shape = {.rows = 5, .valid = 5, .hidden = hidden, .experts = 4, .k = 1};
      shape.dtype = shape.router = dtype;
      const Setup setup = Prepare(shape, 7);
      float* residual = Add(residual_);
      MatrixRef out = setup.step.out;
      out.data = Add(std::vector<float>(residual_.size()));
      AddRmsNorm(stream(), setup.step.delta, setup.step.norm_weight, setup.step.eps, residual, out);
      Run(setup);
      const Outcome got = Result(setup);
      EXPECT_EQ(got.residual, Read(residual, residual_.size()));
      EXPECT_EQ(got.out, ReadMatrix(out));
    }
  }
}

// A row has the same bits alone, among a few and among many.
TEST_F(RouteStepTest, RowsDoNotFeelTheirNeighbours) {
  const StepShape shapes[] = {
      {.rows = 80, .hidden = 264, .experts = 12, .k = 2},
      {.rows = 70, .hidden = 2184, .experts = 40, .k = 4},
      {.rows = 100, .hidden = 200, .experts = 40, .k = 4, .router = DType::kF32},
      {.rows = 200, .hidden = 136, .experts = 139, .k = 4},
      {.rows = 200, .hidden = 1160, .experts = 40, .k = 4, .dtype = DType::kF16},
      {.rows = 6700, .hidden = 40, .experts = 40, .k = 2},  // many for any device
  };
  for (StepShape shape : shapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " rows, hidden " << shape.hidden);
    if (shape.dtype == DType::kF32) shape.dtype = DType::kBF16;
    if (shape.router == DType::kF32 && shape.rows != 100) shape.router = shape.dtype;
    shape.wide = shape.rows % 200 == 0;
    shape.valid = shape.rows;
    const Setup many = Prepare(shape, 5);
    const std::vector<float> residual = residual_;
    const std::vector<float> delta = delta_;
    Run(many);
    const Outcome want = Result(many);
    for (const int rows : {1, 2, 7, 12, 33, 64}) {
      shape.rows = shape.valid = rows;
      const Setup few = Prepare(shape, 5);
      const auto bytes = static_cast<int64_t>(sizeof(float)) * rows * shape.hidden;
      CopyToDevice(stream(), few.step.residual, residual.data(), bytes);
      CopyToDevice(stream(), const_cast<float*>(few.step.delta), delta.data(), bytes);
      Setup same = few;  // norm and router of `many`
      same.step.norm_weight = many.step.norm_weight;
      same.step.router = many.step.router;
      Run(same);
      const Outcome got = Result(same);
      const auto head = [&](const auto& of_many, const auto& of_few) {
        return std::equal(of_few.begin(), of_few.end(), of_many.begin());
      };
      EXPECT_TRUE(head(want.residual, got.residual)) << rows;
      EXPECT_TRUE(head(want.out, got.out)) << rows;
      EXPECT_TRUE(head(want.wide, got.wide)) << rows;
      EXPECT_TRUE(head(want.logits, got.logits)) << rows;
      EXPECT_TRUE(head(want.expert, got.expert)) << rows;
      EXPECT_TRUE(head(want.weight, got.weight)) << rows;
    }
  }
}

// One kernel, recorded once, for steps with any number of real rows.
TEST_F(RouteStepTest, OneKernelInAGraph) {
  StepShape shape = {.rows = 9, .valid = 9, .hidden = 64, .experts = 16, .k = 2, .places = true};
  const Setup setup = Prepare(shape, 6);
  auto graph = Graph::Record(stream(), [&] { Run(setup); });
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ((*graph)->kernels(), 1);
  for (const int32_t valid : {9, 1, 5, 0, 8}) {
    CopyToDevice(stream(), const_cast<int32_t*>(setup.input.rows.valid), &valid, sizeof(valid));
    (*graph)->Launch(stream());
    const Outcome got = Result(setup);
    ExpectDecisions(setup, got);
    int32_t live = 0;
    for (size_t c = 0; c < got.action.size(); ++c) {
      const bool padding = static_cast<int32_t>(c) >= valid * shape.k;
      EXPECT_TRUE(!padding || got.action[c] == 0) << c;
      live += got.action[c] == 1 ? 1 : 0;
    }
    EXPECT_EQ(valid == 0, live == 0);
  }
}

}  // namespace
}  // namespace folkmoot::cuda
