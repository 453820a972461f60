// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/gguf_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

// As it stands in the file, shortened to fit a message.
std::string Show(const GgufValue& value) {
  if (value.is_array()) return fmt::format("an array of {} {}", value.size(), value.type_name());
  if (const auto text = value.String()) {
    constexpr size_t kMost = 60;
    return fmt::format("\"{}\"{}", text->substr(0, kMost), text->size() > kMost ? "..." : "");
  }
  if (const auto truth = value.Bool()) return *truth ? "true" : "false";
  if (const auto integer = value.Int()) return std::to_string(*integer);
  if (const auto number = value.Number()) return fmt::format("{}", *number);
  return "above 2^63 - 1";
}

std::string WantedInt(GgufRange range) {
  return fmt::format("it must be an integer from {} to {}", range.min, range.max);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufModel>> GgufModel::Open(const std::string& path) {
  FM_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  FM_ASSIGN_OR_RETURN(GgufFile parsed, ParseGguf(path, file.bytes()));
  std::unique_ptr<GgufModel> model(new GgufModel(std::move(file), std::move(parsed)));
  for (const GgufTensor& tensor : model->parsed_.tensors) {
    model->tensors_.emplace(tensor.name, &tensor);
  }
  FM_ASSIGN_OR_RETURN(const auto parts, model->Int("split.count", {0, INT32_MAX}));
  if (parts.value_or(1) > 1) {
    return model->Wrong("split.count",
                        "parts of a split model are not supported: join them with "
                        "llama-gguf-split --merge");
  }
  FM_ASSIGN_OR_RETURN(const auto type, model->String("general.type"));
  if (type && *type != "model") return model->Wrong("general.type", "only 'model' can be run");
  FM_ASSIGN_OR_RETURN(const auto architecture, model->String("general.architecture"));
  if (!architecture) {
    return InvalidArgument("{}: key 'general.architecture' is missing: not a model", path);
  }
  model->architecture_ = *architecture;
  return model;
}

const GgufValue* GgufModel::Find(std::string_view key) const {
  const auto found = parsed_.keys.find(key);
  return found == parsed_.keys.end() ? nullptr : &found->second;
}

const GgufTensor* GgufModel::FindTensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

absl::Status GgufModel::Wrong(std::string_view key, std::string_view wanted) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return InvalidArgument("{}: key '{}' is missing; {}", path(), key, wanted);
  return InvalidArgument("{}: key '{}' is {}; {}", path(), key, Show(*value), wanted);
}

absl::StatusOr<std::optional<int64_t>> GgufModel::Int(std::string_view key, GgufRange range) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<int64_t>();
  const std::optional<int64_t> integer = value->is_array() ? std::nullopt : value->Int();
  if (!integer || *integer < range.min || *integer > range.max) return Wrong(key, WantedInt(range));
  return integer;
}

absl::StatusOr<int64_t> GgufModel::RequiredInt(std::string_view key, GgufRange range) const {
  FM_ASSIGN_OR_RETURN(const std::optional<int64_t> value, Int(key, range));
  if (!value) return Wrong(key, WantedInt(range));
  return *value;
}

absl::StatusOr<std::optional<double>> GgufModel::Number(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<double>();
  const std::optional<double> number = value->is_array() ? std::nullopt : value->Number();
  if (!number || !std::isfinite(*number)) return Wrong(key, "it must be a finite number");
  return number;
}

absl::StatusOr<std::optional<bool>> GgufModel::Bool(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<bool>();
  const std::optional<bool> truth = value->Bool();
  if (!truth) return Wrong(key, "it must be a boolean");
  return truth;
}

absl::StatusOr<std::optional<std::string_view>> GgufModel::String(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<std::string_view>();
  const std::optional<std::string_view> text = value->String();
  if (!text) return Wrong(key, "it must be a string");
  return text;
}

absl::StatusOr<std::optional<std::vector<std::string_view>>> GgufModel::Strings(
    std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<std::vector<std::string_view>>();
  std::optional<std::vector<std::string_view>> strings = value->Strings();
  if (!strings) return Wrong(key, "it must be an array of strings");
  return strings;
}

absl::StatusOr<std::optional<std::vector<int64_t>>> GgufModel::Ints(std::string_view key,
                                                                    GgufRange range) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<std::vector<int64_t>>();
  std::vector<int64_t> integers;
  if (!value->is_array()) return Wrong(key, "it must be an array of integers");
  for (uint64_t i = 0; i < value->size(); ++i) {
    const std::optional<int64_t> integer = value->Int(i);
    if (!integer || *integer < range.min || *integer > range.max) {
      return Wrong(
          key, fmt::format("element {} must be an integer from {} to {}", i, range.min, range.max));
    }
    integers.push_back(*integer);
  }
  return std::optional(std::move(integers));
}

absl::StatusOr<std::optional<std::vector<double>>> GgufModel::Numbers(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<std::vector<double>>();
  std::vector<double> numbers;
  if (!value->is_array()) return Wrong(key, "it must be an array of numbers");
  for (uint64_t i = 0; i < value->size(); ++i) {
    const std::optional<double> number = value->Number(i);
    if (!number || !std::isfinite(*number)) {
      return Wrong(key, fmt::format("element {} must be a finite number", i));
    }
    numbers.push_back(*number);
  }
  return std::optional(std::move(numbers));
}

absl::StatusOr<std::vector<double>> GgufModel::TensorNumbers(const GgufTensor& tensor,
                                                             int64_t n) const {
  if (tensor.blocks != nullptr || tensor.shape != std::vector<int64_t>{n}) {
    return InvalidArgument("{}: tensor '{}' must be plain and have shape [{}], not [{}]", path(),
                           tensor.name, n, fmt::join(tensor.shape, ", "));
  }
  std::vector<double> numbers;
  // Offsets are multiples of an alignment that may be 1: copy before reading.
  const auto source = bytes().subspan(tensor.offset, tensor.bytes);
  const std::vector<std::byte> copy(source.begin(), source.end());
  for (int64_t i = 0; i < n; ++i) {
    numbers.push_back(static_cast<double>(LoadElement(copy.data(), tensor.dtype, i)));
  }
  return numbers;
}

absl::StatusOr<std::optional<std::string>> FindGguf(const std::string& model) {
  std::error_code error;
  if (fs::is_regular_file(model, error)) return std::optional<std::string>(model);
  if (!fs::is_directory(model, error) || fs::exists(fs::path(model) / "config.json", error)) {
    return std::optional<std::string>();
  }
  std::vector<std::string> found;
  for (fs::directory_iterator entry(model, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".gguf") found.push_back(entry->path().string());
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) return std::optional<std::string>();
  if (found.size() > 1) {
    return InvalidArgument("{}: no config.json, and {} GGUF files ({}, {}, ...): give one of them",
                           model, found.size(), fs::path(found[0]).filename().string(),
                           fs::path(found[1]).filename().string());
  }
  return std::optional<std::string>(found[0]);
}

}  // namespace folkmoot
