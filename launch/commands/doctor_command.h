// SPDX-License-Identifier: Apache-2.0
// `folkmoot doctor`: what this build is, what this machine offers, and what to change before a run.
// Facts are gathered in one place so that the advice can be tested on machines that we do not have.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "launch/command.h"
#include "launch/commands/doctor_gpu.h"
#include "launch/terminal.h"

namespace folkmoot {

struct DoctorFacts {
  using Pair = std::pair<std::string, std::string>;

  // This build.
  std::string version;     // "0.1.0 (Release, GNU 12.2.0)"
  bool optimized = false;  // compiled with NDEBUG
  std::vector<Pair> libraries;
  std::vector<std::string> architectures;

  // This machine, as far as this process may use it.
  std::string cpu_model;
  std::string kernel_target;           // instruction set that our kernels run with: "AVX2"
  bool fused = true;                   // false: no fused multiply-add, kernels emulate it
  std::vector<std::string> cpu_flags;  // of those that matter to us, the ones it has
  int cores_online = 0;
  int cores_allowed = 0;     // by affinity
  double core_quota = 0.0;   // of the control group; 0 = no limit
  int64_t memory_bytes = 0;  // total, or the control group's limit when lower
  int64_t memory_available_bytes = 0;
  int64_t shared_memory_free_bytes = 0;  // /dev/shm: ranks of one host talk through it

  GpuFacts gpus;

  // This job.
  std::string mpi_library;
  bool launched_by_mpi = false;
  bool root = false;
  bool root_allowed = false;  // OMPI_ALLOW_RUN_AS_ROOT and its confirmation are set
  int ranks = 1;
  int local_ranks = 1;         // on this host
  int threads = 1;             // per rank
  std::vector<Pair> settings;  // OMPI_*, FOLKMOOT_* and thread variables that are set
};

// threads: as --threads, 0 = the cores that we may use, shared among the ranks of this host.
DoctorFacts GatherDoctorFacts(int threads);

// What should be changed, each with its remedy. Empty: nothing.
std::vector<std::string> DoctorAdvice(const DoctorFacts& facts);

std::string RenderDoctor(const DoctorFacts& facts, const Terminal& terminal);
std::string RenderDoctorJson(const DoctorFacts& facts);

Command MakeDoctorCommand(CLI::App& app);

}  // namespace folkmoot
