// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/rows.h"

#include <cmath>
#include <random>

#include "parallel/combine.h"
#include "runtime/ops/gemm.h"
#include "tests/runtime/cuda/attention_case.h"

namespace folkmoot::cuda {
namespace {

constexpr float kEps = 1e-5f;

std::vector<float> Normal(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}
std::vector<float> Part(const std::vector<float>& values, int64_t row, int64_t cols) {
  return {values.begin() + row * cols, values.begin() + (row + 1) * cols};
}

class CudaRows : public CudaTest {
 protected:
  MatrixRef Matrix(const Memory& memory, DType dtype, int64_t rows, int64_t cols) {
    return {memory.data(), dtype, rows, cols, cols};
  }
  std::vector<float> Read(const Memory& memory, DType dtype) {
    return Decode(dtype, ToHost<unsigned char>(memory));
  }
  Memory Write(DType dtype, const std::vector<float>& values) {
    return ToDevice(Encode(dtype, values));
  }
};

// Sizes that four divides and that it does not, shorter and longer than a block.
constexpr int64_t kSizes[] = {8, 61, 128, 1024, 2500};
constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

double RoundingOf(DType dtype) {
  return dtype == DType::kF32 ? 2e-6 : dtype == DType::kF16 ? 1e-3 : 8e-3;
}

TEST_F(CudaRows, NormOfTheSumMatchesDoubles) {
  for (const int64_t cols : kSizes) {
    const int64_t rows = 3;
    const auto residual = Normal(static_cast<size_t>(rows * cols), 1);
    const auto delta = Normal(static_cast<size_t>(rows * cols), 2);
    const auto weight = Normal(static_cast<size_t>(cols), 3);
    const Memory device_delta = ToDevice(delta);
    const Memory device_weight = ToDevice(weight);
    for (const DType dtype : kTypes) {
      const Memory device_residual = ToDevice(residual);
      const Memory out = Write(dtype, std::vector<float>(residual.size()));
      AddRmsNorm(stream(), device_delta.As<float>(), device_weight.As<float>(), kEps,
                 device_residual.As<float>(), Matrix(out, dtype, rows, cols));
      const auto sum = ToHost<float>(device_residual);
      const auto result = Read(out, dtype);
      for (int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (int64_t i = 0; i < cols; ++i) {
          const auto at = static_cast<size_t>(r * cols + i);
          ASSERT_EQ(sum[at], residual[at] + delta[at]);
          squares += static_cast<double>(sum[at]) * static_cast<double>(sum[at]);
        }
        const double scale = 1.0 / std::sqrt(squares / static_cast<double>(cols) + kEps);
        for (int64_t i = 0; i < cols; ++i) {
          const auto at = static_cast<size_t>(r * cols + i);
          const double expected = sum[at] * scale * weight[static_cast<size_t>(i)];
          ASSERT_NEAR(result[at], expected, RoundingOf(dtype) * std::max(1.0, std::abs(expected)))
              << "cols " << cols << " row " << r << " element " << i;
        }
      }
    }
  }
}

// A row has the bits that it has alone, and the two-step form those of the fused one, also at an
// address that does not allow to move four elements at once.
TEST_F(CudaRows, NormHasOneSetOfBits) {
  for (const int64_t cols : kSizes) {
    const int64_t rows = 5;
    const auto x = Normal(static_cast<size_t>(rows * cols), 4);
    const auto weight = Normal(static_cast<size_t>(cols), 5);
    const Memory device_weight = ToDevice(weight);
    const Memory device_x = ToDevice(x);
    const Memory out = Zeros<float>(x.size());
    RmsNorm(stream(), device_x.As<float>(), device_weight.As<float>(), kEps,
            Matrix(out, DType::kF32, rows, cols));
    const auto together = ToHost<float>(out);
    const Memory zeros = Zeros<float>(x.size());
    AddRmsNorm(stream(), zeros.As<float>(), device_weight.As<float>(), kEps, device_x.As<float>(),
               Matrix(out, DType::kF32, rows, cols));
    EXPECT_EQ(ToHost<float>(out), together);
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<float> shifted = {0.0f};
      const auto row = Part(x, r, cols);
      shifted.insert(shifted.end(), row.begin(), row.end());
      const Memory alone = ToDevice(shifted);
      const Memory one = Zeros<float>(static_cast<size_t>(cols));
      RmsNorm(stream(), alone.As<float>() + 1, device_weight.As<float>(), kEps,
              Matrix(one, DType::kF32, 1, cols));
      EXPECT_EQ(ToHost<float>(one), Part(together, r, cols)) << cols << " " << r;
    }
  }
}

// The scale of a row by the words of norm_rows.cu: 256 columns of fours, a tree for 32 columns,
// then these in order.
float ScaleInDocumentedOrder(const std::vector<float>& row) {
  std::vector<float> columns(256, 0.0f);
  for (size_t i = 0; i < row.size(); ++i) {
    float& sum = columns[i / 4 % columns.size()];
    sum = std::fma(row[i], row[i], sum);
  }
  float sum = 0.0f;
  for (size_t first = 0; first < columns.size(); first += 32) {
    const auto begin = columns.begin() + static_cast<std::ptrdiff_t>(first);
    std::vector<float> tree(begin, begin + 32);
    for (size_t stride = 16; stride > 0; stride /= 2) {
      for (size_t lane = 0; lane < stride; ++lane) tree[lane] += tree[lane + stride];
    }
    sum = first == 0 ? tree[0] : sum + tree[0];
  }
  return 1.0f / std::sqrt(sum / static_cast<float>(row.size()) + kEps);
}

// RouteStep (routing.h) relies on it. Few rows are computed by more threads than many.
TEST_F(CudaRows, NormAddsInTheDocumentedOrder) {
  for (const int64_t cols :
       {int64_t{8}, int64_t{61}, int64_t{1024}, int64_t{2052}, int64_t{8200}}) {
    for (const int64_t rows : {int64_t{1}, int64_t{6}}) {
      const auto x = Normal(static_cast<size_t>(rows * cols), 16);
      const Memory device_x = ToDevice(x);
      const Memory ones = ToDevice(std::vector<float>(static_cast<size_t>(cols), 1.0f));
      const Memory out = Zeros<float>(x.size());
      RmsNorm(stream(), device_x.As<float>(), ones.As<float>(), kEps,
              Matrix(out, DType::kF32, rows, cols));
      const auto result = ToHost<float>(out);
      for (int64_t r = 0; r < rows; ++r) {
        auto expected = Part(x, r, cols);
        const float scale = ScaleInDocumentedOrder(expected);
        for (float& value : expected) value *= scale;
        ASSERT_EQ(Part(result, r, cols), expected) << cols << " " << r;
      }
    }
  }
}

TEST_F(CudaRows, EmbedWidensAndLeavesPaddingAlone) {
  for (const int64_t cols : {int64_t{12}, int64_t{13}, int64_t{1028}}) {
    for (const DType dtype : kTypes) {
      const auto table = Normal(static_cast<size_t>(7 * cols), 6);
      const Memory device_table = Write(dtype, table);
      const Memory ids = ToDevice(std::vector<int32_t>{6, 0, 3, 1 << 30});
      const Memory valid = ToDevice(std::vector<int32_t>{3});
      const Memory out = ToDevice(std::vector<float>(static_cast<size_t>(4 * cols), -7.0f));
      StepRows rows;
      rows.rows = 4;
      rows.valid = valid.As<int32_t>();
      rows.token_ids = ids.As<int32_t>();
      Embed(stream(), Matrix(device_table, dtype, 7, cols), rows, out.As<float>());
      const auto hidden = ToHost<float>(out);
      const int64_t wanted[] = {6, 0, 3};
      for (int64_t t = 0; t < 4; ++t) {
        for (int64_t i = 0; i < cols; ++i) {
          const float expected =
              t == 3 ? -7.0f : RoundTo(dtype, table[static_cast<size_t>(wanted[t] * cols + i)]);
          ASSERT_EQ(hidden[static_cast<size_t>(t * cols + i)], expected);
        }
      }
    }
  }
}

TEST_F(CudaRows, GatherCopiesRows) {
  for (const int64_t cols : {int64_t{8}, int64_t{9}, int64_t{4100}}) {
    const auto x = Normal(static_cast<size_t>(5 * cols), 7);
    const Memory device_x = Write(DType::kBF16, x);
    const Memory out = Write(DType::kBF16, std::vector<float>(static_cast<size_t>(3 * cols), 9.0f));
    const Memory rows = ToDevice(std::vector<int32_t>{4, -1, 0});
    GatherRows(stream(), Matrix(device_x, DType::kBF16, 5, cols), rows.As<int32_t>(), 3,
               Matrix(out, DType::kBF16, 3, cols));
    const auto result = Read(out, DType::kBF16);
    const auto source = Read(device_x, DType::kBF16);
    EXPECT_EQ(Part(result, 0, cols), Part(source, 4, cols));
    EXPECT_EQ(Part(result, 1, cols), std::vector<float>(static_cast<size_t>(cols), 9.0f));
    EXPECT_EQ(Part(result, 2, cols), Part(source, 0, cols));
  }
}

double Reference(Activation activation, double x) {
  switch (activation) {
    case Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kSilu:
    case Activation::kClampedSwiglu:  // not on GPUs
    case Activation::kLimitedSwiglu:
    case Activation::kCappedSwiglu:
    case Activation::kSoftcappedSwiglu:
    case Activation::kReluSquared:
      break;
  }
  return x / (1 + std::exp(-x));
}

TEST_F(CudaRows, ActivationsMatchDoubles) {
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    for (const DType dtype : kTypes) {
      for (const int64_t inner : {int64_t{16}, int64_t{19}, int64_t{1100}}) {
        const auto in = Normal(static_cast<size_t>(2 * 2 * inner), 8);
        const Memory gate_up = Write(dtype, in);
        const Memory out = Write(dtype, std::vector<float>(static_cast<size_t>(2 * inner)));
        GatedActivation(stream(), static_cast<int>(activation),
                        Matrix(gate_up, dtype, 2, 2 * inner), Matrix(out, dtype, 2, inner));
        const auto result = Read(out, dtype);
        for (int64_t t = 0; t < 2; ++t) {
          for (int64_t i = 0; i < inner; ++i) {
            const auto at = static_cast<size_t>(t * 2 * inner + i);
            const double gate = RoundTo(dtype, in[at]);
            const double up = RoundTo(dtype, in[at + static_cast<size_t>(inner)]);
            const double expected = Reference(activation, gate) * up;
            ASSERT_NEAR(result[static_cast<size_t>(t * inner + i)], expected,
                        RoundingOf(dtype) * std::max(1.0, std::abs(expected)));
          }
        }
      }
    }
  }
}

// Random routing of `rows` tokens with `k` choices, on the host and on the device.
struct RoutingCase {
  RoutingCase(int rows_in, int k_in, int64_t hidden_in, bool weight_on_input_in)
      : rows(rows_in), k(k_in), hidden(hidden_in), weight_on_input(weight_on_input_in) {
    std::mt19937 random(9);
    for (int i = 0; i < rows * k; ++i) action.push_back(static_cast<uint8_t>(random() % 3));
    for (int i = 0; i < k; ++i) action[static_cast<size_t>(i)] = 0;  // one that nobody takes
    weight = Normal(action.size(), 10);
    x = Normal(static_cast<size_t>(rows * hidden), 11);
    results = Normal(action.size() * static_cast<size_t>(hidden), 12);
  }
  std::vector<float> OnCpu() const {
    std::vector<SlotAction> actions;
    std::vector<const float*> pointers;
    for (size_t i = 0; i < action.size(); ++i) {
      actions.push_back(static_cast<SlotAction>(action[i]));
      pointers.push_back(results.data() + static_cast<int64_t>(i) * hidden);
    }
    std::vector<float> weights = weight;
    Routing routing;
    routing.tokens = rows;
    routing.top_k = k;
    routing.weight_on_input = weight_on_input;
    routing.weight = weights;
    routing.action = actions;
    std::vector<float> out(x.size());
    CombineRows({x.data(), rows, hidden}, routing, pointers, {out.data(), rows, hidden});
    return out;
  }

  int rows;
  int k;
  int64_t hidden;
  bool weight_on_input;
  std::vector<uint8_t> action;
  std::vector<float> weight, x, results;
};

class CudaCombine : public CudaRows {
 protected:
  CombineInput Input(const RoutingCase& routing) {
    weight_ = ToDevice(routing.weight);
    action_ = ToDevice(routing.action);
    x_ = ToDevice(routing.x);
    results_ = ToDevice(routing.results);
    CombineInput in;
    in.routing.rows = routing.rows;
    in.routing.k = routing.k;
    in.routing.weight = weight_.As<float>();
    in.routing.action = action_.As<uint8_t>();
    in.expert_rows = results_.As<float>();
    in.weight_on_input = routing.weight_on_input;
    in.x = x_.As<float>();
    return in;
  }

 private:
  Memory weight_, action_, x_, results_;
};

TEST_F(CudaCombine, HasTheBitsOfTheCpu) {
  for (const int64_t hidden : kSizes) {
    for (const int k : {1, 2, 7, 8, 14, 35}) {
      for (const bool on_input : {false, true}) {
        const RoutingCase routing(k % 2 == 0 ? 4 : 6, k, hidden, on_input);
        const Memory delta = Zeros<float>(routing.x.size());
        Combine(stream(), Input(routing), hidden, delta.As<float>());
        const auto out = ToHost<float>(delta);
        const auto expected = routing.OnCpu();
        for (size_t i = 0; i < out.size(); ++i) {
          ASSERT_EQ(std::bit_cast<uint32_t>(out[i]), std::bit_cast<uint32_t>(expected[i])) << i;
        }
      }
    }
  }
}

// Rows that are few and many, and sizes that four divides and that it does not.
TEST_F(CudaCombine, FusedFormHasTheBitsOfItsSteps) {
  struct Case {
    int rows;
    int k;
    int64_t hidden;
  };
  for (const Case& c : {Case{3, 4, 1500}, Case{6, 8, 1500}, Case{2, 8, 4100}, Case{9, 3, 2501},
                        Case{1, 10, 2050}}) {
    const int64_t hidden = c.hidden;
    const RoutingCase routing(c.rows, c.k, hidden, false);
    CombineInput in = Input(routing);
    const auto shared = Normal(routing.x.size(), 13);
    auto logits = Normal(static_cast<size_t>(c.rows), 17);
    logits[0] = -20.0f;
    const Memory device_shared = ToDevice(shared);
    const Memory device_logits = ToDevice(logits);
    in.shared = device_shared.As<float>();
    in.shared_logit = device_logits.As<float>();
    const auto residual = Normal(routing.x.size(), 14);
    const Memory weight = ToDevice(Normal(static_cast<size_t>(hidden), 15));

    const Memory delta = Zeros<float>(residual.size());
    Combine(stream(), in, hidden, delta.As<float>());
    const auto sum = ToHost<float>(delta);
    const auto routed = routing.OnCpu();
    for (size_t i = 0; i < sum.size(); ++i) {
      const double logit = logits[i / static_cast<size_t>(hidden)];
      const double gate = 1 / (1 + std::exp(-logit));
      const double expected = routed[i] + gate * shared[i];
      ASSERT_NEAR(sum[i], expected, 2e-6 * std::max(1.0, std::abs(expected))) << i;
    }
    const Memory stepwise = ToDevice(residual);
    const Memory stepwise_out = Write(DType::kBF16, residual);
    AddRmsNorm(stream(), delta.As<float>(), weight.As<float>(), kEps, stepwise.As<float>(),
               Matrix(stepwise_out, DType::kBF16, c.rows, hidden));
    const Memory fused = ToDevice(residual);
    const Memory fused_out = Write(DType::kBF16, residual);
    CombineAddRmsNorm(stream(), in, weight.As<float>(), kEps, fused.As<float>(),
                      Matrix(fused_out, DType::kBF16, c.rows, hidden));
    EXPECT_EQ(ToHost<float>(fused), ToHost<float>(stepwise)) << hidden;
    EXPECT_EQ(Read(fused_out, DType::kBF16), Read(stepwise_out, DType::kBF16)) << hidden;
  }
}

// A row's bits are those that it has alone.
TEST_F(CudaCombine, RowsDoNotMeet) {
  for (const int64_t hidden : {int64_t{512}, int64_t{2048}, int64_t{4100}}) {
    const int64_t rows = 7;
    const RoutingCase routing(static_cast<int>(rows), 6, hidden, false);
    CombineInput in = Input(routing);
    const auto residual = Normal(routing.x.size(), 18);
    const Memory weight = ToDevice(Normal(static_cast<size_t>(hidden), 19));
    const auto run = [&](int64_t first, int64_t count) {
      CombineInput part = in;
      part.routing.rows = static_cast<int>(count);
      part.routing.weight += first * routing.k;
      part.routing.action += first * routing.k;
      part.expert_rows += first * routing.k * hidden;
      part.x += first * hidden;
      const Memory to = ToDevice(std::vector<float>(residual.begin() + first * hidden,
                                                    residual.begin() + (first + count) * hidden));
      const Memory out = Zeros<float>(static_cast<size_t>(count * hidden));
      CombineAddRmsNorm(stream(), part, weight.As<float>(), kEps, to.As<float>(),
                        Matrix(out, DType::kF32, count, hidden));
      return std::pair(ToHost<float>(to), ToHost<float>(out));
    };
    const auto [sums, normed] = run(0, rows);
    for (int64_t r = 0; r < rows; ++r) {
      const auto [sum, one] = run(r, 1);
      ASSERT_EQ(sum, Part(sums, r, hidden)) << hidden << " " << r;
      ASSERT_EQ(one, Part(normed, r, hidden)) << hidden << " " << r;
    }
  }
}

}  // namespace
}  // namespace folkmoot::cuda
