// SPDX-License-Identifier: Apache-2.0
// The front end of a supervised server: HTTP, tokenizer, requests and scheduler, over an engine in
// other processes.
#pragma once

#include <functional>

#include "launch/engine_options.h"
#include "launch/journal/file_journal.h"
#include "launch/serve_model.h"
#include "launch/server.h"
#include "launch/supervisor/supervisor.h"

namespace folkmoot {

struct FrontEndProcessOptions {
  EngineOptions engine;
  ServerOptions server;
  ServeModelOptions model;
  int ranks = 1;
  FileJournalOptions journal;  // no directory: none
  // What `serve` says of scheduling beyond the engine's own options.
  std::function<SchedulerOptions(SchedulerOptions)> adjust;
  std::function<void(const Server&, const ServedModel&, const EngineFacts&)> on_ready;
};

// The exit status of a front end that has lost its supervisor, or thinks so.
constexpr int kLostSupervisor = 75;

// Serves until the supervisor or a signal says otherwise.
absl::Status RunFrontEnd(const FrontEndProcessOptions& options, FrontEndLink link);

}  // namespace folkmoot
