// SPDX-License-Identifier: Apache-2.0
// Blocks of every format against the numbers that the gguf package reads from them
// (tests/data/gguf/blocks.json, written by tools/make_gguf_goldens.py), bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "nlohmann/json.hpp"
#include "runtime/quant/block_format.h"

namespace folkmoot {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> FromHex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

class GgufBlocks : public testing::TestWithParam<const BlockFormat*> {
 protected:
  // All blocks of the golden file, as the rows of a matrix with one block each.
  void SetUp() override {
    const auto golden =
        nlohmann::json::parse(std::ifstream(FOLKMOOT_TEST_DATA "/gguf/blocks.json"));
    for (const auto& row : golden.at(std::string(GetParam()->name))) {
      const auto block = FromHex(row["block"].get<std::string>());
      ASSERT_EQ(static_cast<int64_t>(block.size()), GetParam()->bytes);
      data_.insert(data_.end(), block.begin(), block.end());
      const auto bytes = FromHex(row["numbers"].get<std::string>());
      std::vector<float>& numbers = numbers_.emplace_back(bytes.size() / sizeof(float));
      std::memcpy(numbers.data(), bytes.data(), bytes.size());
    }
    ASSERT_GE(numbers_.size(), 10u);
  }

  BlockMatrix Matrix(int64_t n, int64_t k, const BlockMatrix::Place& place) const {
    return BlockMatrix(*GetParam(), n, k, place);
  }
  int64_t rows() const { return static_cast<int64_t>(numbers_.size()); }

  static void ExpectBits(const std::vector<float>& actual, const std::vector<float>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      // -0 and 0 are one number: a scale of -0 gives either.
      EXPECT_EQ(actual[i], expected[i]) << i;
    }
  }

  std::vector<std::byte> data_;
  std::vector<std::vector<float>> numbers_;
};

TEST_P(GgufBlocks, StandForTheSameNumbers) {
  const int64_t k = GetParam()->weights;
  const BlockMatrix matrix = Matrix(rows(), k, {.data = data_.data()});
  EXPECT_TRUE(matrix.CheckFinite("w").ok());
  EXPECT_EQ(WhyNotRunnable(matrix.spec(), k), "");
  CodeRowBuffer buffer(matrix);
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t r = 0; r < rows(); ++r) {
    DequantizeRow(matrix, r, buffer.row(), row);
    ExpectBits(row, numbers_[static_cast<size_t>(r)]);
  }
}

TEST_P(GgufBlocks, RowsOfSeveralBlocksFollowEachOther) {
  const int64_t k = 5 * GetParam()->weights;
  const BlockMatrix matrix = Matrix(1, k, {.data = data_.data(), .first_row = 1});
  EXPECT_EQ(matrix.storage().bytes.data(), data_.data() + 5 * GetParam()->bytes);
  EXPECT_EQ(static_cast<int64_t>(matrix.storage().bytes.size()), 5 * GetParam()->bytes);
  CodeRowBuffer buffer(matrix);
  std::vector<float> row(static_cast<size_t>(k));
  DequantizeRow(matrix, 0, buffer.row(), row);
  std::vector<float> expected;
  for (size_t b = 5; b < 10; ++b) {
    expected.insert(expected.end(), numbers_[b].begin(), numbers_[b].end());
  }
  ExpectBits(row, expected);
}

TEST_P(GgufBlocks, InterleavedRowsAreFound) {
  const BlockMatrix matrix =
      Matrix(8, GetParam()->weights, {.data = data_.data(), .order = {.head_dim = 4}});
  CodeRowBuffer buffer(matrix);
  std::vector<float> row(static_cast<size_t>(GetParam()->weights));
  const std::vector<size_t> stored = {0, 2, 1, 3, 4, 6, 5, 7};  // pairs (0, 2), (1, 3) of a head
  for (int64_t r = 0; r < 8; ++r) {
    DequantizeRow(matrix, r, buffer.row(), row);
    ExpectBits(row, numbers_[stored[static_cast<size_t>(r)]]);
  }
}

TEST_P(GgufBlocks, ScalesThatAreNotFiniteAreFound) {
  struct Scale {
    std::string_view format;
    size_t offset;
  };
  for (const Scale& scale : {Scale{"Q8_0", 0}, Scale{"Q4_0", 0}, Scale{"Q4_1", 0}, Scale{"Q4_1", 2},
                             Scale{"Q4_K", 0}, Scale{"Q4_K", 2}, Scale{"Q6_K", 208}}) {
    if (scale.format != GetParam()->name) continue;
    for (const int number : {0x7c00, 0xfc00, 0x7e00, 0x7c01}) {
      const auto bad = static_cast<uint16_t>(number);
      std::vector<std::byte> data = data_;
      const size_t at = 3 * static_cast<size_t>(GetParam()->bytes) + scale.offset;
      std::memcpy(data.data() + at, &bad, sizeof(bad));
      const absl::Status status =
          Matrix(5, 2 * GetParam()->weights, {.data = data.data()}).CheckFinite("f: tensor 'w'");
      EXPECT_THAT(std::string(Message(status)), HasSubstr("f: tensor 'w': block 1 of row 1"));
      EXPECT_TRUE(Matrix(1, 2 * GetParam()->weights, {.data = data.data()}).CheckFinite("").ok());
    }
  }
  if (GetParam()->name != "MXFP4") return;
  std::vector<std::byte> data = data_;
  data[17] = std::byte{255};
  EXPECT_FALSE(Matrix(2, 32, {.data = data.data()}).CheckFinite("w").ok());
}

INSTANTIATE_TEST_SUITE_P(Formats, GgufBlocks, testing::ValuesIn(BlockFormats()),
                         [](const auto& param) { return std::string(param.param->name); });

}  // namespace
}  // namespace folkmoot
