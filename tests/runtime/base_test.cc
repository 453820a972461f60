// SPDX-License-Identifier: Apache-2.0
// The ground floor of runtime/: 16-bit floats, Philox draws, scratch memory, names.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/json_text.h"
#include "runtime/machine_probe.h"
#include "runtime/nearest.h"
#include "runtime/random.h"
#include "runtime/workspace.h"

namespace folkmoot {
namespace {

TEST(JsonText, NumbersThatJsonDoesNotHave) {
  const std::string python =
      R"({"a": [0.0, Infinity], "b": -Infinity, "c": NaN, "Infinity": "\"NaN"})";
  const std::string quoted = QuoteNonNumbers(python);
  EXPECT_EQ(quoted,
            R"({"a": [0.0, "Infinity"], "b": "-Infinity", "c": "NaN", "Infinity": "\"NaN"})");
  EXPECT_EQ(UnquoteNonNumbers(R"(["Infinity", "-Infinity", "NaN", "not NaN", 1])"),
            R"([Infinity, -Infinity, NaN, "not NaN", 1])");
  EXPECT_EQ(QuoteNonNumbers("\"unfinished NaN\\"), "\"unfinished NaN\\");
}

// The value that the bits of a small float mean, by the definition of IEEE 754.
double Meaning(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const int exponent = static_cast<int>((bits >> mantissa_bits) & ((1u << exponent_bits) - 1));
  const double sign = (bits >> (exponent_bits + mantissa_bits)) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa | (1u << mantissa_bits), exponent - bias - mantissa_bits);
}

void ExpectSame(float got, double wanted, uint32_t bits) {
  if (std::isnan(wanted)) {
    ASSERT_TRUE(std::isnan(got)) << bits;
  } else {
    ASSERT_EQ(static_cast<double>(got), wanted) << bits;
    ASSERT_EQ(std::signbit(got), std::signbit(wanted)) << bits;
  }
}

TEST(DType, WidensEvery16BitValue) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    ExpectSame(F16ToFloat(static_cast<uint16_t>(bits)), Meaning(bits, 5, 10), bits);
    ExpectSame(BF16ToFloat(static_cast<uint16_t>(bits)), Meaning(bits, 8, 7), bits);
  }
}

TEST(DType, NarrowsEveryWidenedValueBack) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    if (std::isnan(F16ToFloat(bits))) {
      ASSERT_TRUE(std::isnan(F16ToFloat(FloatToF16(F16ToFloat(bits))))) << i;
    } else {
      ASSERT_EQ(FloatToF16(F16ToFloat(bits)), bits);
    }
    if (std::isnan(BF16ToFloat(bits))) {
      ASSERT_TRUE(std::isnan(BF16ToFloat(FloatToBF16(BF16ToFloat(bits))))) << i;
    } else {
      ASSERT_EQ(FloatToBF16(BF16ToFloat(bits)), bits);
    }
  }
}

// Between two neighbours the nearer one is taken; in the middle the one with the even bits.
template <typename Narrow, typename Widen>
void ExpectNearestEven(Narrow narrow, Widen widen, uint32_t infinity) {
  for (uint32_t i = 0; i + 1 < infinity; ++i) {
    const auto low = static_cast<uint16_t>(i);
    const auto high = static_cast<uint16_t>(i + 1);
    const float middle = static_cast<float>((double{widen(low)} + double{widen(high)}) / 2);
    ASSERT_EQ(narrow(middle), i % 2 == 0 ? low : high) << i;
    ASSERT_EQ(narrow(std::nextafter(middle, 0.0f)), low) << i;
    ASSERT_EQ(narrow(std::nextafter(middle, std::numeric_limits<float>::infinity())), high) << i;
    ASSERT_EQ(narrow(-middle), (i % 2 == 0 ? low : high) | 0x8000) << i;
  }
}

TEST(DType, F16RoundsToNearestEven) { ExpectNearestEven(FloatToF16, F16ToFloat, 0x7c00); }
TEST(DType, BF16RoundsToNearestEven) {
  // The middle of the first two subnormals of bfloat16 and its neighbours are float subnormals.
  ExpectNearestEven(FloatToBF16, BF16ToFloat, 0x7f00);
}

TEST(DType, OverflowGoesToInfinity) {
  EXPECT_EQ(FloatToF16(65519.996f), 0x7bff);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToF16(-1e30f), 0xfc00);
  EXPECT_EQ(FloatToBF16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(FloatToBF16(-std::numeric_limits<float>::infinity()), 0xff80);
}

TEST(DType, NamesAndSizes) {
  EXPECT_EQ(DTypeName(DType::kBF16), "BF16");
  EXPECT_EQ(DTypeBytes(DType::kBF16), 2);
  EXPECT_EQ(DTypeName(DType::kF8E4M3), "F8_E4M3");
  EXPECT_EQ(DTypeBytes(DType::kF8E4M3), 1);
  EXPECT_EQ(DTypeBytes(DType::kI64), 8);
}

// The known answer of Philox4x32-10 for a counter and a key of zeros (Random123's kat_vectors). A
// draw's counter holds its purpose, so zero is not one of ours: purpose 0 is cast on purpose.
TEST(Random, PhiloxKnownAnswerForZeros) {
  const DrawKey zeros{
      .seed = 0, .stream = 0, .layer = 0, .position = 0, .purpose = static_cast<DrawPurpose>(0)};
  EXPECT_EQ(DrawWord(zeros, 0), 0x6627e8d5u);
  EXPECT_EQ(DrawWord(zeros, 1), 0xe169c58du);
  EXPECT_EQ(DrawWord(zeros, 2), 0xbc57ac4cu);
  EXPECT_EQ(DrawWord(zeros, 3), 0x9b00dbd8u);
}

TEST(Random, DrawsOfTheWorkedExample) {
  const uint32_t words[] = {1033147047u, 322610652u,  1833953048u, 3652530383u,
                            1851369597u, 3142060197u, 2878824694u, 3750847938u};
  const double uniforms[] = {.240548253, .075113595, .427000463, .850420952,
                             .431055546, .731567860, .670278549, .873312294};
  for (uint32_t position = 0; position < 8; ++position) {
    const DrawKey key{.seed = 1234,
                      .stream = 7,
                      .layer = 3,
                      .position = position,
                      .purpose = DrawPurpose::kExtraExpert};
    EXPECT_EQ(DrawWord(key, 1), words[position]) << position;
    EXPECT_NEAR(DrawUniform(key, 1), uniforms[position], 5e-8) << position;
  }
}

TEST(Random, EveryPartOfTheKeyCounts) {
  const DrawKey key{
      .seed = 1, .stream = 2, .layer = 3, .position = 4, .purpose = DrawPurpose::kExtraExpert};
  const uint32_t word = DrawWord(key, 5);
  DrawKey other = key;
  other.seed += uint64_t{1} << 32;
  EXPECT_NE(DrawWord(other, 5), word);
  other = key;
  other.stream += uint64_t{1} << 32;
  EXPECT_NE(DrawWord(other, 5), word);
  other = key;
  other.layer += 1;
  EXPECT_NE(DrawWord(other, 5), word);
  other = key;
  other.position += 1;
  EXPECT_NE(DrawWord(other, 5), word);
  other = key;
  other.purpose = DrawPurpose::kGumbel;
  EXPECT_NE(DrawWord(other, 5), word);
  EXPECT_NE(DrawWord(key, 6), word);
  EXPECT_EQ(DrawWord(key, 5), word);
}

TEST(Random, UnitIsBelowOne) {
  EXPECT_EQ(ToUnit(0), 0.0f);
  EXPECT_EQ(ToUnit(0xffffffffu), 1.0f - 0x1p-24f);
}

TEST(Workspace, StopsAllocatingAfterTheFirstRound) {
  Workspace workspace;
  int64_t after_first = 0;
  for (int round = 0; round < 4; ++round) {
    workspace.Reset();
    std::vector<float*> taken;
    for (int64_t size = 1; size < 3'000'000; size *= 7) {
      const std::span<float> span = workspace.Get<float>(size);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(span.data()) % 64, 0u);
      ASSERT_EQ(static_cast<int64_t>(span.size()), size);
      span.front() = 1.0f;
      span.back() = 2.0f;
      taken.push_back(span.data());
    }
    for (size_t i = 1; i < taken.size(); ++i) EXPECT_NE(taken[i], taken[i - 1]);
    if (round == 0) after_first = workspace.allocations();
    EXPECT_EQ(workspace.allocations(), after_first);
  }
}

TEST(Workspace, ReleaseGivesBackWhatCameAfterMark) {
  Workspace workspace;
  const float* before = workspace.Get<float>(10).data();
  const Workspace::Position mark = workspace.Mark();
  const float* first = workspace.Get<float>(100).data();
  workspace.Release(mark);
  EXPECT_EQ(workspace.Get<float>(100).data(), first);
  workspace.Reset();
  EXPECT_EQ(workspace.Get<float>(10).data(), before);
}

TEST(MachineProbe, SaysWhatItFound) {
  const CpuFeatures cpu = DetectCpu();
  EXPECT_FALSE(cpu.model.empty());
  EXPECT_GE(cpu.allowed_cores, 1);
  EXPECT_GT(cpu.memory_bytes, 0);
  EXPECT_NE(Describe(cpu).find(cpu.kernels), std::string::npos);
  CpuFeatures old = cpu;
  old.fused = false;
  EXPECT_NE(Describe(old).find("AVX2"), std::string::npos);
}

TEST(MachineProbe, MeasuresSomething) {
  ThreadPool pool(2);
  EXPECT_GT(MeasureReadBandwidth(pool), 1e7);
  for (const ProductKind kind : {ProductKind::kFloats, ProductKind::kIntegers, ProductKind::kBytes,
                                 ProductKind::kBfloat16}) {
    EXPECT_GT(MeasurePeak(pool, kind), 1e6) << ProductKindName(kind);
  }
}

TEST(Nearest, EditsAreCountedWithSwaps) {
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("top_k", "topk"), 1);
  EXPECT_EQ(EditDistance("switch", "swicth"), 1);
  EXPECT_EQ(EditDistance("ca", "abc"), 3);  // no edit inside of a swap
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
}

TEST(Nearest, OneThatCanBeMeant) {
  const std::vector<std::string> known = {"mixtral", "switch", "swatch", "gshard"};
  EXPECT_EQ(Nearest("swtch", known), &known[1]);  // the first of equals
  EXPECT_EQ(Nearest("mixtrall", known), &known[0]);
  EXPECT_EQ(Nearest("abcdef", known), nullptr);
  EXPECT_EQ(Nearest("", known), nullptr);
  EXPECT_EQ(Nearest(std::string(10'000'000, 'm'), known), nullptr);  // at once
}

}  // namespace
}  // namespace folkmoot
