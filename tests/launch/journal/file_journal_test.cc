// SPDX-License-Identifier: Apache-2.0
#include "launch/journal/file_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

class FileJournalTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.directory = testing::TempDir() + "/folkmoot-file-journal";
    options_.fields = {{"version", "1"}};
    fs::remove_all(options_.directory);
  }
  void TearDown() override { fs::remove_all(options_.directory); }

  std::unique_ptr<FileJournal> Open() {
    auto journal = FileJournal::Open(options_);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return journal.ok() ? *std::move(journal) : nullptr;
  }
  static HttpRequest Http(const std::string& id) {
    return {.method = "POST",
            .path = "/v1/completions",
            .headers = {{"x", "y"}},
            .body = "{}",
            .id = id,
            .client = "127.0.0.1"};
  }
  static OutputEvent Event(int32_t token) {
    OutputEvent event;
    event.result.token = token;
    event.result.token_logprob = -0.25f;
    return event;
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(options_.directory)) {
      files.push_back(entry.path());
    }
    return files;
  }

  FileJournalOptions options_;
};

TEST_F(FileJournalTest, WhatWasCommittedComesBack) {
  auto journal = Open();
  const uint64_t a = journal->Accept(Http("a"), 7, 99);
  const uint64_t b = journal->Accept(Http("b"), 8, 100);
  journal->Add(a, 1, Event(40));
  journal->Add(a, 1, Event(41));
  journal->End(b);
  journal->Commit();
  journal->Add(a, 1, Event(42));  // never committed
  journal.reset();
  const std::vector<JournaledRequest> found = Open()->TakeRequests();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].http.id, "a");
  EXPECT_EQ(found[0].http.body, "{}");
  EXPECT_EQ(found[0].http.headers, Http("a").headers);
  EXPECT_EQ(found[0].fresh_seed, 7u);
  EXPECT_EQ(found[0].now, 99);
  ASSERT_EQ(found[0].events.size(), 2u);
  EXPECT_EQ(found[0].events[1].prompt, 1u);
  EXPECT_EQ(found[0].events[1].event.result.token, 41);
  EXPECT_EQ(found[0].events[1].event.result.token_logprob, -0.25f);
  EXPECT_FALSE(found[0].ended);
  EXPECT_TRUE(found[1].ended);
}

TEST_F(FileJournalTest, EveryProcessWritesWhatIsOfUseAnew) {
  for (int life = 0; life < 4; ++life) {
    auto journal = Open();
    EXPECT_EQ(journal->TakeRequests().size(), static_cast<size_t>(life));
    (void)journal->Accept(Http(std::to_string(life)), 1, 1);
    journal->Commit();
    EXPECT_EQ(Files().size(), 1u);
  }
}

TEST_F(FileJournalTest, FilesAreThisUsersAlone) {
  auto journal = Open();
  EXPECT_EQ(fs::status(options_.directory).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(Files().at(0)).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

// Its hash is right, and it has no letter.
TEST_F(FileJournalTest, AnEmptyFrameIsNoHarm) {
  fs::create_directories(options_.directory);
  std::ofstream(options_.directory + "/0000000001.journal", std::ios::binary) << Framed("");
  EXPECT_TRUE(Open()->TakeRequests().empty());
}

// Cut anywhere: what is whole before the cut comes back, and nothing else.
TEST_F(FileJournalTest, ATornTailIsNoHarm) {
  auto journal = Open();
  const uint64_t id = journal->Accept(Http("a"), 1, 1);
  journal->Commit();
  for (int32_t i = 0; i < 20; ++i) {
    journal->Add(id, 0, Event(i));
    journal->Commit();
  }
  journal.reset();
  const fs::path file = Files().at(0);
  std::ifstream stream(file, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(stream), {}};
  size_t most = 0;
  for (size_t length = 0; length <= whole.size(); length += 7) {
    fs::remove_all(options_.directory);
    fs::create_directories(options_.directory);
    std::ofstream(file, std::ios::binary) << whole.substr(0, length);
    const std::vector<JournaledRequest> found = Open()->TakeRequests();
    const size_t events = found.empty() ? 0 : found[0].events.size();
    EXPECT_GE(events, most);
    for (size_t i = 0; i < events; ++i) {
      EXPECT_EQ(found[0].events[i].event.result.token, static_cast<int32_t>(i));
    }
    most = events;
  }
  EXPECT_GE(most, 19u);
}

TEST_F(FileJournalTest, ADamagedByteEndsWhatIsRead) {
  for (size_t at = 0; at < 200; at += 3) {
    std::string bytes = Framed("Hfirst") + Framed("Rsecond") + Framed("Rthird");
    bytes[at % bytes.size()] ^= 0x10;
    for (const std::string& frame : FramesOf(bytes)) {
      EXPECT_TRUE(frame == "Hfirst" || frame == "Rsecond" || frame == "Rthird") << frame;
    }
    EXPECT_LT(FramesOf(bytes).size(), 3u);
  }
}

TEST_F(FileJournalTest, RequestsOfAnotherModelDoNotGoOn) {
  {
    auto journal = Open();
    (void)journal->Accept(Http("a"), 1, 1);
    journal->Commit();
  }
  options_.fields = {{"version", "2"}};
  EXPECT_TRUE(Open()->TakeRequests().empty());
  options_.fields = {{"version", "1"}};
  const std::vector<JournaledRequest> found = Open()->TakeRequests();  // left alone until now
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].http.id, "a");
}

TEST_F(FileJournalTest, OldFilesGoWhenNobodyNeedsThem) {
  options_.segment_bytes = 2000;
  options_.retention_seconds = -1;  // ended requests are forgotten at once
  auto journal = Open();
  const uint64_t stays = journal->Accept(Http("stays"), 1, 1);
  for (int i = 0; i < 200; ++i) {
    const uint64_t id = journal->Accept(Http(std::to_string(i)), 1, 1);
    journal->Add(id, 0, Event(i));
    journal->End(id);
    journal->Commit();
  }
  EXPECT_GT(Files().size(), 5u);  // the first of all is in the first of them
  journal->End(stays);
  for (int i = 0; i < 200; ++i) {
    const uint64_t id = journal->Accept(Http(std::to_string(i)), 1, 1);
    journal->End(id);
    journal->Commit();
  }
  EXPECT_LE(Files().size(), 3u);
  EXPECT_TRUE(journal->status().ok());
}

TEST_F(FileJournalTest, AFullDiskEndsTheJournalAndNothingElse) {
  auto journal = Open();
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = {.rlim_cur = 4096, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int i = 0; i < 100; ++i) {
    (void)journal->Accept(Http(std::to_string(i)), 1, 1);
    journal->Commit();
  }
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(journal->status().ok());
  const size_t kept = Open()->TakeRequests().size();
  EXPECT_GT(kept, 0u);
  EXPECT_LT(kept, 100u);
}

// The same on a disk that is really full: a small one of its own.
TEST_F(FileJournalTest, ASmallDisk) {
  const std::string disk = testing::TempDir() + "/folkmoot-small-disk";
  fs::create_directories(disk);
  if (mount("none", disk.c_str(), "tmpfs", 0, "size=64k") != 0) {
    fs::remove_all(disk);
    GTEST_SKIP() << "SKIPPED: only root may mount a small disk: " << std::strerror(errno);
  }
  options_.directory = disk + "/journal";
  {
    auto journal = Open();
    for (int i = 0; i < 2000; ++i) {
      const uint64_t id = journal->Accept(Http(std::to_string(i)), 1, 1);
      journal->Add(id, 0, Event(i));
      journal->Commit();
    }
    EXPECT_EQ(journal->status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(Message(journal->status())), testing::HasSubstr("No space left"));
    const JournalCounts counts = journal->counts();
    EXPECT_FALSE(counts.writing);
    EXPECT_EQ(counts.failures, 1);
    EXPECT_GT(counts.bytes, 10'000);
    EXPECT_LE(counts.bytes, 64 << 10);
  }
  // Another process: there is no room for a file of its own. The first one of a server is told; one
  // that comes back goes on with what it can read.
  EXPECT_FALSE(FileJournal::Open(options_).ok());
  const size_t files = Files().size();
  options_.may_end = true;
  auto again = Open();
  EXPECT_FALSE(again->counts().writing);
  const auto requests = again->TakeRequests();
  EXPECT_GT(requests.size(), 100u);
  for (const JournaledRequest& request : requests) EXPECT_LE(request.events.size(), 1u);
  EXPECT_EQ(Files().size(), files) << "nothing half written stays";
  again.reset();
  EXPECT_EQ(umount(disk.c_str()), 0);
  fs::remove_all(disk);
}

// "The n-th call fails": whatever fails, what had been committed is there for the next process.
TEST_F(FileJournalTest, AnyCallMayFail) {
  for (const FaultPoint point :
       {FaultPoint::kJournalOpen, FaultPoint::kJournalWrite, FaultPoint::kJournalSync}) {
    for (int64_t nth = 1; nth < 30; ++nth) {
      fs::remove_all(options_.directory);
      options_.sync = true;
      options_.segment_bytes = 300;
      options_.may_end = false;
      Open()->Accept(Http("before"), 1, 1);
      auto earlier = Open();
      (void)earlier->Accept(Http("earlier"), 1, 1);
      earlier->Commit();
      PlanPointFaults({{.point = point, .kind = PointFaultKind::kNoSpace, .nth = nth}});
      options_.may_end = true;
      auto journal = Open();
      size_t committed = journal->TakeRequests().size();
      EXPECT_EQ(committed, 1u) << InfoOf(point).name << " " << nth;
      for (int i = 0; i < 20; ++i) {
        (void)journal->Accept(Http(std::to_string(i)), 1, 1);
        journal->Commit();
        committed += journal->status().ok() ? 1 : 0;
      }
      EXPECT_EQ(journal->counts().failures, journal->status().ok() ? 0 : 1);
      PlanPointFaults({});
      EXPECT_GE(Open()->TakeRequests().size(), committed) << InfoOf(point).name << " " << nth;
    }
  }
}

TEST_F(FileJournalTest, APlaceThatCannotBeIsNamed) {
  options_.directory = "/proc/nowhere";
  EXPECT_THAT(std::string(FileJournal::Open(options_).status().message()),
              testing::HasSubstr("/proc/nowhere"));
}

}  // namespace
}  // namespace folkmoot
