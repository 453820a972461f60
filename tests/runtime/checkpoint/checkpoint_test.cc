// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "runtime/checkpoint/readable.h"
#include "tests/runtime/checkpoint/safetensors_bytes.h"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string Floats(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::string Entry(const std::string& name, size_t count, size_t begin) {
  return "\"" + name + R"(":{"dtype":"F32","shape":[)" + std::to_string(count) +
         R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(begin + 4 * count) +
         "]}";
}

// One tensor; the header is padded so that the data begins at `misalign` modulo 8.
std::string OneTensor(const std::string& name, const std::vector<float>& values,
                      size_t misalign = 0) {
  std::string header = "{" + Entry(name, values.size(), 0) + "}";
  while (header.size() % 8 != misalign) header += ' ';
  return SafetensorsBytes(header, Floats(values));
}

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest()
      : directory_(fs::path(::testing::TempDir()) /
                   (std::string("checkpoint_") +
                    ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~CheckpointTest() override { fs::remove_all(directory_); }

  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(directory_ / name, std::ios::binary) << bytes;
  }
  void WriteIndex(const std::string& weight_map) const {
    Write("model.safetensors.index.json", R"({"metadata":{},"weight_map":)" + weight_map + "}");
  }
  std::unique_ptr<Checkpoint> Open() const {
    auto opened = Checkpoint::Open(directory_.string());
    EXPECT_TRUE(opened.ok()) << Message(opened.status());
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  std::string OpenError() const {
    const auto opened = Checkpoint::Open(directory_.string());
    EXPECT_FALSE(opened.ok());
    return opened.ok() ? "" : std::string(Message(opened.status()));
  }

  fs::path directory_;
};

std::vector<float> Values(const TensorInfo& info) {
  const auto* data = reinterpret_cast<const float*>(info.data);
  return {data, data + info.bytes / 4};
}

TEST_F(CheckpointTest, OneFile) {
  Write("model.safetensors", OneTensor("a.weight", {1.5f, -2.0f, 3.25f}));
  const auto checkpoint = Open();
  ASSERT_NE(checkpoint, nullptr);
  const TensorInfo* info = checkpoint->Find("a.weight");
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->dtype, DType::kF32);
  EXPECT_THAT(info->shape, ElementsAre(3));
  EXPECT_THAT(Values(*info), ElementsAre(1.5f, -2.0f, 3.25f));
  EXPECT_THAT(std::string(info->file), HasSubstr("model.safetensors"));
  EXPECT_EQ(checkpoint->Find("b"), nullptr);
  EXPECT_EQ(checkpoint->total_bytes(), 12);
}

TEST_F(CheckpointTest, Shards) {
  Write("x-2.safetensors", OneTensor("a", {2.0f}));
  Write("x-1.safetensors", OneTensor("b", {1.0f, 7.0f}));
  WriteIndex(R"({"b":"x-1.safetensors","a":"x-2.safetensors"})");
  const auto checkpoint = Open();
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_THAT(checkpoint->Names(), ElementsAre("a", "b"));
  EXPECT_THAT(Values(*checkpoint->Find("b")), ElementsAre(1.0f, 7.0f));
  EXPECT_EQ(checkpoint->total_bytes(), 12);
}

TEST_F(CheckpointTest, MisalignedDataIsAlignedWhenFound) {
  Write("model.safetensors", OneTensor("w", {1.0f, 2.0f, 3.0f}, 5));
  const auto checkpoint = Open();
  ASSERT_NE(checkpoint, nullptr);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&checkpoint] {
      const TensorInfo* info = checkpoint->Find("w");
      EXPECT_EQ(std::bit_cast<uintptr_t>(info->data) % 4, 0u);
      EXPECT_THAT(Values(*info), ElementsAre(1.0f, 2.0f, 3.0f));
    });
  }
  for (std::thread& thread : threads) thread.join();
  // A loader gives pages back that it has read; they must come back with what was in them.
  const TensorInfo* info = checkpoint->Find("w");
  ASSERT_EQ(madvise(const_cast<std::byte*>(info->data), 4096, MADV_DONTNEED), 0);
  EXPECT_THAT(Values(*info), ElementsAre(1.0f, 2.0f, 3.0f));
}

// As the cache of the Hugging Face hub lays files out.
TEST_F(CheckpointTest, SymbolicLinks) {
  fs::create_directories(directory_ / "blobs");
  fs::create_directories(directory_ / "snapshot");
  Write("blobs/abc", OneTensor("a", {1.0f}));
  Write("blobs/def", R"({"weight_map":{"a":"model-1.safetensors"}})");
  fs::create_symlink("../blobs/abc", directory_ / "snapshot" / "model-1.safetensors");
  fs::create_symlink("../blobs/def", directory_ / "snapshot" / "model.safetensors.index.json");
  const auto opened = Checkpoint::Open((directory_ / "snapshot").string());
  ASSERT_TRUE(opened.ok()) << Message(opened.status());
  EXPECT_THAT((*opened)->Names(), ElementsAre("a"));
}

TEST_F(CheckpointTest, Fingerprint) {
  Write("model.safetensors", OneTensor("a", {1.0f}));
  const uint64_t first = Open()->Fingerprint();
  EXPECT_EQ(Open()->Fingerprint(), first);
  Write("model.safetensors", OneTensor("b", {1.0f}));
  EXPECT_NE(Open()->Fingerprint(), first);
  fs::rename(directory_ / "model.safetensors", directory_ / "m.safetensors");
  WriteIndex(R"({"b":"m.safetensors"})");
  const uint64_t renamed = Open()->Fingerprint();
  EXPECT_NE(renamed, first);
  Write("m.safetensors", OneTensor("b", {1.0f, 2.0f}));
  EXPECT_NE(Open()->Fingerprint(), renamed);
}

TEST_F(CheckpointTest, GoldenCheckpoints) {
  int sharded = 0;
  int count = 0;
  for (const auto& entry : fs::directory_iterator(FOLKMOOT_TEST_DATA "/goldens")) {
    if (!entry.is_directory()) continue;
    const auto opened = Checkpoint::Open(entry.path().string());
    ASSERT_TRUE(opened.ok()) << Message(opened.status());
    EXPECT_FALSE((*opened)->Names().empty());
    sharded += fs::exists(entry.path() / "model.safetensors.index.json") ? 1 : 0;
    ++count;
  }
  EXPECT_GE(count, 26);
  EXPECT_GE(sharded, 4);
}

TEST_F(CheckpointTest, NoDirectory) {
  fs::remove_all(directory_);
  EXPECT_THAT(OpenError(), AllOf(HasSubstr(directory_.string()), HasSubstr("no such directory")));
  std::ofstream(directory_) << "x";
  EXPECT_THAT(OpenError(), HasSubstr("not a GGUF file"));
}

TEST_F(CheckpointTest, NoWeights) {
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("looked for model.safetensors and "
                                           "model.safetensors.index.json")));
  Write("pytorch_model.bin", "x");
  EXPECT_THAT(OpenError(), HasSubstr("there is pytorch_model.bin"));
  fs::remove(directory_ / "pytorch_model.bin");
  Write("config.json", "{}");
  Write("m.gguf", "x");
  EXPECT_THAT(OpenError(), HasSubstr("there is m.gguf: give that file as MODEL"));
}

TEST_F(CheckpointTest, EmptyAndTruncatedFile) {
  Write("model.safetensors", "");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("model.safetensors"), HasSubstr("empty")));
  const std::string bytes = OneTensor("a", {1.0f, 2.0f});
  Write("model.safetensors", bytes.substr(0, bytes.size() - 3));
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("model.safetensors: truncated: tensor 'a'"),
                                 HasSubstr("ends at byte " + std::to_string(bytes.size())),
                                 HasSubstr("has " + std::to_string(bytes.size() - 3))));
}

// Touching a page of a mapped file that is no longer there would end the process.
TEST_F(CheckpointTest, AFileThatBecomesShorterIsNamed) {
  constexpr size_t kCount = 64 << 10;
  Write("model.safetensors", OneTensor("w", std::vector<float>(kCount, 1.0f)));
  const auto opened = Checkpoint::Open(directory_.string());
  ASSERT_TRUE(opened.ok()) << opened.status();
  const TensorInfo& info = *(*opened)->Find("w");
  const std::span<const std::byte> all(info.data, static_cast<size_t>(info.bytes));
  EXPECT_TRUE(CheckReadable(info, "w", all).ok());
  EXPECT_TRUE(CheckReadable(info, "w", all.subspan(0, 0)).ok());
  fs::resize_file(directory_ / "model.safetensors", 32 << 10);
  EXPECT_TRUE(CheckReadable(info, "w", all.subspan(0, 16 << 10)).ok());
  const absl::Status status = CheckReadable(info, "w", all.subspan(128 << 10));
  if (status.ok()) GTEST_SKIP() << "SKIPPED: this kernel cannot say so";
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Message(status)),
              AllOf(HasSubstr("model.safetensors: tensor 'w': 131072 bytes at its byte 131072"),
                    HasSubstr("shorter")));
}

TEST_F(CheckpointTest, NotARegularFile) {
  fs::create_directories(directory_ / "model.safetensors");
  EXPECT_THAT(OpenError(), HasSubstr("not a regular file"));
  fs::remove(directory_ / "model.safetensors");
  ASSERT_EQ(mkfifo((directory_ / "model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(OpenError(), HasSubstr("not a regular file"));
}

TEST_F(CheckpointTest, MissingShard) {
  Write("x-1.safetensors", OneTensor("a", {1.0f}));
  WriteIndex(R"({"a":"x-1.safetensors","b":"x-2.safetensors"})");
  EXPECT_THAT(OpenError(),
              AllOf(HasSubstr("x-2.safetensors: missing shard"), HasSubstr("2 files")));
}

TEST_F(CheckpointTest, TensorOfTheIndexIsAbsent) {
  Write("x-1.safetensors", OneTensor("a", {1.0f}));
  WriteIndex(R"({"a":"x-1.safetensors","b":"x-1.safetensors"})");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("x-1.safetensors: tensor 'b' is not in it")));
}

TEST_F(CheckpointTest, TensorInAnotherShard) {
  Write("x-1.safetensors", OneTensor("a", {1.0f}));
  Write("x-2.safetensors", OneTensor("b", {1.0f}));
  WriteIndex(R"({"b":"x-1.safetensors","a":"x-2.safetensors"})");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("tensor 'a' is in "), HasSubstr("instead")));
}

TEST_F(CheckpointTest, TensorInTwoShards) {
  Write("x-1.safetensors", OneTensor("a", {1.0f}));
  Write("x-2.safetensors", OneTensor("a", {1.0f}));
  WriteIndex(R"({"a":"x-1.safetensors","b":"x-2.safetensors"})");
  EXPECT_THAT(OpenError(),
              AllOf(HasSubstr("x-2.safetensors: tensor 'a' is in "), HasSubstr("x-1.safetensors")));
}

TEST_F(CheckpointTest, IndexPointsOutside) {
  for (const std::string name :
       {"/etc/passwd", "../x.safetensors", "sub/x.safetensors", "..", ".", "", "a\\u0000b"}) {
    WriteIndex(R"({"t":")" + name + R"("})");
    EXPECT_THAT(OpenError(), AllOf(HasSubstr("weight_map['t']"), HasSubstr("own directory")));
  }
}

TEST_F(CheckpointTest, BrokenIndex) {
  const auto error_of = [this](const std::string& text) {
    Write("model.safetensors.index.json", text);
    const std::string error = OpenError();
    EXPECT_THAT(error, HasSubstr("model.safetensors.index.json: "));
    return error;
  };
  EXPECT_THAT(error_of(""), HasSubstr("empty"));
  EXPECT_THAT(error_of("{"), HasSubstr("not JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("'weight_map'"));
  EXPECT_THAT(error_of(R"({"weight_map":[]})"), HasSubstr("'weight_map'"));
  EXPECT_THAT(error_of(R"({"weight_map":{}})"), HasSubstr("empty"));
  EXPECT_THAT(error_of(R"({"weight_map":{"a":3}})"), HasSubstr("weight_map['a']"));
  EXPECT_THAT(error_of(R"({"weight_map":{"a":"b","a":"c"}})"), HasSubstr("'a' stands twice"));
}

}  // namespace
}  // namespace folkmoot
