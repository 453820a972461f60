// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/inspect_command.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "CLI/CLI.hpp"
#include "launch/commands/inspect_config.h"
#include "launch/parallelism.h"
#include "launch/table.h"
#include "layers/column_splits.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "layers/models/tensor_list.h"
#include "parallel/mpi_environment.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/gguf_model.h"
#include "runtime/checkpoint/panel_file.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {
namespace {

constexpr size_t kMostNames = 10;              // of one kind of wrong tensor, in the text report
constexpr int64_t kAbsurd = int64_t{1} << 56;  // parameters; products of such shapes overflow

std::string Size(int64_t bytes) { return FormatBytes(static_cast<double>(bytes)); }

// "46.7 B", as models are named: "Mixtral 8x7B".
std::string Parameters(int64_t count) {
  const auto value = static_cast<double>(count);
  std::string exact = FormatCount(count);
  if (value >= 1e9) return fmt::format("{} ({} B)", exact, FormatNumber(value / 1e9));
  if (value >= 1e6) return fmt::format("{} ({} M)", exact, FormatNumber(value / 1e6));
  return exact;
}

std::string WrongText(const ModelInventory& inventory) {
  std::string text;
  const auto add = [&text](std::string_view title, const std::vector<std::string>& names) {
    if (names.empty()) return;
    text += fmt::format("\n{} ({}):\n", title, names.size());
    for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) text += "  " + names[i] + "\n";
    if (names.size() > kMostNames)
      text += fmt::format("  and {} more\n", names.size() - kMostNames);
  };
  add("Missing tensors", inventory.missing);
  add("Tensors of wrong shape", inventory.wrong_shape);
  add("Unexpected tensors, which are not read", inventory.unexpected);
  return text;
}

// What tensor-parallel ranks read: their parts of every matrix and all routers. Embeddings are read
// in place; norms are nothing beside these.
std::vector<int64_t> SlicedBytes(const InspectReport& report) {
  const auto weights = WeightsOfRanks(report.config, report.ranks);
  if (!weights.ok()) {
    return std::vector<int64_t>(static_cast<size_t>(report.ranks), report.inventory.bytes);
  }
  std::vector<int64_t> bytes = *weights;
  for (int64_t& part : bytes) part *= DTypeBytes(report.config.dtype);
  return bytes;
}
int64_t EmbeddingBytes(const InspectReport& report) {
  if (report.inventory.parameters > kAbsurd) return 0;
  return report.config.vocab * report.config.hidden * DTypeBytes(report.config.dtype);
}

std::string TensorRankTable(const InspectReport& report, const Terminal& terminal) {
  Table table({{"rank", Align::kRight},
               {"key/value heads", Align::kRight},
               {"its part", Align::kRight},
               {"embeddings", Align::kRight},
               {"total", Align::kRight}});
  const ColumnSplit heads = KvHeadSplit(report.config, report.ranks);
  const int64_t embeddings = EmbeddingBytes(report);
  const std::vector<int64_t> sliced = SlicedBytes(report);
  for (int rank = 0; rank < report.ranks; ++rank) {
    const int64_t bytes = sliced[static_cast<size_t>(rank)];
    table.AddRow({fmt::to_string(rank), fmt::to_string(heads.width(rank)), Size(bytes),
                  Size(embeddings), Size(bytes + embeddings)});
  }
  return table.Render(terminal);
}

std::string RankTable(const InspectReport& report, const Terminal& terminal) {
  if (report.tensor_parallel) return TensorRankTable(report, terminal);
  Table table({{"rank", Align::kRight},
               {"experts", Align::kRight},
               {"expert weights", Align::kRight},
               {"replicated", Align::kRight},
               {"total", Align::kRight}});
  for (int rank = 0; rank < report.ranks; ++rank) {
    int64_t experts = 0;
    int64_t bytes = 0;
    if (report.placement) {
      experts = static_cast<int64_t>(report.placement->experts_of(rank).size());
      bytes = ExpertBytesOfRank(report.inventory, *report.placement, rank);
    }
    table.AddRow({fmt::to_string(rank), fmt::to_string(experts), Size(bytes),
                  Size(report.inventory.dense_bytes), Size(report.inventory.dense_bytes + bytes)});
  }
  return table.Render(terminal);
}

nlohmann::ordered_json TensorRanksJson(const InspectReport& report) {
  const ColumnSplit heads = KvHeadSplit(report.config, report.ranks);
  const int64_t embeddings = EmbeddingBytes(report);
  auto ranks = nlohmann::ordered_json::array();
  const std::vector<int64_t> sliced = SlicedBytes(report);
  for (int rank = 0; rank < report.ranks; ++rank) {
    const int64_t bytes = sliced[static_cast<size_t>(rank)];
    ranks.push_back({{"rank", rank},
                     {"kv_heads", heads.width(rank)},
                     {"sliced_bytes", bytes},
                     {"replicated_bytes", embeddings},
                     {"bytes", bytes + embeddings}});
  }
  return ranks;
}

nlohmann::ordered_json RanksJson(const InspectReport& report) {
  if (report.tensor_parallel) return TensorRanksJson(report);
  auto ranks = nlohmann::ordered_json::array();
  for (int rank = 0; rank < report.ranks; ++rank) {
    nlohmann::ordered_json entry = {{"rank", rank}};
    int64_t bytes = 0;
    entry["experts"] = nlohmann::ordered_json::array();
    if (report.placement) {
      entry["experts"] = report.placement->experts_of(rank);
      bytes = ExpertBytesOfRank(report.inventory, *report.placement, rank);
    }
    entry["expert_bytes"] = bytes;
    entry["replicated_bytes"] = report.inventory.dense_bytes;
    entry["bytes"] = report.inventory.dense_bytes + bytes;
    ranks.push_back(std::move(entry));
  }
  return ranks;
}

}  // namespace

absl::StatusOr<InspectReport> InspectModel(const std::string& directory, int ranks,
                                           const std::string& placement) {
  namespace fs = std::filesystem;
  InspectReport report;
  report.directory = directory;
  report.ranks = ranks;
  FM_ASSIGN_OR_RETURN(report.config, LoadModelConfig(directory));
  std::error_code ignored;
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(directory));
  report.has_weights = gguf.has_value() ||
                       fs::exists(fs::path(directory) / "model.safetensors", ignored) ||
                       fs::exists(fs::path(directory) / "model.safetensors.index.json", ignored);
  std::unique_ptr<Checkpoint> checkpoint;
  if (report.has_weights) {
    FM_ASSIGN_OR_RETURN(checkpoint, Checkpoint::Open(directory));
    report.fingerprint = checkpoint->Fingerprint();
  }
  const fs::path panels = fs::path(directory) / PanelFile::kName;
  if (!report.has_weights && fs::exists(panels, ignored)) {
    FM_ASSIGN_OR_RETURN(const auto packed, PanelFile::Open(panels.string()));
    report.fingerprint = packed->Fingerprint();
    report.packed_bytes = static_cast<int64_t>(fs::file_size(panels, ignored));
  }
  FM_ASSIGN_OR_RETURN(report.inventory, TakeInventory(report.config, checkpoint.get()));
  if (report.config.moe.experts > 0) {
    FM_ASSIGN_OR_RETURN(
        report.placement,
        ExpertPlacement::Parse(placement, static_cast<int>(report.config.moe.experts), ranks));
  }
  return report;
}

std::string RenderInspect(const InspectReport& report, const Terminal& terminal) {
  const ModelConfig& config = report.config;
  const ModelInventory& inventory = report.inventory;
  KeyValues table;
  AddConfigRows(config, table);
  table.Add("parameters", Parameters(inventory.parameters));
  table.Add("active per token", Parameters(inventory.active_parameters));
  std::vector<std::string> dtypes;
  for (const auto& [name, share] : inventory.dtypes) {
    dtypes.push_back(fmt::format("{} {} in {} tensors", Size(share.bytes), name, share.tensors));
  }
  const bool packed = report.packed_bytes > 0;
  if (packed) table.Add("packed weights", Size(report.packed_bytes));
  table.Add(report.has_weights ? "weights on disk"
            : packed           ? "weights as config.json says"
                               : "weights (none on disk)",
            fmt::format("{}: {}", Size(inventory.bytes), fmt::join(dtypes, ", ")));
  if (inventory.unused_bytes > 0 && inventory.unexpected.empty()) {
    table.Add("not read", Size(inventory.unused_bytes) + ", of parts that are not run");
  }
  if (config.weight_format != nullptr) table.Add("quantised", config.weight_format->description());
  table.Add("KV cache", Size(inventory.kv_bytes_per_token) + " per token (float32)");
  if (inventory.state_bytes > 0) {
    table.Add("recurrent state", Size(inventory.state_bytes) + " per sequence (float32)");
  }
  if (report.has_weights || packed) {
    table.Add("fingerprint", fmt::format("{:016x}", report.fingerprint));
  }
  return table.Render(terminal) + "\n" + RankTable(report, terminal) + WrongText(inventory);
}

std::string RenderInspectJson(const InspectReport& report) {
  const ModelInventory& inventory = report.inventory;
  nlohmann::ordered_json json = ConfigJson(report.config);
  json["parameters"] = inventory.parameters;
  json["active_parameters"] = inventory.active_parameters;
  json["expert_parameters"] = inventory.expert_parameters;
  json["has_weights"] = report.has_weights;
  json["packed_bytes"] = report.packed_bytes;
  json["weight_bytes"] = inventory.bytes;
  json["dtypes"] = nlohmann::ordered_json::object();
  for (const auto& [name, share] : inventory.dtypes) {
    json["dtypes"][name] = {{"tensors", share.tensors}, {"bytes", share.bytes}};
  }
  json["kv_bytes_per_token"] = inventory.kv_bytes_per_token;
  json["state_bytes_per_sequence"] = inventory.state_bytes;
  json["fingerprint"] = fmt::format("{:016x}", report.fingerprint);
  json["parallelism"] = ParallelismName(report.tensor_parallel);
  json["ranks"] = RanksJson(report);
  json["missing_tensors"] = inventory.missing;
  json["wrong_shape_tensors"] = inventory.wrong_shape;
  json["unexpected_tensors"] = inventory.unexpected;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Command MakeInspectCommand(CLI::App& app) {
  struct Flags {
    std::string model;
    int ranks = 1;
    std::string parallelism = "expert";
    std::string placement = "contiguous";
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* sub =
      app.add_subcommand("inspect", "Show shapes, parameters and bytes per rank of a model");
  sub->add_option("MODEL", flags->model, "Model directory or GGUF file")->required();
  sub->add_option("--ranks", flags->ranks, "Ranks to spread the model over")
      ->check(CLI::Range(1, 65536));
  sub->add_option("--parallelism", flags->parallelism,
                  "expert: whole experts on ranks; tensor: a part of every matrix")
      ->check(CLI::IsMember({"expert", "tensor"}));
  sub->add_option("--expert-placement", flags->placement,
                  "contiguous, round_robin, or a JSON file with the rank of each expert");
  sub->add_flag("--json", flags->json, "Print one JSON object");
  return {
      sub, [flags]() -> absl::Status {
        if (!IsFirstRank()) return absl::OkStatus();
        FM_ASSIGN_OR_RETURN(InspectReport report,
                            InspectModel(flags->model, flags->ranks, flags->placement));
        report.tensor_parallel = flags->parallelism == "tensor";
        const std::string_view why_not = WhyNotTensorParallel(report.config);
        if (report.tensor_parallel && !why_not.empty()) {
          return InvalidArgument("--parallelism tensor: {}: {}", report.config.architecture,
                                 why_not);
        }
        const std::string text = flags->json ? RenderInspectJson(report)
                                             : RenderInspect(report, DetectTerminal(STDOUT_FILENO));
        std::fwrite(text.data(), 1, text.size(), stdout);
        const size_t bad = report.inventory.missing.size() + report.inventory.wrong_shape.size();
        if (bad == 0) return absl::OkStatus();
        return FailedPrecondition("{}: {} tensors are missing or of wrong shape: it will not load",
                                  report.directory, bad);
      }};
}

}  // namespace folkmoot
