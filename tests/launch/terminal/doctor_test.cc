// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/doctor_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "CLI/CLI.hpp"
#include "layers/models/load_config.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A machine with nothing to complain about.
DoctorFacts GoodMachine() {
  DoctorFacts facts;
  facts.version = "1.2.3 (Release, GNU 12.2.0)";
  facts.optimized = true;
  facts.libraries = {{"Abseil", "20220623"}};
  facts.architectures = {"MixtralForCausalLM"};
  facts.cpu_model = "A processor";
  facts.kernel_target = "AVX2";
  facts.cpu_flags = {"avx2", "fma"};
  facts.cores_online = 8;
  facts.cores_allowed = 8;
  facts.memory_bytes = 16'000'000'000;
  facts.memory_available_bytes = 8'000'000'000;
  facts.shared_memory_free_bytes = 4'000'000'000;
  facts.mpi_library = "Open MPI v4.1.4";
  facts.threads = 8;
  facts.gpus.build.backend = "none";
  return facts;
}

DoctorFacts FourRanks() {
  DoctorFacts facts = GoodMachine();
  facts.launched_by_mpi = true;
  facts.ranks = 4;
  facts.local_ranks = 4;
  facts.threads = 2;
  return facts;
}

TEST(DoctorAdvice, NothingOnAGoodMachine) {
  EXPECT_THAT(DoctorAdvice(GoodMachine()), IsEmpty());
  EXPECT_THAT(DoctorAdvice(FourRanks()), IsEmpty());
}

TEST(DoctorAdvice, SlowBuild) {
  DoctorFacts facts = GoodMachine();
  facts.optimized = false;
  EXPECT_THAT(DoctorAdvice(facts), ElementsAre(HasSubstr("cmake --preset release")));
}

TEST(DoctorAdvice, ProcessorWithoutFusedMultiplyAdd) {
  DoctorFacts facts = GoodMachine();
  facts.fused = false;
  EXPECT_THAT(DoctorAdvice(facts), ElementsAre(HasSubstr("AVX2")));
}

TEST(DoctorAdvice, MoreThreadsThanCores) {
  DoctorFacts facts = FourRanks();
  facts.threads = 4;
  EXPECT_THAT(
      DoctorAdvice(facts),
      ElementsAre(AllOf(HasSubstr("4 rank(s) x 4 thread(s) share 8 core(s): use --threads 2"))));
  facts.cores_online = facts.cores_allowed = 2;
  facts.threads = 1;
  facts.settings = {{"OMPI_MCA_mpi_yield_when_idle", "0"}};
  EXPECT_THAT(DoctorAdvice(facts),
              ElementsAre(HasSubstr("use fewer ranks"), HasSubstr("set it to 1")));
}

TEST(DoctorAdvice, ThreadsOfOneRankBoundToOneCore) {
  DoctorFacts facts = FourRanks();
  facts.cores_allowed = 1;
  EXPECT_THAT(DoctorAdvice(facts), ElementsAre(HasSubstr("mpirun --bind-to none")));
}

TEST(DoctorAdvice, ContainerWithAQuota) {
  DoctorFacts facts = GoodMachine();
  facts.core_quota = 2.0;
  EXPECT_THAT(DoctorAdvice(facts), Contains(HasSubstr("--threads 2")));
}

TEST(DoctorAdvice, RootAndSharedMemory) {
  DoctorFacts facts = GoodMachine();
  facts.root = true;
  facts.shared_memory_free_bytes = 1'000'000;
  EXPECT_THAT(DoctorAdvice(facts),
              ElementsAre(HasSubstr("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"), HasSubstr("--shm-size")));
  facts.root_allowed = true;
  EXPECT_THAT(DoctorAdvice(facts), ElementsAre(HasSubstr("/dev/shm has 1.00 MB free")));
}

TEST(Doctor, TableSaysWhatIsNotBuiltIn) {
  const std::string text = RenderDoctor(GoodMachine(), Terminal());
  EXPECT_THAT(text, AllOf(HasSubstr("folkmoot       1.2.3 (Release, GNU 12.2.0)\n"),
                          HasSubstr("GPUs           not built in\n"),
                          HasSubstr("MixtralForCausalLM"), HasSubstr("Nothing to change.")));
}

// With two GPUs, one of them too old, NCCL missing.
GpuFacts TwoGpus() {
  GpuFacts gpus;
  gpus.build = {.backend = "CUDA", .runtime_version = 13000, .driver_version = 12080};
  gpus.devices.resize(2);
  gpus.devices[0] = {.name = "New", .compute_capability = 90, .total_bytes = 80'000'000'000};
  gpus.devices[1] = {.index = 1, .name = "Old", .compute_capability = 75, .multiprocessors = 40};
  gpus.libraries = {{"NCCL", "", "libnccl.so.2: no such file"},
                    {"cuBLASLt", "13.1.1", "/lib/libcublasLt.so.13"}};
  return gpus;
}

TEST(Doctor, ShowsGpusAndLibraries) {
  DoctorFacts facts = GoodMachine();
  facts.gpus = TwoGpus();
  EXPECT_THAT(RenderDoctor(facts, Terminal()),
              AllOf(HasSubstr("CUDA 13.0, driver 12.8"), HasSubstr("New, compute capability 9.0"),
                    HasSubstr("Old, compute capability 7.5, 40 multiprocessors"),
                    HasSubstr("none: libnccl.so.2: no such file"), HasSubstr("13.1.1 (/lib/")));
  const auto json = nlohmann::json::parse(RenderDoctorJson(facts));
  EXPECT_EQ(json["cuda"]["devices"][1]["name"], "Old");
  EXPECT_EQ(json["cuda"]["devices"][0]["memory_bytes"], 80'000'000'000);
  EXPECT_EQ(json["cublas"], "13.1.1");
  EXPECT_TRUE(json["nccl"].is_null());
  EXPECT_TRUE(json["cudnn"].is_null());
  EXPECT_THAT(DoctorAdvice(facts),
              ElementsAre(HasSubstr("GPU 1 (Old) has compute capability 7.5"), HasSubstr("NCCL")));
}

TEST(Doctor, SaysWhyThereIsNoGpu) {
  DoctorFacts facts = GoodMachine();
  facts.gpus.build = {.backend = "CUDA", .runtime_version = 13000};
  facts.gpus.problem = "no NVIDIA driver is loaded";
  EXPECT_THAT(RenderDoctor(facts, Terminal()),
              AllOf(HasSubstr("driver none"), HasSubstr("none: no NVIDIA driver is loaded")));
  EXPECT_THAT(DoctorAdvice(facts), IsEmpty());  // a machine for CPUs is in order
}

TEST(Doctor, JsonCarriesFactsAndAdvice) {
  DoctorFacts facts = GoodMachine();
  facts.root = true;
  const auto json = nlohmann::json::parse(RenderDoctorJson(facts));
  EXPECT_EQ(json["cpu"]["kernel_target"], "AVX2");
  EXPECT_TRUE(json["cpu"]["core_quota"].is_null());
  EXPECT_EQ(json["libraries"]["Abseil"], "20220623");
  EXPECT_TRUE(json["cuda"].is_null());
  EXPECT_EQ(json["advice"].size(), 1U);
}

TEST(Doctor, GathersThisMachine) {
  const DoctorFacts facts = GatherDoctorFacts(3);
  EXPECT_EQ(facts.threads, 3);
  EXPECT_GE(facts.cores_allowed, 1);
  EXPECT_LE(facts.cores_allowed, facts.cores_online);
  EXPECT_GT(facts.memory_bytes, facts.memory_available_bytes);
  EXPECT_THAT(facts.mpi_library, HasSubstr("MPI"));
  EXPECT_EQ(facts.architectures, KnownArchitectures());
  for (const auto& [name, version] : facts.libraries) EXPECT_FALSE(version.empty()) << name;
}

TEST(DoctorCommand, IsASubcommandWithItsFlags) {
  CLI::App app;
  const Command command = MakeDoctorCommand(app);
  EXPECT_NO_THROW(app.parse("doctor --json --threads 2"));
  EXPECT_TRUE(command.app->parsed());
  testing::internal::CaptureStdout();
  EXPECT_TRUE(command.run().ok());
  const auto json = nlohmann::json::parse(testing::internal::GetCapturedStdout());
  EXPECT_EQ(json["mpi"]["threads_per_rank"], 2);
}

}  // namespace
}  // namespace folkmoot
