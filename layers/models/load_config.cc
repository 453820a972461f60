// SPDX-License-Identifier: Apache-2.0
#include "layers/models/load_config.h"

#include <filesystem>
#include <optional>

#include "layers/models/encoder_parts.h"
#include "layers/models/family.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/gguf_model.h"
#include "runtime/file.h"
#include "runtime/model_config_gguf.h"
#include "runtime/model_config_json.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {
namespace {

constexpr uintmax_t kMaxFileBytes = 64 << 20;

absl::StatusOr<std::string> ReadConfig(const std::string& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return NotFound("{}: cannot be read: {}", path, error.message());
  if (size > kMaxFileBytes) {
    return InvalidArgument("{}: {} bytes is over the limit of {}", path, size, kMaxFileBytes);
  }
  return ReadFile(path, FaultPoint::kConfigRead);
}

// Where config.json does not say how weights are stored, a file beside it or the tensors may.
absl::Status FindWeightFormat(const std::filesystem::path& base, ModelConfig& config) {
  if (config.weight_format != nullptr) return absl::OkStatus();
  const std::string path = (base / "hf_quant_config.json").string();
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    FM_ASSIGN_OR_RETURN(const std::string text, ReadConfig(path));
    FM_ASSIGN_OR_RETURN(const nlohmann::json file, ParseConfigJson(text, path));
    FM_ASSIGN_OR_RETURN(config.weight_format,
                        MakeModelOptFormat(file, fmt::format("{}: key '", path)));
    return absl::OkStatus();
  }
  const auto find = FindFamily(config.architecture)->find_format;
  if (find == nullptr) return absl::OkStatus();
  // Whoever reads the weights says what is wrong with them.
  const auto checkpoint = Checkpoint::Open(base.string());
  if (checkpoint.ok()) config.weight_format = find(**checkpoint);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text,
                                             std::string_view name_for_errors) {
  std::vector<const ConfigFamily*> configs;
  for (const Family* family : Families()) configs.push_back(&family->config);
  return ParseConfigOf(configs, text, name_for_errors);
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(model));
  if (gguf) {
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufModel> file, GgufModel::Open(*gguf));
    FM_ASSIGN_OR_RETURN(ModelConfig config, GgufModelConfig(*file));
    config.model_type = FindFamily(config.architecture)->config.model_type;
    return config;
  }
  const std::filesystem::path base(model);
  std::error_code ignored;
  if (!std::filesystem::is_directory(base, ignored)) {
    return NotFound("{}: no such file or directory", model);
  }
  const std::string path = (base / "config.json").string();
  FM_ASSIGN_OR_RETURN(const std::string text, ReadConfig(path));
  FM_ASSIGN_OR_RETURN(ModelConfig config, ParseModelConfig(text, path));
  FM_RETURN_IF_ERROR(FindWeightFormat(base, config));
  const std::string generation_path = (base / "generation_config.json").string();
  if (std::filesystem::exists(generation_path, ignored)) {
    FM_ASSIGN_OR_RETURN(const std::string generation, ReadConfig(generation_path));
    FM_ASSIGN_OR_RETURN(auto ends, ParseEndTokens(generation, generation_path));
    if (ends) config.eos_ids = *std::move(ends);
    if (config.has_encoder()) {
      FM_RETURN_IF_ERROR(ReadGenerationStart(generation, generation_path, config));
    }
  }
  return config;
}

std::vector<std::string> KnownArchitectures() {
  std::vector<std::string> names;
  for (const Family* family : Families()) names.emplace_back(family->config.architecture);
  return names;
}

}  // namespace folkmoot
