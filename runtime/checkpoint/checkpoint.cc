// SPDX-License-Identifier: Apache-2.0
// Checkpoint::Open finds the files (ReadIndex), maps and validates each (AddFile), and compares
// them with the index (CheckIndex); or there is one GGUF file (AddGguf).
#include "runtime/checkpoint/checkpoint.h"

#include <xxhash.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "runtime/check.h"
#include "runtime/checkpoint/gguf_model.h"
#include "runtime/checkpoint/gguf_names.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/checkpoint/shard_index.h"
#include "runtime/memory.h"

namespace folkmoot {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

using ShardMap = std::map<std::string, std::string>;

// What lies in the directory in place of safetensors, as advice.
std::string WhatIsThereInstead(const std::string& directory) {
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    const std::string name = entry->path().filename().string();
    if (extension == ".gguf") return fmt::format("; there is {}: give that file as MODEL", name);
    if (extension == ".bin" || extension == ".pt" || extension == ".pth" ||
        extension == ".safetensors") {
      return fmt::format("; there is {}: save the model as safetensors under one of these names",
                         name);
    }
  }
  return "";
}

absl::Status CheckDirectory(const std::string& directory) {
  std::error_code ignored;
  if (!fs::exists(directory, ignored)) return NotFound("{}: no such directory", directory);
  if (!fs::is_directory(directory, ignored)) {
    return InvalidArgument("{}: not a directory; give the directory that holds config.json",
                           directory);
  }
  return absl::OkStatus();
}

// The index, or an empty map when the weights are one file. As Transformers does, one file goes
// before an index.
absl::StatusOr<ShardMap> ReadIndex(const std::string& directory) {
  std::error_code ignored;
  if (fs::exists(fs::path(directory) / kSingleFile, ignored)) return ShardMap();
  const std::string path = (fs::path(directory) / kIndexFile).string();
  if (!fs::exists(path, ignored)) {
    return NotFound("{}: no weights; looked for {} and {}{}", directory, kSingleFile, kIndexFile,
                    WhatIsThereInstead(directory));
  }
  FM_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const auto bytes = file.bytes();
  if (bytes.size() > kMaxSafetensorsHeaderBytes) {
    return InvalidArgument("{}: {} bytes is over the limit of {}", path, bytes.size(),
                           kMaxSafetensorsHeaderBytes);
  }
  return ParseShardIndex(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

using HashState = std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)>;

HashState NewHash() {
  HashState hash(XXH3_createState(), XXH3_freeState);
  XXH3_64bits_reset(hash.get());
  return hash;
}

void HashString(XXH3_state_t* state, std::string_view text) {
  const uint64_t size = text.size();
  XXH3_64bits_update(state, &size, sizeof(size));
  XXH3_64bits_update(state, text.data(), text.size());
}

// What tells one file from another without reading its data.
void HashFile(XXH3_state_t* hash, const std::string& path, std::span<const std::byte> bytes,
              uint64_t header_bytes) {
  HashString(hash, fs::path(path).filename().string());
  const uint64_t size = bytes.size();
  XXH3_64bits_update(hash, &size, sizeof(size));
  XXH3_64bits_update(hash, bytes.data(), header_bytes);
}

struct Tensor {
  TensorInfo info;
  // Writers may leave the data at an odd address. Such a tensor is copied when it is first asked
  // for, so that `data` can always be read as its own type.
  std::once_flag align_once;
  std::optional<MappedFile> aligned;

  void Align() {
    if (info.blocks != nullptr) return;  // read byte by byte
    const auto element = static_cast<uintptr_t>(DTypeBytes(info.dtype));
    if (reinterpret_cast<uintptr_t>(info.data) % element == 0) return;
    auto copy = MappedFile::Copy({info.data, static_cast<size_t>(info.bytes)});
    if (!copy.ok()) throw OutOfMemory(std::string(Message(copy.status())));
    aligned.emplace(std::move(*copy));
    info.data = aligned->bytes().data();
  }
};

}  // namespace

struct Checkpoint::Impl {
  std::map<std::string, MappedFile> files;  // by path
  std::unique_ptr<GgufModel> gguf;          // or this
  std::map<std::string, Tensor, std::less<>> tensors;
  int64_t total_bytes = 0;
  uint64_t fingerprint = 0;

  absl::Status AddFile(const std::string& path, XXH3_state_t* hash);
  absl::Status AddGguf(const std::string& path, XXH3_state_t* hash);
  absl::Status CheckIndex(const std::string& directory, const ShardMap& index) const;
};

absl::Status Checkpoint::Impl::AddFile(const std::string& path, XXH3_state_t* hash) {
  FM_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  FM_ASSIGN_OR_RETURN(const SafetensorsFile parsed, ParseSafetensors(path, mapped.bytes()));
  const auto& [file, file_map] = *files.emplace(path, std::move(mapped)).first;
  const auto bytes = file_map.bytes();
  for (const SafetensorsEntry& entry : parsed.entries) {
    const auto [place, is_new] = tensors.try_emplace(entry.name);
    TensorInfo& info = place->second.info;
    if (!is_new) {
      return InvalidArgument("{}: tensor '{}' is in {} as well", path, entry.name, info.file);
    }
    info.dtype = entry.dtype;
    info.shape = entry.shape;
    info.data = bytes.data() + entry.offset;
    info.bytes = static_cast<int64_t>(entry.bytes);
    info.file = file;
    total_bytes += info.bytes;
  }
  HashFile(hash, path, bytes, parsed.header_bytes);
  return absl::OkStatus();
}

absl::Status Checkpoint::Impl::AddGguf(const std::string& path, XXH3_state_t* hash) {
  FM_ASSIGN_OR_RETURN(gguf, GgufModel::Open(path));
  FM_ASSIGN_OR_RETURN(std::vector<NamedTensor> named, NameTensors(*gguf));
  for (NamedTensor& tensor : named) {
    const auto [place, is_new] = tensors.try_emplace(tensor.name);
    TensorInfo& info = place->second.info;
    if (!is_new) {
      return InvalidArgument("{}: tensors '{}' and '{}' are both {}", path, info.stored_name,
                             tensor.source->name, tensor.name);
    }
    info.dtype = tensor.source->dtype;
    info.shape = std::move(tensor.shape);
    info.data = gguf->bytes().data() + tensor.offset;
    info.bytes = static_cast<int64_t>(tensor.bytes);
    info.file = gguf->path();
    info.blocks = tensor.source->blocks;
    info.order = tensor.order;
    info.stored_name = tensor.source->name;
    total_bytes += info.bytes;
  }
  HashFile(hash, path, gguf->bytes(), gguf->parsed().header_bytes);
  return absl::OkStatus();
}

absl::Status Checkpoint::Impl::CheckIndex(const std::string& directory,
                                          const ShardMap& index) const {
  for (const auto& [name, shard] : index) {
    const std::string path = (fs::path(directory) / shard).string();
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      return DataLoss("{}: tensor '{}' is not in it, although {} says so", path, name, kIndexFile);
    }
    if (found->second.info.file != path) {
      return DataLoss("{}: tensor '{}' is in {} instead", path, name, found->second.info.file);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& model) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(model));
  if (gguf) return OpenGguf(*gguf);
  const std::string& directory = model;
  FM_RETURN_IF_ERROR(CheckDirectory(directory));
  FM_ASSIGN_OR_RETURN(const ShardMap index, ReadIndex(directory));
  std::set<std::string> names;
  for (const auto& [name, shard] : index) names.insert(shard);
  if (names.empty()) names.emplace(kSingleFile);

  auto impl = std::make_unique<Impl>();
  const HashState hash = NewHash();
  for (const std::string& name : names) {
    const std::string path = (fs::path(directory) / name).string();
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      return NotFound("{}: missing shard; {} names {} files", path, kIndexFile, names.size());
    }
    FM_RETURN_IF_ERROR(impl->AddFile(path, hash.get()));
  }
  FM_RETURN_IF_ERROR(impl->CheckIndex(directory, index));
  impl->fingerprint = XXH3_64bits_digest(hash.get());
  return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::OpenGguf(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  const HashState hash = NewHash();
  FM_RETURN_IF_ERROR(impl->AddGguf(path, hash.get()));
  impl->fingerprint = XXH3_64bits_digest(hash.get());
  return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::~Checkpoint() = default;

const TensorInfo* Checkpoint::Find(std::string_view name) const {
  const auto found = impl_->tensors.find(name);
  if (found == impl_->tensors.end()) return nullptr;
  Tensor& tensor = found->second;
  std::call_once(tensor.align_once, [&tensor] { tensor.Align(); });
  return &tensor.info;
}

std::vector<std::string_view> Checkpoint::Names() const {
  std::vector<std::string_view> names;
  names.reserve(impl_->tensors.size());
  for (const auto& [name, tensor] : impl_->tensors) names.push_back(name);
  return names;
}

int64_t Checkpoint::total_bytes() const { return impl_->total_bytes; }

uint64_t Checkpoint::Fingerprint() const { return impl_->fingerprint; }

}  // namespace folkmoot
