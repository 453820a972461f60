// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "runtime/cuda/product_task.h"
#include "tests/runtime/cuda/product_testing.h"

namespace folkmoot::cuda {
namespace {

struct Types {
  DType x;
  DType w;
  DType out;
};
constexpr Types kTypes[] = {
    {DType::kBF16, DType::kBF16, DType::kF32}, {DType::kBF16, DType::kBF16, DType::kBF16},
    {DType::kF16, DType::kF16, DType::kF32},   {DType::kF16, DType::kF16, DType::kF16},
    {DType::kF32, DType::kF32, DType::kF32},   {DType::kF32, DType::kBF16, DType::kF32},
    {DType::kF32, DType::kF16, DType::kF32}};

class CudaGemm : public CudaTest {
 protected:
  // out [M, N], its columns surrounded by a gap of 3 that must stay untouched.
  std::vector<float> Run(const Types& types, const HostMatrix& x, const HostMatrix& w,
                         const std::vector<float>& bias, GemmPolicy policy) {
    const Memory dx = ToDevice(Encode(types.x, x.values));
    const Memory dw = ToDevice(Encode(types.w, w.values));
    const Memory db = ToDevice(bias.empty() ? std::vector<float>(1) : bias);
    const int64_t stride = w.rows + 3;
    const std::vector<float> before(static_cast<size_t>(x.rows * stride), -7.0f);
    const Memory out = ToDevice(Encode(types.out, before));
    GemmContext context;
    context.policy = policy;
    Gemm(stream(), context, RefOf(dx, types.x, x.rows, x.cols), RefOf(dw, types.w, w.rows, w.cols),
         bias.empty() ? nullptr : db.As<float>(), {out.data(), types.out, x.rows, w.rows, stride});
    const std::vector<float> all = Decode(types.out, ToHost<uint8_t>(out));
    std::vector<float> values;
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < stride; ++c) {
        const float value = all[static_cast<size_t>(r * stride + c)];
        if (c < w.rows) {
          values.push_back(value);
        } else {
          EXPECT_EQ(value, -7.0f) << "row " << r << " writes past its end";
        }
      }
    }
    return values;
  }

  // out of x * w^T in float32, by one kernel.
  std::vector<float> RunTask(DType dtype, const HostMatrix& x, const HostMatrix& w,
                             const std::function<void(const ProductTask&)>& product) {
    const Memory dx = ToDevice(Encode(dtype, x.values));
    const Memory dw = ToDevice(Encode(dtype, w.values));
    const Memory out = Zeros<float>(static_cast<size_t>(x.rows * w.rows));
    ProductTask task;
    task.w = dw.data();
    task.n = static_cast<int>(w.rows);
    task.k = static_cast<int>(w.cols);
    task.w_stride = task.x_stride = w.cols;
    task.x = dx.data();
    task.out = out.data();
    task.out_stride = w.rows;
    task.rows = static_cast<int>(x.rows);
    product(task);
    return ToHost<float>(out);
  }

  static void ExpectProduct(const Types& types, const HostMatrix& x, const HostMatrix& w,
                            const std::vector<float>& bias, const std::vector<float>& out) {
    const double rounding =
        types.out == DType::kBF16 ? 0x1p-8 : (types.out == DType::kF16 ? 0x1p-11 : 0x1p-22);
    for (int64_t m = 0; m < x.rows; ++m) {
      for (int64_t n = 0; n < w.rows; ++n) {
        double sum = bias.empty() ? 0.0 : double{bias[static_cast<size_t>(n)]};
        double size = std::abs(sum);
        for (int64_t k = 0; k < x.cols; ++k) {
          sum += double{x.at(m, k)} * double{w.at(n, k)};
          size += std::abs(double{x.at(m, k)} * double{w.at(n, k)});
        }
        const double got = double{out[static_cast<size_t>(m * w.rows + n)]};
        ASSERT_NEAR(got, sum, std::abs(sum) * rounding + size * 0x1p-20)
            << "row " << m << ", column " << n << " of " << x.rows << " x " << w.rows << " x "
            << x.cols;
      }
    }
  }
};

// Sizes that no tile divides; k in all four segments, in one, in a part of one.
TEST_F(CudaGemm, EqualsDoubleLoops) {
  struct Size {
    int64_t m, n, k;
  };
  for (const Size& size : {Size{1, 40, 8}, Size{3, 24, 328}, Size{9, 56, 72}, Size{33, 136, 136},
                           Size{130, 152, 72}, Size{5, 5, 264}}) {
    for (const Types& types : kTypes) {
      for (const GemmPolicy policy : {GemmPolicy::kBatchInvariant, GemmPolicy::kFastest}) {
        const HostMatrix x = RandomMatrix(types.x, size.m, size.k, 1);
        const HostMatrix w = RandomMatrix(types.w, size.n, size.k, 2);
        const std::vector<float> bias = RandomMatrix(DType::kF32, 1, size.n, 3).values;
        ExpectProduct(types, x, w, {}, Run(types, x, w, {}, policy));
        ExpectProduct(types, x, w, bias, Run(types, x, w, bias, policy));
      }
    }
  }
}

TEST_F(CudaGemm, FloatOfAnyK) {
  const Types types{DType::kF32, DType::kF32, DType::kF32};
  for (const int64_t k : {1, 3, 6, 129, 515}) {
    const HostMatrix x = RandomMatrix(DType::kF32, 6, k, 4);
    const HostMatrix w = RandomMatrix(DType::kF32, 20, k, 5);
    ExpectProduct(types, x, w, {}, Run(types, x, w, {}, GemmPolicy::kBatchInvariant));
  }
}

// A row alone, in the company of others, and at another place.
TEST_F(CudaGemm, ARowHasTheSameBitsInEveryBatch) {
  for (const Types& types : kTypes) {
    const HostMatrix x = RandomMatrix(types.x, 150, 328, 6);
    const HostMatrix w = RandomMatrix(types.w, 40, 328, 7);
    const std::vector<float> bias = RandomMatrix(DType::kF32, 1, w.rows, 8).values;
    const auto rows = [&](int64_t first, int64_t count) {
      HostMatrix part{count, x.cols, {}};
      part.values.assign(x.values.begin() + first * x.cols,
                         x.values.begin() + (first + count) * x.cols);
      return Run(types, part, w, bias, GemmPolicy::kBatchInvariant);
    };
    const std::vector<float> all = rows(0, x.rows);
    for (const auto& [first, count] : std::vector<std::pair<int64_t, int64_t>>{
             {0, 1}, {149, 1}, {70, 7}, {3, 16}, {100, 31}, {8, 64}, {20, 129}}) {
      const std::vector<float> part = rows(first, count);
      ASSERT_TRUE(std::equal(part.begin(), part.end(), all.begin() + first * w.rows))
          << DTypeName(types.x) << " rows " << first << " + " << count;
    }
  }
}

// Every shape of tile, whatever a device's plan may pick; the last size has more units of each than
// a small device has blocks.
TEST_F(CudaGemm, TileShapesAgreeBitForBit) {
  struct Size {
    int64_t m, n, k;
  };
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const Size& size : {Size{21, 72, 8}, Size{21, 72, 72}, Size{21, 72, 328},
                             Size{21, 72, 1032}, Size{200, 264, 136}}) {
      const HostMatrix x = RandomMatrix(dtype, size.m, size.k, 9);
      const HostMatrix w = RandomMatrix(dtype, size.n, size.k, 10);
      std::vector<float> first;
      for (const MmaShape shape : {MmaShape::k16x8, MmaShape::k16x16, MmaShape::k32x16,
                                   MmaShape::k64x32, MmaShape::k128x64, MmaShape::k128x128}) {
        const std::vector<float> values = RunTask(dtype, x, w, [&](const ProductTask& task) {
          MmaProduct(stream(), shape, dtype, task);
        });
        if (first.empty()) first = values;
        ASSERT_EQ(values, first) << "shape " << static_cast<int>(shape) << ", k " << size.k;
      }
      ExpectProduct({dtype, dtype, DType::kF32}, x, w, {}, first);
    }
  }
}

// What a head is given to, which is too large for a test.
TEST_F(CudaGemm, CudaCoresWith16Bits) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const int64_t m : {1, 3, 9}) {
      const HostMatrix x = RandomMatrix(dtype, m, 328, 14);
      const HostMatrix w = RandomMatrix(dtype, 56, 328, 15);
      const auto run = [&](const ProductTask& task) { DotProduct(stream(), dtype, dtype, task); };
      ExpectProduct({dtype, dtype, DType::kF32}, x, w, {}, RunTask(dtype, x, w, run));
    }
  }
}

// Many rows under kFastest without cuBLASLt: wgmma where there is one. The last columns and rows
// fill no tile, and there are more tiles than multiprocessors of a small device.
TEST_F(CudaGemm, ManyRows) {
  for (const Types& types : {kTypes[0], kTypes[3]}) {
    for (const int64_t n : {272, 331}) {
      const HostMatrix x = RandomMatrix(types.x, 270, 392, 11);
      const HostMatrix w = RandomMatrix(types.w, n, 392, 12);
      const std::vector<float> bias = RandomMatrix(DType::kF32, 1, n, 13).values;
      const std::vector<float> out = Run(types, x, w, bias, GemmPolicy::kFastest);
      ExpectProduct(types, x, w, bias, out);
      ASSERT_EQ(Run(types, x, w, bias, GemmPolicy::kFastest), out) << "a second run";
      ExpectProduct(types, x, w, {}, Run(types, x, w, {}, GemmPolicy::kFastest));
    }
  }
}

}  // namespace
}  // namespace folkmoot::cuda
