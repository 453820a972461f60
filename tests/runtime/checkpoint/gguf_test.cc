// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/runtime/checkpoint/gguf_bytes.h"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<GgufFile> Parse(const std::string& bytes) {
  return ParseGguf("a.gguf", std::as_bytes(std::span(bytes)));
}

std::string ErrorOf(const std::string& bytes) {
  const auto parsed = Parse(bytes);
  EXPECT_FALSE(parsed.ok());
  return parsed.ok() ? "" : std::string(Message(parsed.status()));
}

TEST(Gguf, ReadsKeysOfEveryType) {
  const std::string bytes = GgufBytes()
                                .Raw("u8", GgufType::kUint8, "\xff")
                                .Raw("i8", GgufType::kInt8, "\xff")
                                .Raw("u16", GgufType::kUint16, Little<uint16_t>(65535))
                                .Raw("i16", GgufType::kInt16, Little<int16_t>(-2))
                                .Int("u32", 4'000'000'000u)
                                .Raw("i32", GgufType::kInt32, Little<int32_t>(-3))
                                .Raw("u64", GgufType::kUint64, Little<uint64_t>(1ull << 63))
                                .Raw("i64", GgufType::kInt64, Little<int64_t>(-4))
                                .Raw("f64", GgufType::kFloat64, Little(0.1))
                                .Float("f32", 0.5f)
                                .Bool("yes", true)
                                .String("text", "abc")
                                .Strings("list", {"", "a", "bc"})
                                .Ints("ints", {7, -8})
                                .Bytes();
  const auto parsed = Parse(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const auto at = [&](const char* key) -> const GgufValue& {
    return parsed->keys.find(key)->second;
  };
  EXPECT_EQ(at("u8").Int(), 255);
  EXPECT_EQ(at("i8").Int(), -1);
  EXPECT_EQ(at("u16").Int(), 65535);
  EXPECT_EQ(at("i16").Int(), -2);
  EXPECT_EQ(at("u32").Int(), 4'000'000'000);
  EXPECT_EQ(at("i32").Int(), -3);
  EXPECT_EQ(at("u64").Int(), std::nullopt) << "above 2^63 - 1";
  EXPECT_EQ(at("i64").Int(), -4);
  EXPECT_EQ(at("f64").Number(), 0.1);
  EXPECT_EQ(at("f32").Number(), 0.5);
  EXPECT_EQ(at("f32").Int(), std::nullopt);
  EXPECT_EQ(at("yes").Bool(), true);
  EXPECT_EQ(at("yes").Int(), std::nullopt);
  EXPECT_EQ(at("text").String(), "abc");
  EXPECT_THAT(at("list").Strings().value(), ElementsAre("", "a", "bc"));
  EXPECT_EQ(at("ints").Int(1), -8);
  EXPECT_EQ(at("ints").Int(2), std::nullopt);
}

TEST(Gguf, ReadsTensorsOutermostSizeFirst) {
  const auto parsed = Parse(
      GgufBytes().Add("q", {64, 3}, 8, std::string(2 * 3 * 34, '\1')).F32("w", {2, 5}).Bytes());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->tensors.size(), 2u);
  EXPECT_THAT(parsed->tensors[0].shape, ElementsAre(3, 64));
  EXPECT_EQ(parsed->tensors[0].blocks->name, "Q8_0");
  EXPECT_EQ(parsed->tensors[0].bytes, 204u);
  EXPECT_EQ(parsed->tensors[1].blocks, nullptr);
  EXPECT_EQ(parsed->tensors[1].dtype, DType::kF32);
  EXPECT_EQ(parsed->tensors[1].offset, parsed->tensors[0].offset + 224);
}

TEST(Gguf, EveryTruncationIsAnError) {
  const std::string bytes =
      LlamaKeys().Strings("list", {"a", "b"}).Ints("ints", {1}).F32("w", {8, 2}).Bytes();
  ASSERT_TRUE(Parse(bytes).ok());
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(Parse(bytes.substr(0, length)).ok()) << length;
  }
}

struct BadGguf {
  std::string name;
  std::string bytes;
  std::vector<std::string> wanted;
};

class BadGgufTest : public ::testing::TestWithParam<BadGguf> {};

TEST_P(BadGgufTest, NamesTheCulprit) {
  const std::string message = ErrorOf(GetParam().bytes);
  EXPECT_THAT(message, HasSubstr("a.gguf: "));
  for (const std::string& part : GetParam().wanted) EXPECT_THAT(message, HasSubstr(part));
}

std::string WithVersion(uint32_t version) {
  GgufBytes file;
  file.version = version;
  return file.Bytes();
}

std::string WithCounts(uint64_t keys, uint64_t tensors) {
  GgufBytes file = LlamaKeys();
  file.extra_keys = keys;
  file.extra_tensors = tensors;
  return file.Bytes();
}

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
const std::string kF32Array = Little<uint32_t>(6);

INSTANTIATE_TEST_SUITE_P(
    Files, BadGgufTest,
    ::testing::Values(
        BadGguf{"Empty", "", {"not a GGUF file"}},
        BadGguf{"OtherMagic", "GGML" + std::string(60, '\0'), {"not a GGUF file"}},
        BadGguf{"Version1", WithVersion(1), {"version 1", "2 and 3"}},
        BadGguf{"BigEndian", WithVersion(0x03000000), {"big endian"}},
        BadGguf{"KeysMissing", WithCounts(3, 0), {"truncated", "key"}},
        BadGguf{"AbsurdKeyCount", WithCounts(kHuge / 2, 0), {"truncated"}},
        BadGguf{"AbsurdTensorCount", WithCounts(0, kHuge / 2), {"truncated", "tensor 0"}},
        BadGguf{"KeyTwice",
                LlamaKeys().Int("llama.block_count", 1).Bytes(),
                {"'llama.block_count'", "twice"}},
        BadGguf{"StringPastTheEnd",
                GgufBytes().Raw("k", GgufType::kString, Little<uint64_t>(1000)).Bytes(),
                {"'k'", "truncated"}},
        BadGguf{"StringLengthOverflows",
                GgufBytes().Raw("k", GgufType::kString, Little(kHuge)).Bytes(),
                {"'k'", "truncated"}},
        BadGguf{"ArrayPastTheEnd",
                GgufBytes().Raw("k", GgufType::kArray, kF32Array + Little<uint64_t>(99)).Bytes(),
                {"'k'", "truncated"}},
        BadGguf{"ArrayCountOverflows",
                GgufBytes().Raw("k", GgufType::kArray, kF32Array + Little(kHuge / 4 + 2)).Bytes(),
                {"'k'", "truncated"}},
        BadGguf{"ArrayOfArrays",
                GgufBytes()
                    .Raw("k", GgufType::kArray, Little<uint32_t>(9) + Little<uint64_t>(0))
                    .Bytes(),
                {"'k'", "array of arrays"}},
        BadGguf{"UnknownValueType",
                GgufBytes().Raw("k", static_cast<GgufType>(13), "").Bytes(),
                {"'k'", "unknown type 13"}},
        BadGguf{"BooleanIsTwo",
                GgufBytes().Raw("k", GgufType::kBool, "\2").Bytes(),
                {"'k'", "boolean"}},
        BadGguf{"AlignmentNoPowerOfTwo",
                GgufBytes().Int("general.alignment", 24).Bytes(),
                {"'general.alignment'", "power of two"}},
        BadGguf{"AlignmentZero",
                GgufBytes().Int("general.alignment", 0).Bytes(),
                {"'general.alignment'"}},
        BadGguf{"AlignmentIsText",
                GgufBytes().String("general.alignment", "32").Bytes(),
                {"'general.alignment'"}},
        BadGguf{"NoDimensions", GgufBytes().Tensor("w", {}, 0, 0).Bytes(), {"'w'", "0 dimensions"}},
        BadGguf{"FiveDimensions",
                GgufBytes().Tensor("w", {1, 1, 1, 1, 1}, 0, 0).Bytes(4),
                {"'w'", "5 dimensions"}},
        BadGguf{"DimensionZero",
                GgufBytes().Tensor("w", {4, 0}, 0, 0).Bytes(16),
                {"'w'", "dimension 1 is 0"}},
        BadGguf{"DimensionNegative",
                GgufBytes().Tensor("w", {kHuge}, 0, 0).Bytes(16),
                {"'w'", "dimension 0"}},
        BadGguf{"ShapeOverflows",
                GgufBytes().Tensor("w", {1ull << 40, 1ull << 40}, 0, 0).Bytes(16),
                {"'w'", "larger than any file"}},
        BadGguf{"BlocksOverflow",
                GgufBytes().Tensor("w", {1ull << 32, 1ull << 31}, 2, 0).Bytes(16),
                {"'w'", "larger than any file"}},
        BadGguf{"UnknownType",
                GgufBytes().Tensor("w", {4}, 99, 0).Bytes(16),
                {"'w'", "unknown type 99", "Q4_K"}},
        BadGguf{"TypeOfOthers",
                GgufBytes().Tensor("w", {256}, 13, 0).Bytes(176),
                {"'w'", "Q5_K", "not supported", "Q6_K"}},
        BadGguf{"RowsNoWholeBlocks",
                GgufBytes().Tensor("w", {48, 2}, 8, 0).Bytes(102),
                {"'w'", "48", "Q8_0"}},
        BadGguf{"TensorTwice",
                GgufBytes().Tensor("w", {8}, 0, 0).Tensor("w", {8}, 0, 32).Bytes(64),
                {"'w'", "twice"}},
        BadGguf{"Misaligned",
                GgufBytes().Tensor("w", {4}, 0, 16).Bytes(32),
                {"'w'", "no multiple of 32"}},
        BadGguf{"OffsetPastTheEnd",
                GgufBytes().Tensor("w", {4}, 0, 1ull << 40).Bytes(16),
                {"'w'", "truncated"}},
        BadGguf{"OffsetOverflows",
                GgufBytes().Tensor("w", {16}, 0, kHuge - 31).Bytes(64),
                {"'w'", "truncated"}},
        BadGguf{"EndsPastTheEnd",
                GgufBytes().Tensor("w", {100}, 0, 0).Bytes(396),
                {"'w'", "400 bytes", "truncated"}},
        BadGguf{"Overlap",
                GgufBytes().Tensor("w", {10}, 0, 0).Tensor("v", {8}, 0, 32).Bytes(64),
                {"'w' and 'v' overlap"}},
        BadGguf{"Hole",
                GgufBytes().Tensor("w", {8}, 0, 0).Tensor("v", {8}, 0, 96).Bytes(128),
                {"64 bytes before tensor 'v'"}},
        BadGguf{"BytesBehind",
                GgufBytes().Tensor("w", {8}, 0, 0).Bytes(64),
                {"32 bytes after the last tensor"}},
        BadGguf{"LongTensorName",
                GgufBytes().Tensor(std::string(2000, 'w'), {8}, 0, 0).Bytes(32),
                {"name of tensor 0", "2000", "limit"}}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace folkmoot
