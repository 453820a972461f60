// SPDX-License-Identifier: Apache-2.0
// The GGUF container of llama.cpp, versions 2 and 3, little endian: "GGUF", version, number of
// tensors, number of keys; the keys with typed values; name, shape, type and offset of each tensor;
// then the data, each tensor at a multiple of general.alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/quant/block_format.h"
#include "runtime/status.h"

namespace folkmoot {

enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,  // of one of the others; arrays of arrays are refused
  kUint64,
  kInt64,
  kFloat64
};

// A view into the file's bytes, which must outlive it. A scalar is one element. Getters give
// nullopt when the type does not fit.
class GgufValue {
 public:
  GgufValue(GgufType type, bool is_array, uint64_t count, std::span<const std::byte> bytes)
      : type_(type), is_array_(is_array), count_(count), bytes_(bytes) {}

  bool is_array() const { return is_array_; }
  bool is_string() const { return type_ == GgufType::kString; }
  uint64_t size() const { return count_; }
  std::string_view type_name() const;  // of the elements

  // Of integer types, and not above 2^63 - 1.
  std::optional<int64_t> Int(uint64_t element = 0) const;
  // Of integer and floating types.
  std::optional<double> Number(uint64_t element = 0) const;
  std::optional<bool> Bool() const;
  std::optional<std::string_view> String() const;
  // All elements of an array of strings, in order.
  std::optional<std::vector<std::string_view>> Strings() const;

 private:
  uint64_t Raw(uint64_t element) const;  // the bytes of an element of fixed size

  GgufType type_;
  bool is_array_;
  uint64_t count_;
  std::span<const std::byte> bytes_;
};

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;           // outermost first: the reverse of the file's order
  DType dtype = DType::kF32;            // of plain tensors
  const BlockFormat* blocks = nullptr;  // of quantised ones; null: plain
  uint64_t offset = 0;                  // from the start of the file
  uint64_t bytes = 0;
};

struct GgufFile {
  std::string file;  // for messages
  uint64_t header_bytes = 0;
  std::map<std::string, GgufValue, std::less<>> keys;
  std::vector<GgufTensor> tensors;  // in the order of their data
};

// `contents` is the whole file (only what stands before the data is read) and must outlive the
// result; `file` names it in errors. Refuses, with key or tensor and reason: counts and lengths
// that leave the file, unknown types, names that stand twice, alignments that are no power of two,
// shapes that no file can hold or whose rows are no whole blocks, data that is misaligned,
// overlaps, has holes, or ends before or after the file does.
absl::StatusOr<GgufFile> ParseGguf(std::string_view file, std::span<const std::byte> contents);

}  // namespace folkmoot
