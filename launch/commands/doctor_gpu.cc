// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/doctor_gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace folkmoot {
namespace {

constexpr int kOldestCapability = 80;

std::string Version(int version) {
  return version == 0 ? "none" : fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string Capability(int capability) {
  return fmt::format("{}.{}", capability / 10, capability % 10);
}

}  // namespace

GpuFacts GatherGpuFacts() {
  GpuFacts facts;
  facts.build = GpuBuild();
  const absl::StatusOr<std::vector<cuda::DeviceInfo>> devices = ListGpus();
  if (devices.ok()) {
    for (const cuda::DeviceInfo& device : *devices) {
      // A GPU that somebody else holds exclusively cannot say how much is free.
      facts.devices.push_back(DescribeGpu(device.index).value_or(device));
    }
  } else {
    facts.problem = Message(devices.status());
  }
  facts.libraries = ListGpuLibraries();
  return facts;
}

void AddGpuRows(const GpuFacts& facts, KeyValues* table) {
  if (facts.build.backend == "none") {
    table->Add("GPUs", "not built in");
    return;
  }
  table->Add("GPU back end", fmt::format("{} {}, driver {}", facts.build.backend,
                                         Version(facts.build.runtime_version),
                                         Version(facts.build.driver_version)));
  if (facts.devices.empty()) table->Add("GPUs", "none: " + facts.problem);
  for (const cuda::DeviceInfo& device : facts.devices) {
    table->Add(
        fmt::format("GPU {}", device.index),
        fmt::format("{}, compute capability {}, {} multiprocessors, {}, {} free", device.name,
                    Capability(device.compute_capability), device.multiprocessors,
                    FormatBytes(static_cast<double>(device.total_bytes)),
                    device.free_bytes < 0 ? "unknown"
                                          : FormatBytes(static_cast<double>(device.free_bytes))));
  }
  for (const cuda::GpuLibrary& library : facts.libraries) {
    table->Add(library.name, library.version.empty()
                                 ? "none: " + library.detail
                                 : fmt::format("{} ({})", library.version, library.detail));
  }
}

void AddGpuJson(const GpuFacts& facts, nlohmann::ordered_json* json) {
  nlohmann::ordered_json cuda = nullptr;
  if (facts.build.backend != "none") {
    cuda = {{"backend", facts.build.backend},
            {"runtime_version", facts.build.runtime_version},
            {"driver_version", facts.build.driver_version},
            {"problem", facts.problem.empty() ? nlohmann::ordered_json(nullptr)
                                              : nlohmann::ordered_json(facts.problem)}};
    cuda["devices"] = nlohmann::ordered_json::array();
    for (const cuda::DeviceInfo& device : facts.devices) {
      cuda["devices"].push_back({{"index", device.index},
                                 {"name", device.name},
                                 {"uuid", device.uuid},
                                 {"compute_capability", Capability(device.compute_capability)},
                                 {"multiprocessors", device.multiprocessors},
                                 {"memory_bytes", device.total_bytes},
                                 {"free_bytes", device.free_bytes}});
    }
  }
  (*json)["cuda"] = cuda;
  for (const char* key : {"nccl", "cublas", "cudnn"}) (*json)[key] = nullptr;
  for (const cuda::GpuLibrary& library : facts.libraries) {
    std::string key = library.name == "cuBLASLt" ? "cublas" : library.name;
    std::transform(key.begin(), key.end(), key.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!library.version.empty()) (*json)[key] = library.version;
  }
}

void AdviseOnGpus(const GpuFacts& facts, std::vector<std::string>* advice) {
  for (const cuda::DeviceInfo& device : facts.devices) {
    if (device.compute_capability < kOldestCapability) {
      advice->push_back(fmt::format(
          "GPU {} ({}) has compute capability {}, and kernels are built for {} and newer: leave it "
          "out with CUDA_VISIBLE_DEVICES",
          device.index, device.name, Capability(device.compute_capability),
          Capability(kOldestCapability)));
    }
  }
  const bool several = facts.devices.size() > 1;
  for (const cuda::GpuLibrary& library : facts.libraries) {
    if (several && library.name == "NCCL" && library.version.empty()) {
      advice->push_back(
          "several GPUs, but no NCCL: only one rank can compute on GPUs; install libnccl2");
    }
    if (!facts.devices.empty() && library.name == "cuBLASLt" && library.version.empty()) {
      advice->push_back(
          "cuBLASLt was not found: long prompts run on our own, slower products; install "
          "libcublas, or set FOLKMOOT_LIBRARY_PATH");
    }
  }
}

}  // namespace folkmoot
