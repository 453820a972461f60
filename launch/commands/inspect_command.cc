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

std::string_view RopeName(RopeType type) {
  switch (type) {
    case RopeType::kDefault:
      return "default";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kYarn:
      return "yarn";
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kLongrope:
      return "longrope";
  }
  return "";
}

std::string_view ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
    case Activation::kClampedSwiglu:
      return "clamped_swiglu";
  }
  return "";
}

struct LayerCounts {
  int64_t moe = 0;
  int64_t dense = 0;
  int64_t sliding = 0;
  int64_t window = 0;
};

LayerCounts CountLayers(const ModelConfig& config) {
  LayerCounts counts;
  for (const LayerConfig& layer : config.layers) {
    (layer.moe ? counts.moe : counts.dense) += 1;
    if (layer.sliding_window == 0) continue;
    counts.sliding += 1;
    counts.window = layer.sliding_window;
  }
  return counts;
}

std::string Size(int64_t bytes) { return FormatBytes(static_cast<double>(bytes)); }

// "46.7 B", as models are named: "Mixtral 8x7B".
std::string Parameters(int64_t count) {
  const auto value = static_cast<double>(count);
  std::string exact = FormatCount(count);
  if (value >= 1e9) return fmt::format("{} ({} B)", exact, FormatNumber(value / 1e9));
  if (value >= 1e6) return fmt::format("{} ({} M)", exact, FormatNumber(value / 1e6));
  return exact;
}

std::string LayersText(const ModelConfig& config) {
  const LayerCounts counts = CountLayers(config);
  std::string text =
      fmt::format("{} ({} MoE, {} dense", config.layers.size(), counts.moe, counts.dense);
  if (counts.sliding > 0) {
    text += fmt::format("; {} with a sliding window of {}", counts.sliding, counts.window);
  }
  return text + ")";
}

std::string AttentionText(const ModelConfig& config) {
  std::string text = fmt::format("{} heads, {} key/value heads, head_dim {}", config.heads,
                                 config.kv_heads, config.head_dim);
  if (config.qkv_bias) text += config.output_bias ? ", biases" : ", q/k/v biases";
  if (config.qk_norm == QkNormKind::kHeads) text += ", q/k norms";
  if (config.qk_norm == QkNormKind::kRows) text += ", q/k norms over all heads";
  if (config.sinks) text += ", sinks";
  if (config.clip_qkv > 0) text += fmt::format(", q/k/v clipped to {}", config.clip_qkv);
  return text;
}

std::string RopeText(const RopeConfig& rope) {
  std::string text = fmt::format("{}, theta {}", RopeName(rope.type), FormatNumber(rope.theta));
  if (rope.type != RopeType::kDefault)
    text += fmt::format(", factor {}", FormatNumber(rope.factor));
  return text;
}

void AddMoeRows(const ModelConfig& config, KeyValues& table) {
  const MoeConfig& moe = config.moe;
  if (moe.experts == 0) return;
  table.Add("experts",
            fmt::format("{}, top {} chosen, intermediate {}, weights {}", moe.experts, moe.top_k,
                        moe.intermediate, moe.norm_topk_prob ? "renormalised" : "as they are") +
                (moe.expert_bias ? ", biases" : ""));
  table.Add("shared expert", moe.shared_intermediate > 0
                                 ? fmt::format("intermediate {}", moe.shared_intermediate)
                                 : "none");
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

// What a tensor-parallel rank reads: its part of every matrix and all routers. Embeddings are read
// in place; norms are nothing beside these.
int64_t SlicedBytes(const InspectReport& report, int rank) {
  const absl::StatusOr<int64_t> bytes =
      BytesToLoad(report.config, {.rank = rank, .ranks = report.ranks}, report.config.dtype);
  return bytes.value_or(report.inventory.bytes);
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
  for (int rank = 0; rank < report.ranks; ++rank) {
    const int64_t bytes = SlicedBytes(report, rank);
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

nlohmann::ordered_json RopeJson(const RopeConfig& rope) {
  nlohmann::ordered_json json = {{"type", RopeName(rope.type)}, {"theta", rope.theta}};
  if (rope.type != RopeType::kDefault) json["factor"] = rope.factor;
  if (rope.type == RopeType::kYarn || rope.type == RopeType::kLlama3 ||
      rope.type == RopeType::kLongrope) {
    json["original_max_positions"] = rope.original_max_positions;
  }
  return json;
}

nlohmann::ordered_json ConfigJson(const ModelConfig& config) {
  const LayerCounts counts = CountLayers(config);
  nlohmann::ordered_json json;
  json["architecture"] = config.architecture;
  json["model_type"] = config.model_type;
  json["layers"] = config.layers.size();
  json["moe_layers"] = counts.moe;
  json["dense_layers"] = counts.dense;
  json["sliding_layers"] = counts.sliding;
  json["sliding_window"] = counts.window;
  json["hidden"] = config.hidden;
  json["intermediate"] = config.intermediate;
  json["heads"] = config.heads;
  json["kv_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json["qkv_bias"] = config.qkv_bias;
  json["output_bias"] = config.output_bias;
  json["mlp_bias"] = config.mlp_bias;
  json["qk_norm"] = config.qk_norm != QkNormKind::kNone;
  json["qk_norm_rows"] = config.qk_norm == QkNormKind::kRows;
  json["clip_qkv"] = config.clip_qkv;
  json["sinks"] = config.sinks;
  json["activation"] = ActivationName(config.activation);
  json["experts"] = config.moe.experts;
  json["top_k"] = config.moe.top_k;
  json["moe_intermediate"] = config.moe.intermediate;
  json["expert_bias"] = config.moe.expert_bias;
  json["router_bias"] = config.moe.router_bias;
  json["norm_topk_prob"] = config.moe.norm_topk_prob;
  json["shared_intermediate"] = config.moe.shared_intermediate;
  json["rope"] = RopeJson(config.rope);
  json["vocab"] = config.vocab;
  json["context"] = config.max_positions;
  json["tied_embeddings"] = config.tied_embeddings;
  json["head_bias"] = config.head_bias;
  json["eos_token_ids"] = config.eos_ids;
  json["quantization"] = nullptr;
  if (config.weight_format != nullptr) json["quantization"] = config.weight_format->description();
  return json;
}

nlohmann::ordered_json TensorRanksJson(const InspectReport& report) {
  const ColumnSplit heads = KvHeadSplit(report.config, report.ranks);
  const int64_t embeddings = EmbeddingBytes(report);
  auto ranks = nlohmann::ordered_json::array();
  for (int rank = 0; rank < report.ranks; ++rank) {
    const int64_t bytes = SlicedBytes(report, rank);
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
  table.Add("architecture", config.architecture);
  table.Add("layers", LayersText(config));
  table.Add("hidden", fmt::format("{}, dense FFN {}, {}", config.hidden, config.intermediate,
                                  ActivationName(config.activation)));
  table.Add("attention", AttentionText(config));
  AddMoeRows(config, table);
  table.Add("rope", RopeText(config.rope));
  table.Add("vocabulary",
            fmt::format("{}{}", FormatCount(config.vocab),
                        config.tied_embeddings ? ", head tied to the embedding" : "") +
                (config.head_bias ? ", head with a bias" : ""));
  table.Add("context", FormatCount(config.max_positions) + " tokens");
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
    table.Add("not read", Size(inventory.unused_bytes) + ", of layers behind the last");
  }
  if (config.weight_format != nullptr) table.Add("quantised", config.weight_format->description());
  table.Add("KV cache", Size(inventory.kv_bytes_per_token) + " per token (float32)");
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
