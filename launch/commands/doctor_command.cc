// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/doctor_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string_view>

#include "CLI/CLI.hpp"
#include "launch/build_libraries.h"
#include "launch/table.h"
#include "launch/thread_budget.h"
#include "launch/version.h"
#include "layers/models/load_config.h"
#include "nlohmann/json.hpp"
#include "parallel/mpi_environment.h"
#include "parallel/mpi_version.h"
#include "runtime/machine_probe.h"
#include "runtime/model_config.h"

namespace folkmoot {
namespace {

constexpr int64_t kShmPerRank = 64'000'000;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

int IntVariable(const char* name, int otherwise) {
  const std::string text = Variable(name);
  const int value = std::atoi(text.c_str());
  return value > 0 ? value : otherwise;
}

// The value of "key : value" or "key: value" in a file of /proc; empty when it is not there.
std::string ProcField(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!std::string_view(line).starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? std::string() : line.substr(start);
  }
  return {};
}

int64_t MemoryField(std::string_view key) {
  return std::atoll(ProcField("/proc/meminfo", key).c_str()) * 1024;
}

std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void GatherMachine(DoctorFacts* facts) {
  const CpuFeatures cpu = DetectCpu();
  facts->cpu_model = cpu.model;
  facts->kernel_target = cpu.kernels;
  facts->fused = cpu.fused;
  facts->cores_allowed = cpu.allowed_cores;
  std::istringstream flags(ProcField("/proc/cpuinfo", "flags"));
  static constexpr std::array<std::string_view, 9> kFlags = {
      "avx2",        "fma",         "f16c",     "avx512f", "avx512_vnni",
      "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8"};
  for (std::string flag; flags >> flag;) {
    if (std::find(kFlags.begin(), kFlags.end(), flag) != kFlags.end()) {
      facts->cpu_flags.push_back(flag);
    }
  }
  facts->cores_online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  facts->core_quota = DetectThreadFacts().quota_cores;

  facts->memory_bytes = cpu.memory_bytes;
  facts->memory_available_bytes = MemoryField("MemAvailable");
  const int64_t limit = std::atoll(FirstLine("/sys/fs/cgroup/memory.max").c_str());
  if (limit > 0 && limit < facts->memory_bytes) {
    const int64_t used = std::atoll(FirstLine("/sys/fs/cgroup/memory.current").c_str());
    facts->memory_bytes = limit;
    facts->memory_available_bytes = std::min(facts->memory_available_bytes, limit - used);
  }
  struct statvfs shm {};
  if (statvfs("/dev/shm", &shm) == 0) {
    facts->shared_memory_free_bytes = static_cast<int64_t>(shm.f_bavail * shm.f_frsize);
  }
}

void GatherJob(int threads, DoctorFacts* facts) {
  facts->mpi_library = MpiLibraryVersion();
  facts->launched_by_mpi = LaunchedByMpi();
  facts->root = geteuid() == 0;
  facts->root_allowed = !Variable("OMPI_ALLOW_RUN_AS_ROOT").empty() &&
                        !Variable("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM").empty();
  if (facts->launched_by_mpi) {
    facts->ranks = IntVariable("OMPI_COMM_WORLD_SIZE", IntVariable("SLURM_NTASKS", 1));
    facts->local_ranks = IntVariable("OMPI_COMM_WORLD_LOCAL_SIZE", facts->ranks);
  }
  facts->threads = threads > 0 ? threads : std::max(facts->cores_allowed / facts->local_ranks, 1);
  for (const char* name :
       {"OMPI_MCA_rmaps_base_oversubscribe", "OMPI_MCA_hwloc_base_binding_policy",
        "OMPI_MCA_mpi_yield_when_idle", "OMPI_MCA_btl", "OMPI_MCA_btl_vader_single_copy_mechanism",
        "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMP_NUM_THREADS",
        "SLURM_CPUS_PER_TASK", "FOLKMOOT_LOG_LEVEL", "NO_COLOR"}) {
    if (const std::string value = Variable(name); !value.empty()) {
      facts->settings.emplace_back(name, value);
    }
  }
}

// Cores that the ranks of this host can really use at once.
double UsableCores(const DoctorFacts& facts) {
  // A rank that mpirun bound to a core sees only that one; its neighbours have theirs.
  const double allowed = facts.launched_by_mpi ? facts.cores_online : facts.cores_allowed;
  return facts.core_quota > 0.0 ? std::min(allowed, facts.core_quota) : allowed;
}

// Ranks, threads and the cores that they share.
void AdviseOnCores(const DoctorFacts& facts, std::vector<std::string>* advice) {
  const double cores = UsableCores(facts);
  const int wanted = facts.local_ranks * facts.threads;
  if (wanted > cores + 0.5) {
    const int fit = std::max(static_cast<int>(cores) / facts.local_ranks, 1);
    advice->push_back(fmt::format("{} rank(s) x {} thread(s) share {} core(s): {}",
                                  facts.local_ranks, facts.threads, fmt::format("{:.3g}", cores),
                                  fit < facts.threads
                                      ? fmt::format("use --threads {}", fit)
                                      : std::string("use fewer ranks when speed matters")));
    for (const auto& [name, value] : facts.settings) {
      if (name == "OMPI_MCA_mpi_yield_when_idle" && value == "0") {
        advice->push_back(
            "waiting ranks keep their core (OMPI_MCA_mpi_yield_when_idle=0), which makes exchanges "
            "up to 1000 times slower when cores are shared: set it to 1");
      }
    }
  }
  if (facts.launched_by_mpi && facts.threads > facts.cores_allowed) {
    advice->push_back(fmt::format(
        "mpirun bound this rank to {} core(s), but it has {} threads: mpirun --bind-to none",
        facts.cores_allowed, facts.threads));
  }
  if (facts.core_quota > 0.0 && facts.core_quota + 0.5 < facts.cores_allowed) {
    advice->push_back(
        fmt::format("the container may use {} of its {} cores at a time: --threads {}",
                    fmt::format("{:.3g}", facts.core_quota), facts.cores_allowed,
                    std::max(static_cast<int>(facts.core_quota), 1)));
  }
}

std::string Join(const std::vector<std::string>& words, std::string_view otherwise) {
  return words.empty() ? std::string(otherwise) : fmt::format("{}", fmt::join(words, ", "));
}

std::string CoresText(const DoctorFacts& facts) {
  std::string text = fmt::format("{} online, {} allowed", facts.cores_online, facts.cores_allowed);
  if (facts.core_quota > 0.0) {
    text += fmt::format(", quota {}", fmt::format("{:.3g}", facts.core_quota));
  }
  return text;
}

std::string JobText(const DoctorFacts& facts) {
  if (!facts.launched_by_mpi) {
    return fmt::format("one process, {} thread(s); more ranks: mpirun -n N folkmoot ...",
                       facts.threads);
  }
  return fmt::format("{} rank(s) under MPI, {} on this host, {} thread(s) each", facts.ranks,
                     facts.local_ranks, facts.threads);
}

}  // namespace

DoctorFacts GatherDoctorFacts(int threads) {
  DoctorFacts facts;
  facts.version = BuildVersion();
#ifdef NDEBUG
  facts.optimized = true;
#endif
  for (const BuildLibrary& library : kBuildLibraries) {
    facts.libraries.emplace_back(library.name, library.version);
  }
  facts.architectures = KnownArchitectures();
  GatherMachine(&facts);
  GatherJob(threads, &facts);
  facts.gpus = GatherGpuFacts();
  return facts;
}

std::vector<std::string> DoctorAdvice(const DoctorFacts& facts) {
  std::vector<std::string> advice;
  if (!facts.optimized) {
    advice.push_back("this is not a Release build and many times slower: cmake --preset release");
  }
  if (!facts.fused) {
    advice.push_back(
        "this processor has neither AVX2 with FMA nor NEON: kernels run without vectors; results "
        "are the same bits, but slow");
  }
  AdviseOnCores(facts, &advice);
  if (facts.root && !facts.root_allowed && !facts.launched_by_mpi) {
    advice.push_back(
        "mpirun refuses to start as root: export OMPI_ALLOW_RUN_AS_ROOT=1 "
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
  }
  if (facts.shared_memory_free_bytes < kShmPerRank * facts.local_ranks) {
    advice.push_back(fmt::format(
        "/dev/shm has {} free, and ranks of one host talk through it: give it at least {} (docker "
        "run --shm-size=1g)",
        FormatBytes(static_cast<double>(facts.shared_memory_free_bytes)),
        FormatBytes(static_cast<double>(kShmPerRank * facts.local_ranks))));
  }
  AdviseOnGpus(facts.gpus, &advice);
  return advice;
}

std::string RenderDoctor(const DoctorFacts& facts, const Terminal& terminal) {
  KeyValues table;
  table.Add("folkmoot", facts.version);
  std::vector<std::string> libraries;
  for (const auto& [name, version] : facts.libraries) libraries.push_back(name + " " + version);
  table.Add("compiled with", Join(libraries, "nothing"));
  table.Add("architectures", Join(facts.architectures, "none"));
  table.Add("processor", facts.cpu_model);
  table.Add("kernels", fmt::format("{} (of: {})", facts.kernel_target,
                                   Join(facts.cpu_flags, "no known extension")));
  table.Add("cores", CoresText(facts));
  table.Add("memory",
            fmt::format("{}, {} available; /dev/shm {} free",
                        FormatBytes(static_cast<double>(facts.memory_bytes)),
                        FormatBytes(static_cast<double>(facts.memory_available_bytes)),
                        FormatBytes(static_cast<double>(facts.shared_memory_free_bytes))));
  table.Add("MPI", facts.mpi_library);
  table.Add("job", JobText(facts));
  std::vector<std::string> settings;
  for (const auto& [name, value] : facts.settings) settings.push_back(name + "=" + value);
  table.Add("environment", Join(settings, "nothing that matters is set"));
  AddGpuRows(facts.gpus, &table);
  std::string text = table.Render(terminal);

  const std::vector<std::string> advice = DoctorAdvice(facts);
  text += "\n" + Bold(advice.empty() ? "Nothing to change." : "To change:", terminal) + "\n";
  for (const std::string& line : advice) text += "  - " + line + "\n";
  return text;
}

std::string RenderDoctorJson(const DoctorFacts& facts) {
  const auto object = [](const std::vector<DoctorFacts::Pair>& pairs) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const auto& [name, value] : pairs) json[name] = value;
    return json;
  };
  nlohmann::ordered_json json;
  json["version"] = facts.version;
  json["libraries"] = object(facts.libraries);
  json["architectures"] = facts.architectures;
  json["cpu"] = {{"model", facts.cpu_model},
                 {"kernel_target", facts.kernel_target},
                 {"flags", facts.cpu_flags},
                 {"cores_online", facts.cores_online},
                 {"cores_allowed", facts.cores_allowed}};
  json["cpu"]["core_quota"] = facts.core_quota > 0.0 ? nlohmann::ordered_json(facts.core_quota)
                                                     : nlohmann::ordered_json(nullptr);
  json["memory"] = {{"bytes", facts.memory_bytes},
                    {"available_bytes", facts.memory_available_bytes},
                    {"dev_shm_free_bytes", facts.shared_memory_free_bytes}};
  json["mpi"] = {{"library", facts.mpi_library},
                 {"launched", facts.launched_by_mpi},
                 {"ranks", facts.ranks},
                 {"local_ranks", facts.local_ranks},
                 {"threads_per_rank", facts.threads},
                 {"environment", object(facts.settings)}};
  AddGpuJson(facts.gpus, &json);
  json["advice"] = DoctorAdvice(facts);
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Command MakeDoctorCommand(CLI::App& app) {
  struct Flags {
    bool json = false;
    int threads = 0;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand(
      "doctor", "Show what this build and this machine offer, and what to change");
  sub->add_flag("--json", flags->json, "Print one JSON object");
  sub->add_option("--threads", flags->threads,
                  "Threads per rank that you mean to use (0: automatic)")
      ->check(CLI::Range(0, 4096));
  return {sub, [flags]() -> absl::Status {
            if (!IsFirstRank()) return absl::OkStatus();
            const DoctorFacts facts = GatherDoctorFacts(flags->threads);
            const std::string text = flags->json
                                         ? RenderDoctorJson(facts)
                                         : RenderDoctor(facts, DetectTerminal(STDOUT_FILENO));
            std::fwrite(text.data(), 1, text.size(), stdout);
            return absl::OkStatus();
          }};
}

}  // namespace folkmoot
