// SPDX-License-Identifier: Apache-2.0
// main() of the test binaries that run under mpirun: every process runs every test; rank 0 prints
// as usual, the others print failures only; a failure on any rank fails the job.
#include "tests/support/mpi_main.h"

#include <mpi.h>

#include <cstdio>
#include <cstdlib>

#include "parallel/mpi_communicator.h"
#include "parallel/mpi_environment.h"

namespace folkmoot {
namespace {

// Prints the failures of a rank other than 0.
class FailurePrinter final : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

  void OnTestStart(const testing::TestInfo& test) override { test_ = &test; }
  // UnitTest::current_test_info would wait for ever: the lock that it takes is held here.
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "[rank %d] %s.%s: %s:%d: %s\n", rank_,
                 test_ == nullptr ? "?" : test_->test_suite_name(),
                 test_ == nullptr ? "?" : test_->name(),
                 result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(),
                 result.message());
  }
  void OnTestEnd(const testing::TestInfo&) override { test_ = nullptr; }

 private:
  const int rank_;
  const testing::TestInfo* test_ = nullptr;
};

int RunTests() {
  absl::StatusOr<std::unique_ptr<Communicator>> comm = MakeMpiCommunicator();
  if (!comm.ok()) {
    std::fprintf(stderr, "%s\n", comm.status().ToString().c_str());
    AbortJob(1);
  }
  const int rank = (*comm)->rank();
  if (rank != 0) {
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter(rank));
  }
  const int mine = RUN_ALL_TESTS();
  (*comm)->set_timeout(std::chrono::seconds(60));
  const auto results =
      AllGatherStrings(**comm, std::to_string(mine), {.phase = "gathering of test results"});
  if (!results.ok()) {
    std::fprintf(stderr, "%s\n", results.status().ToString().c_str());
    AbortJob(1);
  }
  int failed = 0;
  for (const std::string& result : *results) failed += result == "0" ? 0 : 1;
  if (rank == 0 && failed > 0) std::fprintf(stderr, "failures on %d ranks\n", failed);
  return failed == 0 ? 0 : 1;
}

int WorldSize() {
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  return size == nullptr ? 1 : std::atoi(size);
}

}  // namespace

const RankWorld& MpiWorld() {
  static const RankWorld* const world = new RankWorld{
      "Mpi" + std::to_string(WorldSize()), WorldSize(), [](const RankBody& body) {
        const absl::StatusOr<std::unique_ptr<Communicator>> comm = MakeMpiCommunicator();
        ASSERT_TRUE(comm.ok()) << comm.status();
        // A body may begin with a rank that gives up, which a rank still in its set-up would hear.
        MPI_Barrier(MPI_COMM_WORLD);
        body(**comm);
      }};
  return *world;
}

}  // namespace folkmoot

int main(int argc, char** argv) {
  const auto environment = folkmoot::MpiEnvironment::Create();
  if (!environment.ok()) {
    std::fprintf(stderr, "%s\n", environment.status().ToString().c_str());
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return folkmoot::RunTests();
}
