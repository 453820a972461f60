// SPDX-License-Identifier: Apache-2.0
// The part of `folkmoot doctor` about GPUs.
#pragma once

#include <string>
#include <vector>

#include "launch/gpu/gpu.h"
#include "launch/table.h"
#include "nlohmann/json.hpp"

namespace folkmoot {

struct GpuFacts {
  GpuBuildInfo build;
  std::vector<cuda::DeviceInfo> devices;
  std::string problem;  // why there are none; empty when there are
  std::vector<cuda::GpuLibrary> libraries;
};

GpuFacts GatherGpuFacts();

void AddGpuRows(const GpuFacts& facts, KeyValues* table);
// "cuda": null without a back end; "nccl", "cublas", "cudnn": their versions or null.
void AddGpuJson(const GpuFacts& facts, nlohmann::ordered_json* json);
void AdviseOnGpus(const GpuFacts& facts, std::vector<std::string>* advice);

}  // namespace folkmoot
