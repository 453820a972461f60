// SPDX-License-Identifier: Apache-2.0
// Products with quantised weights: within the documented bound of exact ones, and the same bits for
// any rows, threads and instruction set.
#include <fmt/format.h>

#include "runtime/quant/code_matrix.h"
#include "tests/runtime/ops/ops_testing.h"

namespace folkmoot {
namespace {

// Random codes of every value, scales of both signs.
class RandomCodes : public CodeMatrix {
 public:
  RandomCodes(const CodeSpec& spec, int64_t n, int64_t k, uint32_t seed) : CodeMatrix(n, k, spec) {
    std::minstd_rand generator(seed + 1);
    const int64_t most = CodeBits(spec.type) == 8 ? 256 : 16;
    for (int64_t i = 0; i < n * k; ++i) {
      codes_.push_back(static_cast<uint8_t>(generator() / 64 % static_cast<uint32_t>(most)));
      if (spec.type == CodeType::kFp8 && (codes_.back() & 0x7f) == 0x7f) codes_.back() = 1;
    }
    for (float v : RandomFloats(n * groups(), seed + 2)) scales_.push_back(Rounded(v));
    if (!spec.offsets) return;
    for (float v : RandomFloats(n * groups(), seed + 3)) offsets_.push_back(Rounded(v));
  }
  void ReadRow(int64_t row, const CodeRow& out) const override {
    std::copy_n(codes_.begin() + row * k(), k(), out.codes.begin());
    std::copy_n(scales_.begin() + row * groups(), groups(), out.scales.begin());
    if (spec().offsets) {
      std::copy_n(offsets_.begin() + row * groups(), groups(), out.offsets.begin());
    }
  }

  std::vector<float> Wide(int64_t row) const {
    CodeRowBuffer buffer(*this);
    std::vector<float> wide(static_cast<size_t>(k()));
    DequantizeRow(*this, row, buffer.row(), wide);
    return wide;
  }

 private:
  float Rounded(float v) const {
    return spec().scale_type == DType::kF16 ? F16ToFloat(FloatToF16(v)) : v;
  }
  std::vector<uint8_t> codes_;
  std::vector<float> scales_;
  std::vector<float> offsets_;
};

struct Case {
  CodeSpec spec;
  int64_t n;
  int64_t k;
};

class CodeGemmTest : public testing::TestWithParam<Case> {
 protected:
  void ExpectBoundAndSameBits(ActivationPrecision activations, double unit);
};

TEST_P(CodeGemmTest, IsWithinTheBoundAndHasTheSameBitsForAnyRowsThreadsAndTargets) {
  ExpectBoundAndSameBits(ActivationPrecision::kFull, 1.0 / 65534);
}

TEST_P(CodeGemmTest, ReducedActivationsAreWithinTheirBoundAndHaveTheSameBits) {
  ExpectBoundAndSameBits(ActivationPrecision::kReduced, 1.0 / 254);
}

// `unit`: how far a value may move, as a part of the largest in its chunk.
void CodeGemmTest::ExpectBoundAndSameBits(ActivationPrecision activations, double unit) {
  const CodeSpec& spec = GetParam().spec;
  const int64_t n = GetParam().n;
  const int64_t k = GetParam().k;
  const RandomCodes weight(spec, n, k, 1);
  ASSERT_EQ(WhyNotRunnable(spec, k), "");
  constexpr int64_t kRows = 101;  // two blocks
  const std::vector<float> x = RandomFloats(kRows * k, 3);
  const std::vector<float> bias = RandomFloats(n, 2);
  std::vector<float> all;
  Workspace workspace;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    PackedMatrix packed = PackedMatrix::Pack(pool, weight);
    packed.set_rules({.activations = activations});
    for (const int64_t rows :
         {kRows, int64_t{1}, int64_t{2}, int64_t{5}, int64_t{17}, int64_t{19}}) {
      ForEachTarget([&] {
        std::vector<float> out(static_cast<size_t>(rows * n), 7.0f);
        Gemm(pool, AsMatrix(x, rows, k), packed, bias, workspace, AsMatrix(out, rows, n));
        if (all.empty()) all = out;
        const std::vector<float> wanted(all.begin(), all.begin() + rows * n);
        ASSERT_EQ(Bits(out), Bits(wanted)) << threads << " threads, " << rows << " rows";
      });
    }
  }
  const int64_t chunk = spec.group == 16 ? 16 : 32;
  for (int64_t c = 0; c < n; ++c) {
    const std::vector<float> w = weight.Wide(c);
    for (int64_t r = 0; r < kRows; ++r) {
      double exact = static_cast<double>(bias[static_cast<size_t>(c)]);
      double bound = 0;
      double magnitude = 1;
      for (int64_t first = 0; first < k; first += chunk) {
        double top = 0;
        double weights = 0;
        for (int64_t i = first; i < std::min(first + chunk, k); ++i) {
          const double value = static_cast<double>(x[static_cast<size_t>(r * k + i)]);
          const double weight_i = static_cast<double>(w[static_cast<size_t>(i)]);
          exact += value * weight_i;
          magnitude += std::abs(value * weight_i);
          top = std::max(top, std::abs(value));
          weights += std::abs(weight_i);
        }
        bound += top * weights * unit;
      }
      if (spec.type == CodeType::kFp8) bound = 0;  // floats all the way
      ASSERT_NEAR(static_cast<double>(all[static_cast<size_t>(r * n + c)]), exact,
                  bound + 1e-5 * magnitude)
          << "row " << r << " column " << c;
    }
  }
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return fmt::format("{}_type{}_group{}", info.index, static_cast<int>(info.param.spec.type),
                     info.param.spec.group);
}

TEST_P(CodeGemmTest, APackedMatrixGivesItsRowsBack) {
  const auto& [spec, n, k] = GetParam();
  const RandomCodes weight(spec, n, k, 1);
  ThreadPool pool(2);
  const PackedMatrix packed = PackedMatrix::Pack(pool, weight);
  ASSERT_EQ(packed.bytes(), PackedMatrix::BytesOf(n, k, DType::kF32, spec));
  const std::unique_ptr<CodeMatrix> codes =
      CodesOf(PackedMatrix::Borrow(n, k, DType::kF32, spec, packed.panel(0)));
  CodeRowBuffer buffer(*codes);
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t r = 0; r < n; ++r) {
    DequantizeRow(*codes, r, buffer.row(), row);
    ASSERT_EQ(Bits(row), Bits(weight.Wide(r))) << r;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Specs, CodeGemmTest,
    testing::Values(Case{{CodeType::kInt8, 32, false, DType::kF16}, 40, 96},
                    Case{{CodeType::kInt8, 16, false, DType::kF32}, 33, 48},
                    Case{{CodeType::kInt8, 75, false, DType::kF32}, 32, 75},  // whole rows
                    Case{{CodeType::kInt8, 512, false, DType::kF32}, 9, 512},
                    Case{{CodeType::kInt8, 128, true, DType::kF32}, 64, 384},
                    Case{{CodeType::kInt4, 32, false, DType::kF16}, 70, 320},
                    Case{{CodeType::kInt8, 32, false, DType::kF16}, 40, 1120},  // blocks of k
                    Case{{CodeType::kInt4, 64, false, DType::kF32}, 32, 128},
                    Case{{CodeType::kInt4, 128, false, DType::kF32}, 33, 1152},
                    Case{{CodeType::kInt4, 1024, false, DType::kF32}, 9, 1024},
                    Case{{CodeType::kUint4, 32, true, DType::kF16}, 31, 64},
                    Case{{CodeType::kUint4, 128, true, DType::kF32}, 64, 256},
                    Case{{CodeType::kFp4, 32, false, DType::kF32}, 45, 96},
                    Case{{CodeType::kFp8, 128, false, DType::kF32}, 45, 256},
                    Case{{CodeType::kFp8, 50, false, DType::kF32}, 3, 50}),
    CaseName);

TEST(CodeGemm, NanAndInfinityOfARowReachItsOutputsAndNoOther) {
  const RandomCodes weight({CodeType::kInt4, 32, false, DType::kF16}, 8, 64, 1);
  ThreadPool pool(1);
  Workspace workspace;
  const PackedMatrix packed = PackedMatrix::Pack(pool, weight);
  constexpr int64_t kRows = 18;
  std::vector<float> x = RandomFloats(kRows * 64, 3);
  x[5] = NAN;
  x[64 + 40] = -INFINITY;
  for (const int64_t rows : {int64_t{3}, kRows}) {
    ForEachTarget([&] {
      std::vector<float> out(static_cast<size_t>(rows * 8));
      Gemm(pool, AsMatrix(x, rows, 64), packed, {}, workspace, AsMatrix(out, rows, 8));
      for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i < 16) << i;
    });
  }
}

// Many rows on average, of which some experts have few.
TEST(CodeGemm, ARowOfAnExpertHasTheSameBitsAloneAndAmongOthers) {
  constexpr int64_t kHidden = 96;
  constexpr int64_t kInner = 64;
  const std::vector<int64_t> offsets = {0, 3, 10, 10, 73};
  const int64_t rows = offsets.back();
  ThreadPool pool(2);
  Workspace workspace;
  const std::vector<float> x = RandomFloats(rows * kHidden, 3);
  for (const CodeType type : {CodeType::kInt8, CodeType::kInt4}) {
    const CodeSpec spec = {type, 32, false, DType::kF16};
    std::vector<GatedFfnWeights> experts(offsets.size() - 1);
    std::vector<const GatedFfnWeights*> weights;
    for (GatedFfnWeights& expert : experts) {
      const auto seed = static_cast<uint32_t>(10 * weights.size());
      expert.gate_up = PackedMatrix::PackGateUp(pool, RandomCodes(spec, kInner, kHidden, seed),
                                                RandomCodes(spec, kInner, kHidden, seed + 1));
      expert.down = PackedMatrix::Pack(pool, RandomCodes(spec, kHidden, kInner, seed + 2));
      weights.push_back(&expert);
    }
    const auto run = [&](size_t first_expert, std::span<const int64_t> ends, ConstMatrix in) {
      std::vector<float> hidden(static_cast<size_t>(in.rows * kInner));
      std::vector<float> out(static_cast<size_t>(in.rows * kHidden));
      GroupedGatedFfn(pool, std::span(weights).subspan(first_expert, ends.size() - 1), ends,
                      Activation::kSilu, in, workspace, AsMatrix(hidden, in.rows, kInner),
                      AsMatrix(out, in.rows, kHidden));
      return Bits(out);
    };
    std::vector<uint32_t> apart;
    for (size_t e = 0; e < experts.size(); ++e) {
      for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r) {
        const std::vector<uint32_t> row =
            run(e, std::vector<int64_t>{0, 1}, AsMatrix(x, rows, kHidden).Rows(r, 1));
        apart.insert(apart.end(), row.begin(), row.end());
      }
    }
    ForEachTarget([&] { EXPECT_EQ(run(0, offsets, AsMatrix(x, rows, kHidden)), apart); });
  }
}

TEST(CodeGemm, ZeroAndTinyRowsAreZero) {
  const RandomCodes weight({CodeType::kInt8, 32, false, DType::kF16}, 8, 32, 1);
  ThreadPool pool(1);
  Workspace workspace;
  const PackedMatrix packed = PackedMatrix::Pack(pool, weight);
  std::vector<float> x(64, 0.0f);
  std::fill(x.begin() + 32, x.end(), 1e-38f);
  std::vector<float> out(16, 5.0f);
  Gemm(pool, AsMatrix(x, 2, 32), packed, {}, workspace, AsMatrix(out, 2, 8));
  for (const float v : out) EXPECT_EQ(v, 0.0f);
}

TEST(CodeGemm, AnE4m3NanMakesTheProductNan) {
  class OneNan : public RandomCodes {
   public:
    using RandomCodes::RandomCodes;
    void ReadRow(int64_t row, const CodeRow& out) const override {
      RandomCodes::ReadRow(row, out);
      if (row == 2) out.codes[7] = 0xff;
    }
  };
  const OneNan weight({CodeType::kFp8, 32, false, DType::kF32}, 4, 32, 1);
  ThreadPool pool(1);
  Workspace workspace;
  const PackedMatrix packed = PackedMatrix::Pack(pool, weight);
  const std::vector<float> x(32, 0.5f);
  std::vector<float> out(4);
  Gemm(pool, AsMatrix(x, 1, 32), packed, {}, workspace, AsMatrix(out, 1, 4));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(out[i]), i == 2) << i;
}

TEST(CodeMatrix, NumbersOfTheFourBitFloats) {
  const float wanted[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (uint8_t code = 0; code < 8; ++code) {
    EXPECT_EQ(CodeNumber(CodeType::kFp4, code), wanted[code]);
    EXPECT_EQ(CodeNumber(CodeType::kFp4, code | 8), -wanted[code]);
  }
}

TEST(CodeMatrix, NumbersOfTheEightBitFloats) {  // OCP FP8, E4M3
  EXPECT_EQ(CodeNumber(CodeType::kFp8, 0x7e), 448.0f);
  EXPECT_EQ(CodeNumber(CodeType::kFp8, 0x38), 1.0f);
  EXPECT_EQ(CodeNumber(CodeType::kFp8, 0xb9), -1.125f);
  EXPECT_EQ(CodeNumber(CodeType::kFp8, 0x01), 0x1p-9f);
  EXPECT_EQ(CodeNumber(CodeType::kFp8, 0x08), 0x1p-6f);
  EXPECT_TRUE(std::isnan(CodeNumber(CodeType::kFp8, 0xff)));
}

TEST(CodeMatrix, SaysWhyItCannotRun) {
  EXPECT_EQ(WhyNotRunnable({.group = 24}, 48),
            "its groups are not 16 weights, a multiple of 32, or whole rows");
  EXPECT_EQ(WhyNotRunnable({.group = 64}, 96), "its groups do not divide the rows");
  EXPECT_EQ(WhyNotRunnable({.group = 50}, 50), "");
}

}  // namespace
}  // namespace folkmoot
