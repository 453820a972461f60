// SPDX-License-Identifier: Apache-2.0
// From a loaded model and its directory to what the API serves.
#pragma once

#include <string>
#include <vector>

#include "launch/loaded_rank.h"
#include "launch/server.h"

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

// Reads tokenizer, chat template and generation defaults. Errors name the file.
absl::StatusOr<LoadedModel> DescribeModel(const ServeModelOptions& options,
                                          const EngineOptions& engine, const LoadedRank& rank,
                                          const SchedulerOptions& scheduler);

}  // namespace folkmoot
