// SPDX-License-Identifier: Apache-2.0
// folkmoot pack: a copy of a model that loads by mapping.
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "CLI/CLI.hpp"
#include "launch/commands/commands.h"
#include "launch/model_directory.h"
#include "launch/pack_model.h"
#include "launch/progress_bar.h"
#include "launch/table.h"
#include "launch/thread_budget.h"
#include "parallel/mpi_environment.h"
#include "runtime/checkpoint/panel_file.h"

namespace folkmoot {
namespace {

struct Flags {
  EngineOptions engine;
  std::string out;
};

absl::Status Pack(const Flags& flags) {
  if (LaunchedByMpi()) return UsageError("pack works alone: start it without mpirun");
  FM_RETURN_IF_ERROR(ArmFaults(flags.engine.faults, {}));
  const std::string& model = flags.engine.model;
  FM_RETURN_IF_ERROR(CheckModelDirectory(model, "pack"));
  FM_ASSIGN_OR_RETURN(const auto directory, UnfinishedDirectory::Create(flags.out));
  ThreadPool pool(BudgetOf(DetectThreadFacts(), flags.engine.threads, "off").threads);
  std::unique_ptr<ProgressBar> bar;
  const auto progress = [&bar](int64_t done, int64_t total) {
    if (bar == nullptr) {
      bar = std::make_unique<ProgressBar>(ProgressBar::Options{.label = "Packing", .total = total},
                                          DetectTerminal(STDERR_FILENO));
    }
    bar->Update(done);
  };
  const std::string path = (directory->path() / PanelFile::kName).string();
  FM_ASSIGN_OR_RETURN(const int64_t bytes, PackModel(flags.engine, path, pool, progress));
  if (bar != nullptr) bar->Finish();
  std::error_code error;
  std::filesystem::copy_file(std::filesystem::path(model) / "config.json",
                             directory->path() / "config.json", error);
  if (error)
    return FailedPrecondition("{}/config.json: cannot be copied: {}", model, error.message());
  FM_RETURN_IF_ERROR(directory->TakeAlong(model));
  FM_RETURN_IF_ERROR(directory->Finish());
  fmt::print("{}: {} of weights, ready to be mapped\n", flags.out,
             FormatBytes(static_cast<double>(bytes)));
  return absl::OkStatus();
}

}  // namespace

Command MakePackCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand(
      "pack", "Write a copy of a model that loads by mapping, laid out for the CPU's kernels");
  sub->add_option("MODEL", flags->engine.model, "Model directory")->required();
  sub->add_option("OUT", flags->out, "Directory to write; it must not exist")->required();
  sub->add_option("--dtype", flags->engine.dtype, "Type of the weights; auto: as stored")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}));
  sub->add_option("--quantization", flags->engine.quantization,
                  "Round plain weights to q8_0, q4_0, mxfp4 or fp8; routers and embeddings stay")
      ->check(CLI::IsMember({"none", "q8_0", "q4_0", "mxfp4", "fp8"}));
  sub->add_option("--load-format", flags->engine.load_format,
                  "dummy: random weights from config.json alone, for benchmarks")
      ->check(CLI::IsMember({"auto", "dummy"}));
  sub->add_option("--threads", flags->engine.threads, "Threads; 0: one per core")
      ->check(CLI::Range(0, 4096));
  AddFaultFlags(*sub, &flags->engine.faults);
  return {sub, [flags] {
            const absl::Status status = Pack(*flags);
            PrintFaultCounts(flags->engine.faults, {});
            return status;
          }};
}

}  // namespace folkmoot
