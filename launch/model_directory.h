// SPDX-License-Identifier: Apache-2.0
// Commands that make a model directory of another one: the one that is read, and the one that is
// being written, which gets its name when it is whole.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace folkmoot {

// Refuses a GGUF file, and a directory that stands for one, on behalf of `command`.
absl::Status CheckModelDirectory(const std::string& model, std::string_view command);

class UnfinishedDirectory {
 public:
  // Beside `out`, which must not exist. Without Finish everything is removed.
  static absl::StatusOr<std::unique_ptr<UnfinishedDirectory>> Create(const std::string& out);
  ~UnfinishedDirectory();
  UnfinishedDirectory(const UnfinishedDirectory&) = delete;
  UnfinishedDirectory& operator=(const UnfinishedDirectory&) = delete;

  const std::filesystem::path& path() const { return hidden_; }

  // Copies what belongs to a model and is neither weights nor config.json: tokenizer, templates,
  // generation settings, licences.
  absl::Status TakeAlong(const std::string& model);
  absl::Status Finish();

 private:
  UnfinishedDirectory(std::filesystem::path hidden, std::filesystem::path target)
      : hidden_(std::move(hidden)), target_(std::move(target)) {}

  std::filesystem::path hidden_;
  std::filesystem::path target_;
  bool finished_ = false;
};

}  // namespace folkmoot
