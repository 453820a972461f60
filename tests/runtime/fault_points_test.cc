// SPDX-License-Identifier: Apache-2.0
#include "runtime/fault_points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "runtime/file.h"
#include "runtime/memory.h"
#include "runtime/workspace.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

// Faults are the process's: each test leaves none behind.
class FaultPoints : public testing::Test {
 protected:
  ~FaultPoints() override { PlanPointFaults({}); }
};

TEST_F(FaultPoints, NamesAreUniqueAndFound) {
  for (size_t i = 0; i < folkmoot::FaultPoints().size(); ++i) {
    const auto point = static_cast<FaultPoint>(i);
    EXPECT_EQ(FindFaultPoint(InfoOf(point).name), point);
  }
  EXPECT_EQ(FindFaultPoint("journal.wrote"), std::nullopt);
}

TEST_F(FaultPoints, TheNthCallFailsOnce) {
  PlanPointFaults({{.point = FaultPoint::kJournalWrite, .nth = 3}});
  std::vector<bool> fails;
  for (int i = 0; i < 5; ++i) fails.push_back(FaultAt(FaultPoint::kJournalWrite));
  EXPECT_EQ(fails, (std::vector<bool>{false, false, true, false, false}));
  EXPECT_FALSE(FaultAt(FaultPoint::kJournalRead));
  EXPECT_EQ(FaultCounts(), "journal.read=1 journal.write=5");
}

TEST_F(FaultPoints, ErrorsAreThoseOfTheMachine) {
  using K = PointFaultKind;
  PlanPointFaults({{.point = FaultPoint::kKvAllocate, .nth = 0},
                   {.point = FaultPoint::kHttpRead, .nth = 0},
                   {.point = FaultPoint::kWeightsMap, .nth = 0},
                   {.point = FaultPoint::kJournalSync, .kind = K::kNoSpace, .nth = 0}});
  const auto error = [](FaultPoint point) {
    errno = 0;
    EXPECT_TRUE(FaultAt(point));
    return errno;
  };
  EXPECT_EQ(error(FaultPoint::kKvAllocate), ENOMEM);
  EXPECT_EQ(error(FaultPoint::kHttpRead), ECONNRESET);
  EXPECT_EQ(error(FaultPoint::kWeightsMap), EIO);
  EXPECT_EQ(error(FaultPoint::kJournalSync), ENOSPC);
}

TEST_F(FaultPoints, AShortReadShortens) {
  PlanPointFaults({{.point = FaultPoint::kWeightsMap, .kind = PointFaultKind::kShortRead}});
  size_t bytes = 100;
  EXPECT_FALSE(FaultAt(FaultPoint::kWeightsMap, &bytes));
  EXPECT_EQ(bytes, 50u);
  EXPECT_FALSE(FaultAt(FaultPoint::kWeightsMap, &bytes));
  EXPECT_EQ(bytes, 50u);
}

TEST_F(FaultPoints, WhatCanHappenWhere) {
  EXPECT_TRUE(CanHappen(PointFaultKind::kNoSpace, FaultPoint::kJournalWrite));
  EXPECT_FALSE(CanHappen(PointFaultKind::kNoSpace, FaultPoint::kWeightsMap));
  EXPECT_TRUE(CanHappen(PointFaultKind::kShortRead, FaultPoint::kConfigRead));
  EXPECT_FALSE(CanHappen(PointFaultKind::kShortRead, FaultPoint::kHttpRead));
  EXPECT_TRUE(CanHappen(PointFaultKind::kKill, FaultPoint::kHttpRead));
}

TEST_F(FaultPoints, MemoryThatCannotBeHadIsAnErrorWithItsPurpose) {
  PlanPointFaults({{.point = FaultPoint::kKvAllocate}, {.point = FaultPoint::kScratchAllocate}});
  const absl::Status pages = OrOutOfMemory([] {
    MapPages(FaultPoint::kKvAllocate, 4096);
    return absl::OkStatus();
  });
  EXPECT_EQ(pages.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(pages), HasSubstr("pages of keys and values, or slots of state: 4096 bytes "
                                        "of memory cannot be had: Cannot"));
  Workspace workspace;
  EXPECT_THROW(workspace.Get<float>(10), OutOfMemory);
  EXPECT_EQ(workspace.allocations(), 0);
  EXPECT_EQ(workspace.Get<float>(10).size(), 10u);  // the next one is there
}

// As on a machine where address space itself is short.
TEST_F(FaultPoints, RealShortageOfMemoryIsTheSameError) {
  const absl::Status status = OrOutOfMemory([] {
    std::byte* pages = MapPages(FaultPoint::kKvAllocate, int64_t{1} << 62);
    munmap(pages, 1);
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(FaultPoints, FilesAreReadWholeOrNotAtAll) {
  const std::string path = testing::TempDir() + "/fault_points_file";
  std::ofstream(path) << std::string(200'000, 'x');
  EXPECT_EQ(ReadFile(path, FaultPoint::kConfigRead)->size(), 200'000u);
  EXPECT_EQ(*ReadFileIfThere(path + ".not", FaultPoint::kConfigRead), std::nullopt);
  PlanPointFaults(
      {{.point = FaultPoint::kConfigRead},
       {.point = FaultPoint::kConfigRead, .kind = PointFaultKind::kShortRead, .nth = 2}});
  // A file that is there and cannot be read is no missing one.
  const auto text = ReadFileIfThere(path, FaultPoint::kConfigRead);
  EXPECT_THAT(std::string(Message(text.status())), HasSubstr(path + ": cannot be read at byte 0"));
  EXPECT_EQ(ReadFile(path, FaultPoint::kConfigRead)->size(), 100'000u);
  std::filesystem::remove(path);
  EXPECT_EQ(ReadFile(path, FaultPoint::kConfigRead).status().code(), absl::StatusCode::kNotFound);
  const auto directory = ReadFile(testing::TempDir(), FaultPoint::kConfigRead);
  EXPECT_THAT(std::string(Message(directory.status())), HasSubstr("directory"));
}

}  // namespace
}  // namespace folkmoot
