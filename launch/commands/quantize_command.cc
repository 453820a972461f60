// SPDX-License-Identifier: Apache-2.0
// folkmoot quantize: a smaller copy of a model, in layouts that Folkmoot and Transformers read.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>

#include "CLI/CLI.hpp"
#include "launch/commands/commands.h"
#include "launch/commands/quantize_model.h"
#include "launch/commands/text_bits.h"
#include "launch/fault_flags.h"
#include "launch/progress_bar.h"
#include "launch/table.h"
#include "launch/thread_budget.h"
#include "parallel/mpi_environment.h"

namespace folkmoot {
namespace {

struct Flags {
  QuantizeOptions options;
  std::string format = "int4";
  std::string text;
  int threads = 0;
  FaultFlags faults;
};

const std::map<std::string, EncodeType>& Formats() {
  static const auto* const kFormats =
      new std::map<std::string, EncodeType>{{"int8", EncodeType::kInt8},
                                            {"int4", EncodeType::kInt4},
                                            {"fp8", EncodeType::kFp8},
                                            {"mxfp4", EncodeType::kMxfp4}};
  return *kFormats;
}

std::string BitsPerWeight(int64_t bytes, int64_t weights) {
  if (weights == 0) return "";
  return fmt::format("{:.2f}", 8.0 * static_cast<double>(bytes) / static_cast<double>(weights));
}

std::string RenderReport(const Flags& flags, const QuantizeReport& report,
                         const Terminal& terminal) {
  Table table({{"weights"},
               {"tensors", Align::kRight},
               {"before", Align::kRight},
               {"after", Align::kRight},
               {"bits per weight", Align::kRight}});
  const auto add = [&table](std::string name, const QuantizeReport::Part& part) {
    table.AddRow({std::move(name), fmt::to_string(part.tensors),
                  FormatBytes(static_cast<double>(part.bytes_before)),
                  FormatBytes(static_cast<double>(part.bytes_after)),
                  BitsPerWeight(part.bytes_after, part.weights)});
  };
  const bool blocks = flags.options.type == EncodeType::kFp8;
  add(fmt::format("{}, {} of {}", flags.format, blocks ? "blocks" : "groups", report.group),
      report.encoded);
  add("plain", report.plain);
  add("all", {.tensors = report.encoded.tensors + report.plain.tensors,
              .weights = report.encoded.weights + report.plain.weights,
              .bytes_before = report.encoded.bytes_before + report.plain.bytes_before,
              .bytes_after = report.encoded.bytes_after + report.plain.bytes_after});
  std::string text = table.Render(terminal);
  if (!report.odd_matrices.empty()) {
    text += fmt::format("\n{} matrices stay plain because groups of {} do not divide them: {}{}\n",
                        report.odd_matrices.size(), report.group, report.odd_matrices.front(),
                        report.odd_matrices.size() > 1 ? ", ..." : "");
  }
  return text;
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || file.bad()) return NotFound("--text {}: cannot be read, or is empty", path);
  return text.str();
}

// The text's bits per byte with both models; the program's own loading and scoring.
absl::StatusOr<std::string> CompareOnText(const Flags& flags, const std::string& text) {
  FM_ASSIGN_OR_RETURN(const TextBits before,
                      MeasureTextBits(flags.options.model, text, flags.threads));
  FM_ASSIGN_OR_RETURN(const TextBits after,
                      MeasureTextBits(flags.options.out, text, flags.threads));
  return fmt::format("bits per byte of {}: {:.4f} before, {:.4f} after ({:+.2f} %; {} tokens)\n",
                     flags.text, before.per_byte(), after.per_byte(),
                     100.0 * (after.bits / before.bits - 1.0), before.tokens);
}

absl::Status Quantize(Flags flags) {
  if (LaunchedByMpi()) return UsageError("quantize works alone: start it without mpirun");
  FM_RETURN_IF_ERROR(ArmFaults(flags.faults, {}));
  flags.options.type = Formats().at(flags.format);
  if (flags.options.type == EncodeType::kMxfp4 && flags.options.group != 0 &&
      flags.options.group != 32) {
    return UsageError("--group: mxfp4 has groups of 32");
  }
  std::string text;
  if (!flags.text.empty()) {  // an hour later would be the wrong time to find it missing
    FM_ASSIGN_OR_RETURN(text, ReadText(flags.text));
  }
  ThreadPool pool(BudgetOf(DetectThreadFacts(), flags.threads, "off").threads);
  std::unique_ptr<ProgressBar> bar;
  const auto progress = [&bar](int64_t done, int64_t total) {
    if (bar == nullptr) {
      bar =
          std::make_unique<ProgressBar>(ProgressBar::Options{.label = "Quantizing", .total = total},
                                        DetectTerminal(STDERR_FILENO));
    }
    bar->Update(done);
  };
  FM_ASSIGN_OR_RETURN(const QuantizeReport report, QuantizeModel(flags.options, pool, progress));
  if (bar != nullptr) bar->Finish();
  fmt::print("{}", RenderReport(flags, report, DetectTerminal(STDOUT_FILENO)));
  if (flags.text.empty()) {
    fmt::print("\nWhat it costs in bits per byte of a text: --text FILE\n");
    return absl::OkStatus();
  }
  FM_ASSIGN_OR_RETURN(const std::string bits, CompareOnText(flags, text));
  fmt::print("\n{}", bits);
  return absl::OkStatus();
}

}  // namespace

Command MakeQuantizeCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand(
      "quantize", "Write a smaller copy of a model: weights of 4 or 8 bits, rounded to nearest");
  sub->add_option("MODEL", flags->options.model, "Model directory")->required();
  sub->add_option("OUT", flags->options.out, "Directory to write; it must not exist")->required();
  sub->add_option("--format", flags->format,
                  "int8, int4 and mxfp4 (compressed-tensors), fp8 (square blocks)")
      ->check(CLI::IsMember({"int8", "int4", "fp8", "mxfp4"}));
  sub->add_option("--group", flags->options.group,
                  "Weights that share a scale; 0: 32 for int4 and mxfp4, else the largest of 128, "
                  "64 and 32 that divides every matrix")
      ->check(CLI::IsMember({0, 32, 64, 128}));
  sub->add_flag("--head", flags->options.head, "Quantise the output head too");
  sub->add_option("--text", flags->text, "A text: also print its bits per byte with both models");
  sub->add_option("--threads", flags->threads, "Threads; 0: one per core")
      ->check(CLI::Range(0, 4096));
  AddFaultFlags(*sub, &flags->faults);
  return {sub, [flags] {
            const absl::Status status = Quantize(*flags);
            PrintFaultCounts(flags->faults, {});
            return status;
          }};
}

}  // namespace folkmoot
