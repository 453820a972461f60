// SPDX-License-Identifier: Apache-2.0
#include "parallel/nccl_api.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace folkmoot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <int kVersion>
NcclResult SomeVersion(int* version) {
  *version = kVersion;
  return kNcclSuccess;
}
void Unused() {}

// A library of this version without some of its functions.
std::function<void*(const char*)> Library(NcclResult (*version)(int*),
                                          const std::set<std::string>& without = {}) {
  return [=](const char* name) -> void* {
    if (without.count(name) > 0) return nullptr;
    return std::string(name) == "ncclGetVersion" ? reinterpret_cast<void*>(version)
                                                 : reinterpret_cast<void*>(&Unused);
  };
}

TEST(NcclApi, TakesALibraryThatHasAll) {
  const auto api = ResolveNccl("x/libnccl.so.2", Library(&SomeVersion<22809>));
  ASSERT_TRUE(api.ok()) << api.status();
  EXPECT_EQ(api->version, 22809);
  EXPECT_EQ(api->path, "x/libnccl.so.2");
  EXPECT_TRUE(api->all_to_all && api->send && api->comm_abort);
}

TEST(NcclApi, DoesWithoutAllToAll) {
  const auto api = ResolveNccl("x", Library(&SomeVersion<21800>, {"ncclAlltoAll"}));
  ASSERT_TRUE(api.ok()) << api.status();
  EXPECT_FALSE(api->all_to_all);
}

TEST(NcclApi, NamesEveryMissingFunction) {
  const auto api =
      ResolveNccl("x", Library(&SomeVersion<21903>, {"ncclCommAbort", "ncclSend", "ncclAlltoAll"}));
  EXPECT_EQ(api.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Message(api.status()),
            "x (NCCL 2.19.3) lacks ncclCommAbort, ncclSend; install NCCL 2.18.0 or newer");
}

TEST(NcclApi, RefusesAnOldLibrary) {
  EXPECT_EQ(Message(ResolveNccl("x", Library(&SomeVersion<21705>)).status()),
            "x is NCCL 2.17.5, which is too old; install 2.18.0 or newer");
  EXPECT_EQ(Message(ResolveNccl("x", Library(&SomeVersion<2804>)).status()),
            "x is NCCL 2.8.4, which is too old; install 2.18.0 or newer");
}

TEST(NcclApi, RefusesAnotherLibrary) {
  EXPECT_EQ(Message(ResolveNccl("x", Library(nullptr, {"ncclGetVersion"})).status()),
            "x is not NCCL: no ncclGetVersion");
}

// The real one, on machines that have it; it needs no GPU to tell its version.
TEST(NcclApi, LoadsTheRealLibrary) {
  const auto api = LoadNccl(LibrarySearch::FromEnvironment());
  if (absl::IsNotFound(api.status())) GTEST_SKIP() << api.status();
  ASSERT_TRUE(api.ok()) << api.status();
  EXPECT_GE(api->version, kNcclOldestVersion);
  EXPECT_THAT(api->path, HasSubstr("libnccl.so"));
  EXPECT_THAT(api->get_error_string(kNcclInvalidUsage), HasSubstr("invalid usage"));
  EXPECT_EQ(static_cast<bool>(api->all_to_all), api->version >= 22800);
}

class LibrarySearchTest : public testing::Test {
 protected:
  LibrarySearchTest() {
    folder_ = std::filesystem::path(testing::TempDir()) / "library_search";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~LibrarySearchTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(LibrarySearchTest, KeepsItsOrder) {
  for (const char* python : {"python3.9", "python3.11", "perl"}) {
    std::filesystem::create_directories(folder_ / "lib" / python);
  }
  LibrarySearch search;
  search.folders = {"/first"};
  search.program_folder = "/program";
  search.python_prefixes = {folder_.string()};
  search.toolkit_folders = {"/toolkit"};
  const std::string lib = (folder_ / "lib").string();
  EXPECT_THAT(search.Candidates("libx.so", {"nvidia/x/lib"}),
              testing::ElementsAre("/first/libx.so", "/program/libx.so", "libx.so",
                                   lib + "/python3.9/site-packages/nvidia/x/lib/libx.so",
                                   lib + "/python3.9/dist-packages/nvidia/x/lib/libx.so",
                                   lib + "/python3.11/site-packages/nvidia/x/lib/libx.so",
                                   lib + "/python3.11/dist-packages/nvidia/x/lib/libx.so",
                                   "/toolkit/libx.so"));
}

TEST_F(LibrarySearchTest, ReadsTheEnvironment) {
  const char* before = std::getenv("FOLKMOOT_LIBRARY_PATH");
  const std::string kept = before == nullptr ? "" : before;
  setenv("FOLKMOOT_LIBRARY_PATH", "/a::/b c", 1);
  EXPECT_THAT(LibrarySearch::FromEnvironment().folders, testing::ElementsAre("/a", "/b c"));
  setenv("FOLKMOOT_LIBRARY_PATH", kept.c_str(), 1);
  EXPECT_TRUE(std::filesystem::is_directory(LibrarySearch::FromEnvironment().program_folder));
}

TEST_F(LibrarySearchTest, SaysWhyAFileDidNotLoad) {
  const std::string bad = (folder_ / "libbad.so").string();
  std::ofstream(bad) << "not a library";
  const auto library = SharedLibrary::Open("libbad.so", {"/nowhere/libbad.so", bad});
  EXPECT_EQ(library.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(library.status())),
              AllOf(testing::StartsWith("libbad.so was not found; " + bad),
                    HasSubstr("FOLKMOOT_LIBRARY_PATH")));
}

TEST_F(LibrarySearchTest, LoadsByTheLoadersPath) {
  const auto library = SharedLibrary::Open("libm.so.6", {"/nowhere/libm.so.6", "libm.so.6"});
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_NE(library->Symbol("cos"), nullptr);
  EXPECT_EQ(library->Symbol("folkmoot_has_no_such_function"), nullptr);
  EXPECT_THAT(library->path(), HasSubstr("libm.so.6"));
}

}  // namespace
}  // namespace folkmoot
