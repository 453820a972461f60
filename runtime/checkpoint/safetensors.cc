// SPDX-License-Identifier: Apache-2.0
// ParseSafetensors reads the length field, ReadEntry one tensor of the header, and CheckLayout
// what only all tensors together can show: duplicates, overlaps and holes.
#include "runtime/checkpoint/safetensors.h"

#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

namespace folkmoot {
namespace {

constexpr std::array kDTypes = {DType::kF64,    DType::kF32,    DType::kF16,    DType::kBF16,
                                DType::kF8E4M3, DType::kF8E5M2, DType::kF8E8M0, DType::kI64,
                                DType::kI32,    DType::kI16,    DType::kI8,     DType::kU8,
                                DType::kBool};

std::optional<DType> FindDType(std::string_view name) {
  for (const DType dtype : kDTypes) {
    if (DTypeName(dtype) == name) return dtype;
  }
  return std::nullopt;
}

std::string DTypeNames() {
  std::vector<std::string_view> names;
  for (const DType dtype : kDTypes) names.push_back(DTypeName(dtype));
  return fmt::format("{}", fmt::join(names, ", "));
}

uint64_t ReadLittleEndian64(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// What every message about one tensor begins with.
std::string Where(std::string_view file, std::string_view tensor) {
  return fmt::format("{}: tensor '{}'", file, tensor);
}

absl::Status ReadShape(const std::string& where, simdjson::dom::element value,
                       SafetensorsEntry& entry) {
  simdjson::dom::array shape;
  if (value.get(shape) != simdjson::SUCCESS) {
    return InvalidArgument("{}: 'shape' must be a list of sizes", where);
  }
  for (const simdjson::dom::element size : shape) {
    int64_t dimension = 0;
    if (size.get(dimension) != simdjson::SUCCESS || dimension < 0) {
      return InvalidArgument("{}: 'shape' must hold integers from 0 to 2^63 - 1, not {}", where,
                             simdjson::minify(size));
    }
    entry.shape.push_back(dimension);
  }
  return absl::OkStatus();
}

absl::Status ReadOffsets(const std::string& where, simdjson::dom::element value,
                         SafetensorsEntry& entry) {
  simdjson::dom::array offsets;
  uint64_t begin = 0;
  uint64_t end = 0;
  if (value.get(offsets) != simdjson::SUCCESS || offsets.size() != 2 ||
      offsets.at(0).get(begin) != simdjson::SUCCESS ||
      offsets.at(1).get(end) != simdjson::SUCCESS) {
    return InvalidArgument("{}: 'data_offsets' must be two integers [begin, end]", where);
  }
  if (end < begin) {
    return InvalidArgument("{}: data_offsets [{}, {}] end before they begin", where, begin, end);
  }
  entry.offset = begin;
  entry.bytes = end - begin;
  return absl::OkStatus();
}

absl::Status CheckBytes(const std::string& where, const SafetensorsEntry& entry) {
  uint64_t bytes = static_cast<uint64_t>(DTypeBytes(entry.dtype));
  // A zero makes the product zero whatever overflows beside it.
  const bool empty = std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end();
  bool overflow = false;
  for (const int64_t dimension : entry.shape) {
    if (empty) continue;
    overflow |= __builtin_mul_overflow(bytes, static_cast<uint64_t>(dimension), &bytes);
  }
  if (empty) bytes = 0;
  if (overflow) {
    return InvalidArgument("{}: shape [{}] is larger than any file", where,
                           fmt::join(entry.shape, ", "));
  }
  if (bytes != entry.bytes) {
    return InvalidArgument("{}: shape [{}] of {} needs {} bytes, but data_offsets span {}", where,
                           fmt::join(entry.shape, ", "), DTypeName(entry.dtype), bytes,
                           entry.bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsEntry> ReadEntry(std::string_view file, std::string_view name,
                                           simdjson::dom::element value) {
  const std::string where = Where(file, name);
  SafetensorsEntry entry;
  entry.name = name;
  simdjson::dom::object fields;
  if (value.get(fields) != simdjson::SUCCESS) {
    return InvalidArgument("{}: must be an object with dtype, shape and data_offsets", where);
  }
  for (const auto field : fields) {
    if (field.key != "dtype" && field.key != "shape" && field.key != "data_offsets") {
      return InvalidArgument("{}: unknown field '{}'", where, field.key);
    }
  }
  if (fields.size() > 3) return InvalidArgument("{}: a field stands twice", where);
  std::string_view dtype;
  if (fields["dtype"].get(dtype) != simdjson::SUCCESS) {
    return InvalidArgument("{}: 'dtype' is missing or not a string", where);
  }
  const std::optional<DType> known = FindDType(dtype);
  if (!known) {
    return InvalidArgument("{}: dtype '{}' is not supported; supported are {}", where, dtype,
                           DTypeNames());
  }
  entry.dtype = *known;
  simdjson::dom::element element;
  if (fields["shape"].get(element) != simdjson::SUCCESS) {
    return InvalidArgument("{}: 'shape' is missing", where);
  }
  FM_RETURN_IF_ERROR(ReadShape(where, element, entry));
  if (fields["data_offsets"].get(element) != simdjson::SUCCESS) {
    return InvalidArgument("{}: 'data_offsets' is missing", where);
  }
  FM_RETURN_IF_ERROR(ReadOffsets(where, element, entry));
  FM_RETURN_IF_ERROR(CheckBytes(where, entry));
  return entry;
}

absl::Status CheckMetadata(std::string_view file, simdjson::dom::element value) {
  simdjson::dom::object metadata;
  bool good = value.get(metadata) == simdjson::SUCCESS;
  if (good) {
    for (const auto field : metadata) good = good && field.value.is_string();
  }
  if (good) return absl::OkStatus();
  return InvalidArgument("{}: '__metadata__' must be an object of strings", file);
}

// Sorts by offset. `data_bytes` is what follows the header in the file.
absl::Status CheckLayout(std::string_view file, uint64_t data_bytes, SafetensorsFile& parsed) {
  std::vector<SafetensorsEntry>& entries = parsed.entries;
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  if (const auto twin = std::adjacent_find(names.begin(), names.end()); twin != names.end()) {
    return InvalidArgument("{}: tensor '{}' stands twice in the header", file, *twin);
  }
  uint64_t end = 0;
  const SafetensorsEntry* before = nullptr;
  for (SafetensorsEntry& entry : entries) {
    // offset + bytes is data_offsets[1], so it cannot overflow.
    if (entry.offset + entry.bytes > data_bytes) {
      return DataLoss("{}: truncated: tensor '{}' ends at byte {}, but the file has {}", file,
                      entry.name, parsed.header_bytes + entry.offset + entry.bytes,
                      parsed.header_bytes + data_bytes);
    }
    if (before != nullptr && entry.offset < end) {
      return InvalidArgument("{}: tensors '{}' and '{}' overlap", file, before->name, entry.name);
    }
    if (entry.offset > end) {
      return InvalidArgument("{}: {} bytes before tensor '{}' belong to no tensor", file,
                             entry.offset - end, entry.name);
    }
    end = entry.offset + entry.bytes;
    before = &entry;
  }
  if (end != data_bytes) {
    return InvalidArgument("{}: {} bytes after the last tensor belong to no tensor", file,
                           data_bytes - end);
  }
  for (SafetensorsEntry& entry : entries) entry.offset += parsed.header_bytes;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view file,
                                                 std::span<const std::byte> contents) {
  if (contents.empty()) return DataLoss("{}: the file is empty", file);
  if (contents.size() < 8) {
    return DataLoss("{}: truncated: {} bytes cannot hold the 8-byte header length", file,
                    contents.size());
  }
  const uint64_t length = ReadLittleEndian64(contents);
  if (length > kMaxSafetensorsHeaderBytes) {
    return InvalidArgument("{}: a header of {} bytes is over the limit of {}: not safetensors?",
                           file, length, kMaxSafetensorsHeaderBytes);
  }
  if (length > contents.size() - 8) {
    return DataLoss("{}: truncated: the header ends at byte {}, but the file has {}", file,
                    length + 8, contents.size());
  }
  SafetensorsFile parsed;
  parsed.header_bytes = 8 + length;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const auto* text = reinterpret_cast<const char*>(contents.data() + 8);
  if (const auto error = parser.parse(text, length).get(root); error != simdjson::SUCCESS) {
    return InvalidArgument("{}: the header is not JSON: {}", file, simdjson::error_message(error));
  }
  simdjson::dom::object header;
  if (root.get(header) != simdjson::SUCCESS) {
    return InvalidArgument("{}: the header must be a JSON object", file);
  }
  for (const auto field : header) {
    if (field.key == "__metadata__") {
      FM_RETURN_IF_ERROR(CheckMetadata(file, field.value));
      continue;
    }
    FM_ASSIGN_OR_RETURN(SafetensorsEntry entry, ReadEntry(file, field.key, field.value));
    parsed.entries.push_back(std::move(entry));
  }
  FM_RETURN_IF_ERROR(CheckLayout(file, contents.size() - parsed.header_bytes, parsed));
  return parsed;
}

}  // namespace folkmoot
