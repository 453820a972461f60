// SPDX-License-Identifier: Apache-2.0
// Every published layout, number by number, against what other programs read in the same bytes.
#include "runtime/quant/weight_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/quant/quant_case.h"

namespace folkmoot {
namespace {

class Quant : public testing::TestWithParam<std::string> {};

TEST_P(Quant, IsReadAsOthersReadIt) {
  QuantCase test(GetParam());
  ASSERT_GT(test.matrices(), 0u);
  for (size_t m = 0; m < test.matrices(); ++m) {
    const auto codes = test.Open(m);
    ASSERT_TRUE(codes.ok()) << codes.status();
    const CodeMatrix& matrix = **codes;
    EXPECT_EQ(WhyNotRunnable(matrix.spec(), matrix.k()), "");
    EXPECT_FALSE(matrix.storage().bytes.empty());
    const int64_t others = test.refs[m].slices > 0 ? test.refs[m].slice_rows : matrix.n();
    EXPECT_EQ(matrix.storage().rows, others);
    const std::vector<float> expected = test.Expected(m);
    ASSERT_EQ(expected.size(), static_cast<size_t>(matrix.n() * matrix.k()));
    CodeRowBuffer buffer(matrix);
    std::vector<float> row(static_cast<size_t>(matrix.k()));
    for (int64_t r = 0; r < matrix.n(); ++r) {
      DequantizeRow(matrix, r, buffer.row(), row);
      for (size_t i = 0; i < row.size(); ++i) {
        ASSERT_EQ(row[i], expected[static_cast<size_t>(r) * row.size() + i])
            << test.refs[m].name << " row " << r << " column " << i;
      }
    }
  }
}

// Each part that Parts names is needed, or is one of those that may be left out.
TEST_P(Quant, PartsAreThoseOfTheFile) {
  QuantCase test(GetParam());
  ASSERT_TRUE(test.Open().ok());
  const auto format = test.Format();
  ASSERT_TRUE(format.ok());
  std::vector<std::string> named;
  for (const TensorRef& ref : test.refs) {
    for (const std::string& part : (*format)->Parts(test.checkpoint(), ref.name)) {
      named.push_back(part);
    }
  }
  for (const auto& [name, tensor] : test.tensors) {
    if (name.starts_with("expected.")) continue;
    EXPECT_THAT(named, testing::Contains(name));
  }
  EXPECT_TRUE((*format)->Parts(test.checkpoint(), "no.such.weight").empty());
  EXPECT_TRUE((*format)->Parts(test.checkpoint(), "expected.0").empty());
  EXPECT_FALSE((*format)->description().empty());
}

std::string NameOf(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Layouts, Quant, testing::ValuesIn(QuantCases()), NameOf);

// The codes stay codes: their type and groups are those of the file.
TEST(QuantSpec, CodesStayAsTheyAre) {
  const auto spec = [](const char* name) {
    QuantCase test(name);
    const auto codes = test.Open();
    EXPECT_TRUE(codes.ok()) << codes.status();
    return (*codes)->spec();
  };
  const DType half = DType::kF16;
  EXPECT_EQ(spec("ct-int4-group"), (CodeSpec{.type = CodeType::kInt4, .group = 32}));
  EXPECT_EQ(spec("ct-int4-group-f16"),
            (CodeSpec{.type = CodeType::kInt4, .group = 64, .scale_type = half}));
  EXPECT_EQ(spec("ct-int4-group-zeros"),
            (CodeSpec{.type = CodeType::kUint4, .group = 32, .offsets = true}));
  EXPECT_EQ(spec("ct-int8-channel"), (CodeSpec{.type = CodeType::kInt8, .group = 98}));
  EXPECT_EQ(spec("ct-fp8-channel"), (CodeSpec{.type = CodeType::kFp8, .group = 100}));
  EXPECT_EQ(spec("ct-mxfp4"), (CodeSpec{.type = CodeType::kFp4, .group = 32}));
  EXPECT_EQ(spec("ct-nvfp4"), (CodeSpec{.type = CodeType::kFp4, .group = 16}));
  EXPECT_EQ(spec("awq"), (CodeSpec{.type = CodeType::kUint4, .group = 32, .offsets = true}));
  EXPECT_EQ(spec("gptq-int4"),
            (CodeSpec{.type = CodeType::kInt4, .group = 32, .scale_type = half}));
  EXPECT_EQ(spec("gptq-int8-zeros"),
            (CodeSpec{.type = CodeType::kInt8, .group = 32, .offsets = true}));
  EXPECT_EQ(spec("fp8-block"), (CodeSpec{.type = CodeType::kFp8, .group = 128}));
  EXPECT_EQ(spec("mxfp8"), (CodeSpec{.type = CodeType::kFp8, .group = 32}));
  const CodeSpec nvfp4 = {.type = CodeType::kFp4, .group = 16};
  EXPECT_EQ(spec("modelopt-nvfp4"), nvfp4);
  EXPECT_EQ(spec("modelopt-nvfp4-packed"), nvfp4);
  EXPECT_EQ(spec("modelopt-fp8-blocks"), (CodeSpec{.type = CodeType::kFp8, .group = 128}));
  EXPECT_EQ(spec("inkling2-nvfp4"), nvfp4);
  EXPECT_EQ(spec("mxfp4-packed"), (CodeSpec{.type = CodeType::kFp4, .group = 32}));
  EXPECT_EQ(spec("mxfp8-packed"), (CodeSpec{.type = CodeType::kFp8, .group = 32}));
}

}  // namespace
}  // namespace folkmoot
