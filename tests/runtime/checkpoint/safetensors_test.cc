// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/checkpoint/safetensors_bytes.h"

namespace folkmoot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<SafetensorsFile> Parse(const std::string& bytes) {
  return ParseSafetensors("a.safetensors", std::as_bytes(std::span(bytes)));
}

std::string ErrorOf(const std::string& bytes) {
  const auto parsed = Parse(bytes);
  EXPECT_FALSE(parsed.ok());
  return parsed.ok() ? "" : std::string(Message(parsed.status()));
}

struct BadFile {
  std::string name;
  std::string header;
  size_t data_bytes;
  std::vector<std::string> wanted;
};

class BadHeaderTest : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadHeaderTest, NamesTheCulprit) {
  const std::string data(GetParam().data_bytes, '\0');
  const std::string message = ErrorOf(SafetensorsBytes(GetParam().header, data));
  EXPECT_THAT(message, HasSubstr("a.safetensors: "));
  for (const std::string& part : GetParam().wanted) EXPECT_THAT(message, HasSubstr(part));
}

std::string Tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"("w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}";
}

std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + Tensor(dtype, shape, offsets) + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Headers, BadHeaderTest,
    ::testing::Values(
        BadFile{"NotJson", "{\"w\": ", 0, {"not JSON"}},
        BadFile{"EmptyHeader", "", 4, {"not JSON"}},
        BadFile{"InvalidUtf8", "{\"\xff\": 1}", 0, {"not JSON"}},
        BadFile{"NotAnObject", "[1]", 0, {"must be a JSON object"}},
        BadFile{"TooDeep", std::string(5000, '['), 0, {"not JSON"}},
        BadFile{"TensorNotAnObject", R"({"w": 3})", 0, {"'w'", "must be an object"}},
        BadFile{"MetadataNotStrings", R"({"__metadata__": {"a": 1}})", 0, {"__metadata__"}},
        BadFile{"UnknownField",
                R"({"w":{"dtype":"F32","shape":[],"offset":[0,4]}})",
                4,
                {"'w'", "'offset'"}},
        BadFile{"FieldTwice",
                R"({"w":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                4,
                {"'w'", "twice"}},
        BadFile{"NoDType", R"({"w":{"shape":[],"data_offsets":[0,4]}})", 4, {"'w'", "'dtype'"}},
        BadFile{"NoShape", R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4, {"'w'", "'shape'"}},
        BadFile{"NoOffsets", R"({"w":{"dtype":"F32","shape":[]}})", 4, {"'w'", "'data_offsets'"}},
        BadFile{"UnknownDType", One("F4", "[2]", "[0,1]"), 1, {"'w'", "'F4'", "BF16"}},
        BadFile{"DTypeNotAString",
                R"({"w":{"dtype":4,"shape":[],"data_offsets":[0,4]}})",
                4,
                {"'w'", "'dtype'"}},
        BadFile{"ShapeNotAList", One("F32", "1", "[0,4]"), 4, {"'w'", "'shape'"}},
        BadFile{"NegativeSize", One("F32", "[-1]", "[0,4]"), 4, {"'w'", "-1"}},
        BadFile{"FractionalSize", One("F32", "[1.5]", "[0,4]"), 4, {"'w'", "1.5"}},
        BadFile{"HugeSize",
                One("F32", "[18446744073709551615]", "[0,4]"),
                4,
                {"'w'", "18446744073709551615"}},
        BadFile{"ProductOverflows",
                One("F32", "[4294967296,4294967296]", "[0,0]"),
                0,
                {"'w'", "[4294967296, 4294967296]", "larger"}},
        // 2^62 elements of 4 bytes are 2^64 bytes, which is 0 in 64 bits.
        BadFile{"ByteProductOverflows",
                One("F32", "[4611686018427387904]", "[0,0]"),
                0,
                {"'w'", "larger"}},
        BadFile{"ShapeAgainstOffsets",
                One("BF16", "[2,3]", "[0,8]"),
                8,
                {"'w'", "[2, 3] of BF16 needs 12 bytes", "span 8"}},
        BadFile{"OffsetsNotTwo", One("F32", "[1]", "[0,4,8]"), 4, {"'w'", "two integers"}},
        BadFile{"NegativeOffset", One("F32", "[1]", "[-4,0]"), 4, {"'w'", "two integers"}},
        BadFile{"OffsetsReversed", One("F32", "[1]", "[4,0]"), 4, {"'w'", "[4, 0]"}},
        BadFile{"OffsetsFarOutside",
                One("U8", "[4]", "[18446744073709551608,18446744073709551612]"),
                4,
                {"'w'", "truncated"}}),
    [](const ::testing::TestParamInfo<BadFile>& test) { return test.param.name; });

TEST(Safetensors, ReadsNamesShapesAndOffsets) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]},)"
      R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},)"
      R"("none":{"dtype":"F64","shape":[0,9223372036854775807],"data_offsets":[12,12]}}  )";
  const auto parsed = Parse(SafetensorsBytes(header, std::string(12, 'x')));
  ASSERT_TRUE(parsed.ok()) << Message(parsed.status());
  ASSERT_EQ(parsed->entries.size(), 3u);
  EXPECT_EQ(parsed->header_bytes, 8 + header.size());
  EXPECT_EQ(parsed->entries[0].name, "a");
  EXPECT_EQ(parsed->entries[0].dtype, DType::kBF16);
  EXPECT_EQ(parsed->entries[1].name, "b");
  EXPECT_THAT(parsed->entries[1].shape, ElementsAre(2, 1));
  EXPECT_EQ(parsed->entries[1].offset, parsed->header_bytes + 4);
  EXPECT_EQ(parsed->entries[1].bytes, 8u);
  EXPECT_EQ(parsed->entries[2].bytes, 0u);
}

TEST(Safetensors, ScalarAndEmptyFileOfTensors) {
  EXPECT_TRUE(Parse(SafetensorsBytes(One("F32", "[]", "[0,4]"), "abcd")).ok());
  EXPECT_TRUE(Parse(SafetensorsBytes("{}", "")).ok());
}

TEST(Safetensors, EmptyAndTruncatedFiles) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("abc"), HasSubstr("truncated: 3 bytes"));
  EXPECT_THAT(ErrorOf(SafetensorsBytes("{}", "", 90)),
              HasSubstr("truncated: the header ends at byte 98, but the file has 10"));
  const std::string header = One("F32", "[3]", "[0,12]");
  const std::string end = std::to_string(8 + header.size() + 12);
  const std::string size = std::to_string(8 + header.size() + 5);
  EXPECT_THAT(
      ErrorOf(SafetensorsBytes(header, "12345")),
      HasSubstr("truncated: tensor 'w' ends at byte " + end + ", but the file has " + size));
}

TEST(Safetensors, HeaderOverTheLimit) {
  EXPECT_THAT(ErrorOf(SafetensorsBytes("{}", "", 100'000'001)), HasSubstr("limit of 100000000"));
  EXPECT_THAT(ErrorOf(SafetensorsBytes("{}", "", UINT64_MAX)), HasSubstr("limit of 100000000"));
}

std::string Two(const std::string& first, const std::string& second,
                const std::string& second_name = "v") {
  return R"({"w":{"dtype":"U8","shape":[4],"data_offsets":)" + first + R"(},")" + second_name +
         R"(":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
}

TEST(Safetensors, Layout) {
  const std::string data(8, '\0');
  EXPECT_TRUE(Parse(SafetensorsBytes(Two("[4,8]", "[0,4]"), data)).ok());
  EXPECT_THAT(ErrorOf(SafetensorsBytes(Two("[0,4]", "[3,7]"), data)),
              HasSubstr("'w' and 'v' overlap"));
  EXPECT_THAT(ErrorOf(SafetensorsBytes(Two("[0,4]", "[0,4]"), data)), HasSubstr("overlap"));
  EXPECT_THAT(ErrorOf(SafetensorsBytes(Two("[0,4]", "[5,9]"), data + "x")),
              HasSubstr("1 bytes before tensor 'v' belong to no tensor"));
  EXPECT_THAT(ErrorOf(SafetensorsBytes(Two("[0,4]", "[4,8]"), data + "xyz")),
              HasSubstr("3 bytes after the last tensor"));
  EXPECT_THAT(ErrorOf(SafetensorsBytes(Two("[0,4]", "[4,8]", "w"), data)),
              HasSubstr("tensor 'w' stands twice"));
}

}  // namespace
}  // namespace folkmoot
