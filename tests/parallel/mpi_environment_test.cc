// SPDX-License-Identifier: Apache-2.0
#include "parallel/mpi_environment.h"

#include <cstdlib>

#include "gtest/gtest.h"

namespace folkmoot {
namespace {

class LaunchedByMpiTest : public testing::Test {
 protected:
  LaunchedByMpiTest() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE",
                             "MPI_LOCALRANKID", "SLURM_PROCID"}) {
      unsetenv(name);
    }
  }
};

TEST_F(LaunchedByMpiTest, NotByHand) { EXPECT_FALSE(LaunchedByMpi()); }

TEST_F(LaunchedByMpiTest, NotBySlurmAlone) {
  setenv("SLURM_PROCID", "0", 1);
  EXPECT_FALSE(LaunchedByMpi());
  setenv("PMI_RANK", "0", 1);
  EXPECT_TRUE(LaunchedByMpi());
}

TEST_F(LaunchedByMpiTest, ByEveryLauncher) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE", "MPI_LOCALRANKID"}) {
    setenv(name, "0", 1);
    EXPECT_TRUE(LaunchedByMpi()) << name;
    unsetenv(name);
  }
}

TEST(AbortJobDeathTest, WithoutMpiEndsThisProcessWithTheStatus) {
  EXPECT_EXIT(AbortJob(3), testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace folkmoot
