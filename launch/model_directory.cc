// SPDX-License-Identifier: Apache-2.0
#include "launch/model_directory.h"

#include <unistd.h>

#include <optional>
#include <utility>

#include "runtime/checkpoint/gguf_model.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

bool GoesAlong(const fs::directory_entry& entry) {
  constexpr uintmax_t kLargest = 256 << 20;
  std::error_code error;
  if (!entry.is_regular_file(error) || entry.file_size(error) > kLargest) return false;
  const std::string name = entry.path().filename().string();
  const std::string extension = entry.path().extension().string();
  if (name == "config.json" || name.ends_with(".index.json")) return false;
  return extension == ".json" || extension == ".jinja" || extension == ".txt" ||
         extension == ".model" || name.starts_with("LICENSE") || name.starts_with("NOTICE");
}

}  // namespace

absl::Status CheckModelDirectory(const std::string& model, std::string_view command) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> file, FindGguf(model));
  if (!file) return absl::OkStatus();
  return InvalidArgument(
      "{}: {} takes a directory that holds config.json and safetensors: give the one that this "
      "file was made from; a GGUF file runs as it is",
      *file, command);
}

absl::StatusOr<std::unique_ptr<UnfinishedDirectory>> UnfinishedDirectory::Create(
    const std::string& out) {
  fs::path target = fs::path(out).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();  // "out/"
  std::error_code error;
  if (fs::exists(fs::symlink_status(target, error))) {
    return FailedPrecondition("{}: is there already; name a directory that is not", out);
  }
  const fs::path hidden =
      target.parent_path() / fmt::format(".{}.{}", target.filename().string(), getpid());
  if (!fs::create_directories(hidden, error)) {
    return FailedPrecondition("{}: cannot be made: {}", hidden.string(),
                              error ? error.message() : "it is there already");
  }
  return std::unique_ptr<UnfinishedDirectory>(new UnfinishedDirectory(hidden, target));
}

UnfinishedDirectory::~UnfinishedDirectory() {
  std::error_code ignored;
  if (!finished_) fs::remove_all(hidden_, ignored);
}

absl::Status UnfinishedDirectory::TakeAlong(const std::string& model) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(model, error)) {
    if (!GoesAlong(entry)) continue;
    fs::copy_file(entry.path(), hidden_ / entry.path().filename(), error);
    if (error) {
      return FailedPrecondition("{}: cannot be copied: {}", entry.path().string(), error.message());
    }
  }
  return absl::OkStatus();
}

absl::Status UnfinishedDirectory::Finish() {
  std::error_code error;
  fs::rename(hidden_, target_, error);
  if (error) {
    return FailedPrecondition("{}: cannot get its name: {}", target_.string(), error.message());
  }
  finished_ = true;
  return absl::OkStatus();
}

}  // namespace folkmoot
