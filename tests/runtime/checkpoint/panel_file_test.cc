// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/panel_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "runtime/ops/gemm.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

class PanelFileTest : public testing::Test {
 protected:
  PanelFileTest() : path_(testing::TempDir() + "panels-" + std::to_string(getpid())) {}
  ~PanelFileTest() override { std::filesystem::remove(path_); }

  // A file of a matrix of codes, gate and up, and a vector.
  void Write() {
    auto writer = PanelFileWriter::Create(path_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    const CodeSpec codes = {.type = CodeType::kInt4, .scale_type = DType::kF16};
    Add(*writer, {.kind = PanelKind::kRows,
                  .parts = {{"q", 0, 0, 40}, {"k", 0, 0, 24}},
                  .n = 64,
                  .k = 96,
                  .codes = codes});
    Add(*writer, {.kind = PanelKind::kGateUp,
                  .parts = {{"gate_up", 3, 0, 16}, {"gate_up", 3, 16, 16}},
                  .n = 32,
                  .k = 8,
                  .dtype = DType::kBF16});
    Add(*writer, {.kind = PanelKind::kVector, .parts = {{"norm", 0, 0, 5}}, .n = 5, .k = 1});
    const absl::Status finished = writer->Finish();
    ASSERT_TRUE(finished.ok()) << finished;
  }

  void Add(PanelFileWriter& writer, PanelEntry entry) {
    const int64_t bytes = entry.kind == PanelKind::kVector
                              ? entry.n * 4
                              : PackedMatrix::BytesOf(entry.n, entry.k, entry.dtype, entry.codes);
    std::vector<std::byte>& data = data_.emplace_back(static_cast<size_t>(bytes));
    for (std::byte& b : data) b = static_cast<std::byte>(random_());
    entry.data = data.data();
    entry.bytes = bytes;
    const absl::Status added = writer.Add(entry);
    ASSERT_TRUE(added.ok()) << added;
  }

  std::string Contents() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // The message of opening a file of these bytes.
  std::string ErrorOf(const std::string& contents) const {
    std::ofstream(path_, std::ios::binary) << contents;
    return std::string(PanelFile::Open(path_).status().message());
  }
  // The description changed, its length kept.
  std::string Changed(const std::string& from, const std::string& to) const {
    std::string contents = Contents();
    const size_t at = contents.find(from);
    EXPECT_NE(at, std::string::npos);
    EXPECT_EQ(from.size(), to.size());
    return contents.replace(at, from.size(), to);
  }

  std::string path_;
  std::vector<std::vector<std::byte>> data_;
  std::minstd_rand random_;
};

TEST_F(PanelFileTest, GivesBackWhatWasWritten) {
  Write();
  const auto file = PanelFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->entries().size(), 3u);
  for (size_t e = 0; e < 3; ++e) {
    const PanelEntry& entry = (*file)->entries()[e];
    ASSERT_EQ(entry.bytes, static_cast<int64_t>(data_[e].size()));
    EXPECT_EQ(std::memcmp(entry.data, data_[e].data(), data_[e].size()), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(entry.data) % 64, 0u);
  }
  size_t part = 7;
  EXPECT_EQ((*file)->Find(PanelKind::kRows, {"k", 0, 8, 8}, &part), &(*file)->entries()[0]);
  EXPECT_EQ(part, 1u);
  EXPECT_EQ((*file)->Find(PanelKind::kGateUp, {"gate_up", 3, 16, 16}, &part),
            &(*file)->entries()[1]);
  EXPECT_EQ((*file)->Find(PanelKind::kRows, {"k", 0, 8, 24}, &part), nullptr);
  EXPECT_EQ((*file)->Find(PanelKind::kRows, {"norm", 0, 0, 5}, &part), nullptr);
  EXPECT_EQ((*file)->Find(PanelKind::kGateUp, {"gate_up", 2, 0, 16}, &part), nullptr);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".part"));
}

TEST_F(PanelFileTest, RefusesWhatIsNotWhole) {
  Write();
  const std::string contents = Contents();
  EXPECT_THAT(ErrorOf(""), HasSubstr("is not a whole packed model"));
  EXPECT_THAT(ErrorOf(contents.substr(0, contents.size() - 9)),
              HasSubstr("is not a whole packed model"));
  EXPECT_THAT(ErrorOf(contents.substr(0, 4096) + contents.substr(8192)),
              HasSubstr("its description is not where its last bytes say"));
}

TEST_F(PanelFileTest, NamesTheEntryThatDoesNotFit) {
  Write();
  const std::string good = Contents();
  const auto error = [&](const std::string& from, const std::string& to) {
    std::ofstream(path_, std::ios::binary) << good;
    return ErrorOf(Changed(from, to));
  };
  EXPECT_THAT(error("\"version\":1", "\"version\":7"), HasSubstr("packed by another version (7"));
  EXPECT_THAT(error("\"n\":64", "\"n\":65"), HasSubstr("entry 0 ('q') does not fit"));
  EXPECT_THAT(error("\"n\":64", "\"n\":-4"), HasSubstr("entry 0 ('q') does not fit"));
  EXPECT_THAT(error("\"group\":32", "\"group\":31"), HasSubstr("entry 0 ('q') does not fit"));
  EXPECT_THAT(error("\"k\":8", "\"k\":9"), HasSubstr("entry 1 ('gate_up') does not fit"));
  EXPECT_THAT(error("gate_up\",\"parts", "gate_op\",\"parts"), HasSubstr("unknown name 'gate_op'"));
  EXPECT_THAT(error("\"bytes\":20,", "\"bytes\":24,"), HasSubstr("entry 2 ('norm') does not fit"));
  EXPECT_THAT(error("\"entries\":[{", "\"entries\":[["), HasSubstr("entry 0 of its description"));
}

TEST_F(PanelFileTest, AnUnfinishedFileLeavesNothing) {
  { ASSERT_TRUE(PanelFileWriter::Create(path_).ok()); }
  EXPECT_FALSE(std::filesystem::exists(path_ + ".part"));
  EXPECT_FALSE(std::filesystem::exists(path_));
  const auto nowhere = PanelFileWriter::Create("/nonexistent/folder/file");
  EXPECT_THAT(std::string(nowhere.status().message()), HasSubstr("/nonexistent/folder/file.part"));
}

}  // namespace
}  // namespace folkmoot
