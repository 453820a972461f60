// SPDX-License-Identifier: Apache-2.0
// GGUF files made by hand, right or wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/gguf.h"

namespace folkmoot {

template <typename T>
std::string Little(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

inline std::string GgufString(std::string_view text) {
  return Little<uint64_t>(text.size()) + std::string(text);
}

// Keys and tensors in the order in which they were added. Data begins at a multiple of 32.
class GgufBytes {
 public:
  uint32_t version = 3;
  uint64_t extra_keys = 0;  // claimed beside those that are there
  uint64_t extra_tensors = 0;

  GgufBytes& Raw(std::string_view key, GgufType type, std::string_view bytes) {
    keys_ += GgufString(key) + Little(static_cast<uint32_t>(type));
    keys_ += bytes;
    ++key_count_;
    return *this;
  }
  GgufBytes& Int(std::string_view key, uint32_t value) {
    return Raw(key, GgufType::kUint32, Little(value));
  }
  GgufBytes& Float(std::string_view key, float value) {
    return Raw(key, GgufType::kFloat32, Little(value));
  }
  GgufBytes& Bool(std::string_view key, bool value) {
    return Raw(key, GgufType::kBool, Little<uint8_t>(value ? 1 : 0));
  }
  GgufBytes& String(std::string_view key, std::string_view value) {
    return Raw(key, GgufType::kString, GgufString(value));
  }
  GgufBytes& Strings(std::string_view key, const std::vector<std::string>& values) {
    std::string bytes = Little(static_cast<uint32_t>(GgufType::kString));
    bytes += Little<uint64_t>(values.size());
    for (const std::string& value : values) bytes += GgufString(value);
    return Raw(key, GgufType::kArray, bytes);
  }
  GgufBytes& Ints(std::string_view key, const std::vector<int32_t>& values) {
    std::string bytes = Little(static_cast<uint32_t>(GgufType::kInt32));
    bytes += Little<uint64_t>(values.size());
    for (const int32_t value : values) bytes += Little(value);
    return Raw(key, GgufType::kArray, bytes);
  }
  GgufBytes& Floats(std::string_view key, const std::vector<float>& values) {
    std::string bytes = Little(static_cast<uint32_t>(GgufType::kFloat32));
    bytes += Little<uint64_t>(values.size());
    for (const float value : values) bytes += Little(value);
    return Raw(key, GgufType::kArray, bytes);
  }
  // Sizes in the file's order: the row's first.
  GgufBytes& Tensor(std::string_view name, const std::vector<uint64_t>& sizes, uint32_t type,
                    uint64_t offset) {
    tensors_ += GgufString(name) + Little(static_cast<uint32_t>(sizes.size()));
    for (const uint64_t size : sizes) tensors_ += Little(size);
    tensors_ += Little(type) + Little(offset);
    ++tensor_count_;
    return *this;
  }
  // The next tensor, with its data behind that of the one before.
  GgufBytes& Add(std::string_view name, const std::vector<uint64_t>& sizes, uint32_t type,
                 std::string_view data) {
    data_.resize((data_.size() + 31) / 32 * 32);
    Tensor(name, sizes, type, data_.size());
    data_ += data;
    return *this;
  }
  GgufBytes& F32(std::string_view name, const std::vector<uint64_t>& sizes, float value = 0) {
    uint64_t count = 1;
    for (const uint64_t size : sizes) count *= size;
    std::string data;
    for (uint64_t i = 0; i < count; ++i) data += Little(value);
    return Add(name, sizes, 0, data);
  }

  std::string Header() const {
    return "GGUF" + Little(version) + Little(tensor_count_ + extra_tensors) +
           Little(key_count_ + extra_keys) + keys_ + tensors_;
  }
  // With the data of Add, or with `data_bytes` zeros.
  std::string Bytes() const { return Padded() + data_; }
  std::string Bytes(size_t data_bytes) const { return Padded() + std::string(data_bytes, '\0'); }

 private:
  std::string Padded() const {
    std::string bytes = Header();
    bytes.resize((bytes.size() + 31) / 32 * 32);
    return bytes;
  }

  uint64_t key_count_ = 0;
  uint64_t tensor_count_ = 0;
  std::string keys_;
  std::string tensors_;
  std::string data_;
};

// The keys that every llama model has: 1 layer, hidden 8, 2 heads.
inline GgufBytes LlamaKeys() {
  GgufBytes file;
  file.String("general.architecture", "llama")
      .Int("llama.context_length", 64)
      .Int("llama.embedding_length", 8)
      .Int("llama.block_count", 1)
      .Int("llama.feed_forward_length", 12)
      .Int("llama.attention.head_count", 2)
      .Float("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return file;
}

}  // namespace folkmoot
