// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/quant/quant_case.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/checkpoint/mapped_file.h"
#include "runtime/checkpoint/safetensors.h"
#include "tests/runtime/checkpoint/safetensors_bytes.h"

namespace folkmoot {
namespace {

const std::string kRoot = std::string(FOLKMOOT_TEST_DATA) + "/quant/matrices/";

// Sorted by the size of elements, so that all are aligned.
std::string FileOf(const std::map<std::string, QuantCase::Tensor>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const int64_t size : {8, 4, 2, 1}) {
    for (const auto& [name, tensor] : tensors) {
      if (DTypeBytes(tensor.dtype) != size) continue;
      const size_t begin = data.size();
      data += tensor.bytes;
      header[name] = {{"dtype", DTypeName(tensor.dtype)},
                      {"shape", tensor.shape},
                      {"data_offsets", {begin, data.size()}}};
    }
  }
  std::string text = header.dump();
  while (text.size() % 8 != 0) text += ' ';
  return SafetensorsBytes(text, data);
}

}  // namespace

std::vector<std::string> QuantCases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

QuantCase::QuantCase(const std::string& name) {
  const std::string from = kRoot + name;
  const auto file = MappedFile::Open(from + "/model.safetensors");
  EXPECT_TRUE(file.ok()) << file.status();
  const auto parsed = ParseSafetensors("model.safetensors", file->bytes());
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  for (const SafetensorsEntry& entry : parsed->entries) {
    const auto* data = reinterpret_cast<const char*>(file->bytes().data()) + entry.offset;
    tensors[entry.name] = {entry.dtype, entry.shape, std::string(data, entry.bytes)};
  }
  const auto json = nlohmann::json::parse(std::ifstream(from + "/case.json"));
  config = json["quantization_config"];
  for (const auto& matrix : json["matrices"]) {
    refs.push_back({.name = matrix["name"],
                    .n = matrix["n"],
                    .k = matrix["k"],
                    .slices = matrix.value("slices", 0),
                    .slice = matrix.value("slice", 0),
                    .slice_rows = matrix.value("slice_rows", 0),
                    .first_row = matrix.value("first_row", 0),
                    .row_step = matrix.value("row_step", 1)});
  }
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string unique = fmt::format("quant_{}_{}_{}", test->test_suite_name(), test->name(), name);
  std::replace(unique.begin(), unique.end(), '/', '_');
  directory_ = testing::TempDir() + unique;
}

QuantCase::~QuantCase() { std::filesystem::remove_all(directory_); }

absl::StatusOr<std::shared_ptr<const WeightFormat>> QuantCase::Format() const {
  if (config.is_null()) return FindInklingExperts(*checkpoint_);
  if (!config.contains("quant_method") && config.contains("producer")) {
    return MakeModelOptFormat(config, "hf_quant_config.json: key '");
  }
  return MakeWeightFormat(config, "config.json: key 'quantization_config.");
}

absl::StatusOr<std::unique_ptr<CodeMatrix>> QuantCase::Open(size_t matrix) {
  std::filesystem::create_directories(directory_);
  std::ofstream(directory_ + "/model.safetensors", std::ios::binary) << FileOf(tensors);
  FM_ASSIGN_OR_RETURN(checkpoint_, Checkpoint::Open(directory_));
  FM_ASSIGN_OR_RETURN(const auto format, Format());
  if (format == nullptr) return NotFound("all weights are plain");
  EXPECT_FALSE(format->Parts(*checkpoint_, refs[matrix].name).empty());
  return format->Open(*checkpoint_, refs[matrix]);
}

std::vector<float> QuantCase::Expected(size_t matrix) const {
  const Tensor& tensor = tensors.at(fmt::format("expected.{}", matrix));
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace folkmoot
