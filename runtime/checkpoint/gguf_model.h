// SPDX-License-Identifier: Apache-2.0
// An open GGUF file: its keys by type, its tensors by name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/status.h"

namespace folkmoot {

struct GgufRange {
  int64_t min = 1;
  int64_t max = INT32_MAX;
};

// Immutable; any thread. A getter gives nullopt for a key that is not there, and an error that
// names file, key and value for one of the wrong type or out of range.
class GgufModel {
 public:
  // Refuses parts of split models and files that hold no model (adapters, projectors).
  static absl::StatusOr<std::unique_ptr<GgufModel>> Open(const std::string& path);

  const std::string& path() const { return parsed_.file; }
  const GgufFile& parsed() const { return parsed_; }
  std::span<const std::byte> bytes() const { return file_.bytes(); }
  // "llama", "qwen2moe", ...
  const std::string& architecture() const { return architecture_; }

  const GgufValue* Find(std::string_view key) const;          // nullptr: not there
  const GgufTensor* FindTensor(std::string_view name) const;  // the same

  absl::StatusOr<std::optional<int64_t>> Int(std::string_view key, GgufRange range = {}) const;
  absl::StatusOr<std::optional<double>> Number(std::string_view key) const;  // finite
  absl::StatusOr<std::optional<bool>> Bool(std::string_view key) const;
  absl::StatusOr<std::optional<std::string_view>> String(std::string_view key) const;
  absl::StatusOr<std::optional<std::vector<std::string_view>>> Strings(std::string_view key) const;
  absl::StatusOr<std::optional<std::vector<int64_t>>> Ints(std::string_view key,
                                                           GgufRange range) const;
  absl::StatusOr<std::optional<std::vector<double>>> Numbers(std::string_view key) const;
  absl::StatusOr<int64_t> RequiredInt(std::string_view key, GgufRange range = {}) const;
  // A plain tensor [n], widened. Error when it has another shape or is quantised.
  absl::StatusOr<std::vector<double>> TensorNumbers(const GgufTensor& tensor, int64_t n) const;

  // "FILE: key 'KEY' is VALUE; WANTED".
  absl::Status Wrong(std::string_view key, std::string_view wanted) const;

 private:
  GgufModel(MappedFile file, GgufFile parsed)
      : file_(std::move(file)), parsed_(std::move(parsed)) {}

  MappedFile file_;
  GgufFile parsed_;
  std::string architecture_;
  std::map<std::string_view, const GgufTensor*> tensors_;
};

// The GGUF file that MODEL stands for: itself, when it is a file, or the only .gguf of a directory
// without config.json. nullopt: MODEL is something else. Error: a directory with several.
absl::StatusOr<std::optional<std::string>> FindGguf(const std::string& model);

}  // namespace folkmoot
