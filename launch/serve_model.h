// SPDX-License-Identifier: Apache-2.0
// From a loaded model and its directory to what the API serves.
#pragma once

#include <string>
#include <vector>

#include "launch/engine_options.h"
#include "launch/server.h"
#include "layers/gates/gate_config.h"
#include "runtime/model_config.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

struct ServeModelOptions {
  std::vector<std::string> names;         // empty: the directory as given
  std::string chat_template;              // a file; empty: the model's own
  std::string tool_call_parser = "auto";  // auto: by the chat template; none; a name of the list
  std::string reasoning_parser = "auto";
  std::string generation_config = "auto";
  std::vector<std::string> gate_knobs;
  std::string pooling = "last";  // or "mean"
  bool priorities = false;
  bool trust_special_tokens = false;
};

// The engine as far as its clients hear of it.
struct ServedEngine {
  ModelConfig config;
  GateConfig gate;
  SchedulerOptions scheduler;
  int ranks = 1;
  bool tensor_parallel = false;
  std::vector<int> rank_of_expert;
};

// Reads tokenizer, chat template and generation defaults. Errors name the file.
absl::StatusOr<LoadedModel> DescribeModel(const ServeModelOptions& options,
                                          const EngineOptions& options_of_engine,
                                          const ServedEngine& engine);

}  // namespace folkmoot
