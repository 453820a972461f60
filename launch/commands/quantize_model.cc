// SPDX-License-Identifier: Apache-2.0
// QuantizeModel: plan, share the tensors out over files, write them one after the other, then
// config.json and the files that go along, then the name.
#include "launch/commands/quantize_model.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include "launch/model_directory.h"
#include "layers/models/load_config.h"
#include "layers/weight_loader.h"
#include "nlohmann/json.hpp"
#include "runtime/fault_points.h"
#include "runtime/file.h"
#include "runtime/json_text.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Rows that one thread widens and encodes at a time: a multiple of every group.
constexpr int64_t kBand = 128;

absl::Status WriteText(const fs::path& path, const std::string& text) {
  if (FaultAt(FaultPoint::kOutputOpen)) {
    return ResourceExhausted("{}: cannot be written: {}", path.string(), std::strerror(errno));
  }
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (file && !FaultAt(FaultPoint::kOutputWrite)) return absl::OkStatus();
  return ResourceExhausted("{}: cannot be written", path.string());
}

absl::StatusOr<Json> ReadConfig(const std::string& model) {
  FM_ASSIGN_OR_RETURN(const std::string text,
                      ReadFile(model + "/config.json", FaultPoint::kConfigRead));
  Json config = Json::parse(QuoteNonNumbers(text), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return InvalidArgument("{}/config.json: not a JSON object", model);
  return config;
}

class Writer {
 public:
  Writer(const Checkpoint& checkpoint, ThreadPool& pool,
         const std::function<void(int64_t, int64_t)>& progress)
      : checkpoint_(checkpoint),
        loader_(MakeCheckpointLoader(checkpoint, nullptr)),
        pool_(pool),
        progress_(progress) {}

  absl::Status Write(const QuantizePlan& plan, const fs::path& directory, int64_t shard_bytes,
                     QuantizeReport* report) {
    const std::vector<std::pair<size_t, size_t>> shards = Shards(plan, shard_bytes);
    Json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", Json::object()}};
    int64_t total = 0;
    for (size_t s = 0; s < shards.size(); ++s) {
      const std::string name = shards.size() == 1 ? "model.safetensors"
                                                  : fmt::format("model-{:05}-of-{:05}.safetensors",
                                                                s + 1, shards.size());
      std::vector<NewTensor> tensors;
      for (size_t i = shards[s].first; i < shards[s].second; ++i) {
        for (const NewTensor& tensor : plan.items[i].tensors) {
          tensors.push_back(tensor);
          index["weight_map"][tensor.name] = name;
          total += tensor.bytes();
        }
      }
      FM_ASSIGN_OR_RETURN(const auto file,
                          SafetensorsWriter::Create((directory / name).string(), tensors));
      for (size_t i = shards[s].first; i < shards[s].second; ++i) {
        FM_RETURN_IF_ERROR(WriteItem(plan.items[i], *file, report));
      }
      FM_RETURN_IF_ERROR(file->Finish());
    }
    report->files = static_cast<int64_t>(shards.size());
    if (shards.size() == 1) return absl::OkStatus();
    index["metadata"]["total_size"] = total;
    return WriteText(directory / "model.safetensors.index.json", index.dump(1) + "\n");
  }

 private:
  // Items from first to last of each file.
  static std::vector<std::pair<size_t, size_t>> Shards(const QuantizePlan& plan,
                                                       int64_t shard_bytes) {
    std::vector<std::pair<size_t, size_t>> shards = {{0, 0}};
    int64_t bytes = 0;
    for (size_t i = 0; i < plan.items.size(); ++i) {
      int64_t more = 0;
      for (const NewTensor& tensor : plan.items[i].tensors) more += tensor.bytes();
      if (bytes > 0 && bytes + more > shard_bytes) {
        shards.emplace_back(i, i);
        bytes = 0;
      }
      bytes += more;
      shards.back().second = i + 1;
    }
    return shards;
  }

  absl::Status WriteItem(const QuantizeItem& item, SafetensorsWriter& file,
                         QuantizeReport* report) {
    QuantizeReport::Part& part = item.encode ? report->encoded : report->plain;
    part.tensors += 1;
    for (const NewTensor& tensor : item.tensors) part.bytes_after += tensor.bytes();
    if (item.from.k == 0) {  // a whole tensor, of any type
      const TensorInfo& info = *checkpoint_.Find(item.from.name);
      part.weights += info.bytes / DTypeBytes(info.dtype);
      part.bytes_before += info.bytes;
      FM_RETURN_IF_ERROR(file.Write(item.to, 0, {info.data, static_cast<size_t>(info.bytes)}));
      Progress(info.bytes);
      return absl::OkStatus();
    }
    FM_ASSIGN_OR_RETURN(const WeightView view, loader_->View(item.from));
    const int64_t bytes = view.n * view.k * DTypeBytes(view.dtype);
    part.weights += view.n * view.k;
    part.bytes_before += bytes;
    if (item.encode) {
      FM_RETURN_IF_ERROR(EncodeItem(item, view, file));
    } else {
      FM_RETURN_IF_ERROR(file.Write(
          item.to, 0, {static_cast<const std::byte*>(view.data), static_cast<size_t>(bytes)}));
    }
    loader_->Report(view);  // its pages may go
    Progress(bytes);
    return absl::OkStatus();
  }

  absl::Status EncodeItem(const QuantizeItem& item, const WeightView& view,
                          SafetensorsWriter& file) {
    const EncodeSpec& spec = item.spec;
    const int64_t code_bytes = spec.CodeBytes(view.k);
    const int64_t scale_bytes = spec.ScaleBytes(view.k);
    const int64_t band = kBand * pool_.threads();
    values_.resize(static_cast<size_t>(band * view.k));
    codes_.resize(static_cast<size_t>(band * code_bytes));
    scales_.resize(static_cast<size_t>(band / spec.RowsPerScale() * scale_bytes));
    for (int64_t first = 0; first < view.n; first += band) {
      const int64_t rows = std::min(band, view.n - first);
      FM_RETURN_IF_ERROR(EncodeBand(item, view, first, rows));
      const int64_t sets = (rows + spec.RowsPerScale() - 1) / spec.RowsPerScale();
      FM_RETURN_IF_ERROR(
          file.Write(item.tensors[0].name, first * code_bytes,
                     std::span(codes_).first(static_cast<size_t>(rows * code_bytes))));
      FM_RETURN_IF_ERROR(
          file.Write(item.tensors[1].name, first / spec.RowsPerScale() * scale_bytes,
                     std::span(scales_).first(static_cast<size_t>(sets * scale_bytes))));
    }
    if (item.tensors.size() < 3) return absl::OkStatus();
    const int64_t shape[] = {view.n, view.k};
    return file.Write(item.tensors[2].name, 0, std::as_bytes(std::span(shape)));
  }

  // Rows first .. first + rows of the matrix, into codes_ and scales_.
  absl::Status EncodeBand(const QuantizeItem& item, const WeightView& view, int64_t first,
                          int64_t rows) {
    const EncodeSpec& spec = item.spec;
    const int64_t step = spec.RowsPerScale();
    std::atomic<bool> finite = true;
    const auto part = [](auto& all, int64_t from, int64_t count) {
      return std::span(all).subspan(static_cast<size_t>(from), static_cast<size_t>(count));
    };
    pool_.ParallelFor((rows + step - 1) / step, 1, [&](int64_t begin, int64_t end, int) {
      const int64_t from = begin * step;
      const int64_t count = std::min(rows, end * step) - from;
      const std::span<float> values = part(values_, from * view.k, count * view.k);
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] =
            LoadElement(view.data, view.dtype, (first + from) * view.k + static_cast<int64_t>(i));
        if (!std::isfinite(values[i])) finite = false;
      }
      if (!finite) return;
      Encode(
          spec, values, view.k,
          part(codes_, from * spec.CodeBytes(view.k), count * spec.CodeBytes(view.k)),
          part(scales_, begin * spec.ScaleBytes(view.k), (end - begin) * spec.ScaleBytes(view.k)));
    });
    if (finite) return absl::OkStatus();
    return DataLoss("{}: tensor '{}' has weights that are not finite: it cannot be quantised",
                    checkpoint_.Find(item.from.name)->file, item.from.name);
  }

  void Progress(int64_t bytes) {
    done_ += bytes;
    progress_(done_, checkpoint_.total_bytes());
  }

  const Checkpoint& checkpoint_;
  std::unique_ptr<WeightLoader> loader_;
  ThreadPool& pool_;
  const std::function<void(int64_t, int64_t)>& progress_;
  int64_t done_ = 0;
  std::vector<float> values_;  // of one band
  std::vector<std::byte> codes_;
  std::vector<std::byte> scales_;
};

}  // namespace

absl::StatusOr<QuantizeReport> QuantizeModel(const QuantizeOptions& options, ThreadPool& pool,
                                             const std::function<void(int64_t, int64_t)>& progress,
                                             int64_t shard_bytes) {
  FM_RETURN_IF_ERROR(CheckModelDirectory(options.model, "quantize"));
  FM_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.model));
  if (config.has_encoder()) {
    return InvalidArgument(
        "{}: models with an encoder cannot be written with codes yet; --quantization rounds them "
        "while they are loaded",
        options.model);
  }
  if (config.weight_format != nullptr) {
    return InvalidArgument(
        "{}/config.json: key 'quantization_config': the model is quantised already; start from the "
        "model in 16 or 32 bits",
        options.model);
  }
  FM_ASSIGN_OR_RETURN(Json json, ReadConfig(options.model));
  FM_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.model));
  FM_ASSIGN_OR_RETURN(const QuantizePlan plan, PlanQuantize(options, config, *checkpoint));
  if (std::none_of(plan.items.begin(), plan.items.end(), std::mem_fn(&QuantizeItem::encode))) {
    return FailedPrecondition(
        "{}: groups of {} divide none of its matrices; choose a smaller --group", options.model,
        plan.group);
  }
  FM_ASSIGN_OR_RETURN(const auto directory, UnfinishedDirectory::Create(options.out));

  QuantizeReport report;
  report.group = plan.group;
  report.odd_matrices = plan.odd_matrices;
  FM_RETURN_IF_ERROR(
      Writer(*checkpoint, pool, progress).Write(plan, directory->path(), shard_bytes, &report));
  json["quantization_config"] = QuantizationConfig(options, plan);
  FM_RETURN_IF_ERROR(
      WriteText(directory->path() / "config.json", UnquoteNonNumbers(json.dump(2)) + "\n"));
  FM_RETURN_IF_ERROR(directory->TakeAlong(options.model));
  FM_RETURN_IF_ERROR(directory->Finish());
  return report;
}

}  // namespace folkmoot
