// SPDX-License-Identifier: Apache-2.0
// ParseGguf reads the counts, ReadKeys and ReadTensors the two lists, and CheckLayout what only all
// tensors together can show: overlaps and holes. Everything before the data goes through Cursor,
// which knows where the file ends.
#include "runtime/checkpoint/gguf.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>

namespace folkmoot {
namespace {

constexpr uint64_t kMaxKeyBytes = 65535;  // by the specification
constexpr uint64_t kMaxTensorNameBytes = 1024;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint64_t kDefaultAlignment = 32;

constexpr std::array<std::string_view, 13> kTypeNames = {
    "uint8",   "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
    "boolean", "string", "array",  "uint64", "int64",  "float64"};
constexpr std::array<uint64_t, 13> kTypeBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

// Types of tensors that other programs read, for messages.
constexpr std::array<std::pair<uint32_t, std::string_view>, 31> kOtherTensorTypes = {{
    {6, "Q5_0"},   {7, "Q5_1"},        {9, "Q8_1"},        {10, "Q2_K"},       {11, "Q3_K"},
    {13, "Q5_K"},  {15, "Q8_K"},       {16, "IQ2_XXS"},    {17, "IQ2_XS"},     {18, "IQ3_XXS"},
    {19, "IQ1_S"}, {20, "IQ4_NL"},     {21, "IQ3_S"},      {22, "IQ2_S"},      {23, "IQ4_XS"},
    {24, "I8"},    {25, "I16"},        {26, "I32"},        {27, "I64"},        {28, "F64"},
    {29, "IQ1_M"}, {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"},   {34, "TQ1_0"},
    {35, "TQ2_0"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}, {40, "NVFP4"},
    {41, "Q1_0"},
}};

std::string KnownTensorTypes() {
  std::vector<std::string_view> names = {"F32", "F16", "BF16"};
  for (const BlockFormat* format : BlockFormats()) names.push_back(format->name);
  return fmt::format("{}", fmt::join(names, ", "));
}

// Reads from the front; every read checks what is left.
class Cursor {
 public:
  Cursor(std::string_view file, std::span<const std::byte> contents)
      : file_(file), contents_(contents) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return contents_.size() - position_; }

  // `what` is read, for the message.
  absl::StatusOr<std::span<const std::byte>> Bytes(uint64_t count, std::string_view what) {
    if (count > left()) {
      return DataLoss("{}: truncated: {} needs {} bytes at byte {}, but the file ends at {}", file_,
                      what, count, position_, contents_.size());
    }
    const auto bytes = contents_.subspan(position_, count);
    position_ += count;
    return bytes;
  }

  template <typename T>
  absl::StatusOr<T> Number(std::string_view what) {
    FM_ASSIGN_OR_RETURN(const auto bytes, Bytes(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  absl::StatusOr<std::string_view> String(uint64_t limit, std::string_view what) {
    FM_ASSIGN_OR_RETURN(const auto length, Number<uint64_t>(what));
    if (length > limit) {
      return InvalidArgument("{}: {} has {} bytes; the limit is {}", file_, what, length, limit);
    }
    FM_ASSIGN_OR_RETURN(const auto bytes, Bytes(length, what));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

 private:
  std::string_view file_;
  std::span<const std::byte> contents_;
  uint64_t position_ = 0;
};

// The elements of `count` values; strings are walked over, so that Strings() needs no checks.
absl::StatusOr<std::span<const std::byte>> ReadElements(Cursor& cursor, GgufType type,
                                                        uint64_t count, const std::string& what,
                                                        std::span<const std::byte> contents) {
  const uint64_t begin = cursor.position();
  const uint64_t bytes = kTypeBytes[static_cast<size_t>(type)];
  if (type == GgufType::kString) {
    for (uint64_t i = 0; i < count; ++i) {
      FM_RETURN_IF_ERROR(cursor.String(std::numeric_limits<uint64_t>::max(), what).status());
    }
  } else if (count > cursor.left() / bytes) {
    return cursor.Bytes(std::numeric_limits<uint64_t>::max(), what).status();
  } else {
    FM_RETURN_IF_ERROR(cursor.Bytes(count * bytes, what).status());
  }
  return contents.subspan(begin, cursor.position() - begin);
}

absl::StatusOr<GgufValue> ReadValue(Cursor& cursor, std::string_view file, std::string_view key,
                                    std::span<const std::byte> contents) {
  const std::string what = fmt::format("the value of key '{}'", key);
  FM_ASSIGN_OR_RETURN(uint32_t type, cursor.Number<uint32_t>(what));
  const bool is_array = type == static_cast<uint32_t>(GgufType::kArray);
  uint64_t count = 1;
  if (is_array) {
    FM_ASSIGN_OR_RETURN(type, cursor.Number<uint32_t>(what));
    FM_ASSIGN_OR_RETURN(count, cursor.Number<uint64_t>(what));
  }
  if (type >= kTypeNames.size()) {
    return InvalidArgument("{}: key '{}' has a value of unknown type {}", file, key, type);
  }
  const auto element = static_cast<GgufType>(type);
  if (element == GgufType::kArray) {
    return InvalidArgument("{}: key '{}' is an array of arrays, which is not supported", file, key);
  }
  FM_ASSIGN_OR_RETURN(const auto bytes, ReadElements(cursor, element, count, what, contents));
  if (element == GgufType::kBool) {
    const bool good = std::all_of(bytes.begin(), bytes.end(), [](std::byte b) {
      return b == std::byte{0} || b == std::byte{1};
    });
    if (!good) return InvalidArgument("{}: key '{}' has a boolean that is not 0 or 1", file, key);
  }
  return GgufValue(element, is_array, count, bytes);
}

absl::Status ReadKeys(Cursor& cursor, uint64_t count, std::span<const std::byte> contents,
                      GgufFile& parsed) {
  for (uint64_t i = 0; i < count; ++i) {
    FM_ASSIGN_OR_RETURN(const std::string_view key,
                        cursor.String(kMaxKeyBytes, fmt::format("the name of key {}", i)));
    FM_ASSIGN_OR_RETURN(const GgufValue value, ReadValue(cursor, parsed.file, key, contents));
    if (!parsed.keys.emplace(key, value).second) {
      return InvalidArgument("{}: key '{}' stands twice", parsed.file, key);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> AlignmentOf(const GgufFile& parsed) {
  const auto found = parsed.keys.find("general.alignment");
  if (found == parsed.keys.end()) return kDefaultAlignment;
  const std::optional<int64_t> value =
      found->second.is_array() ? std::nullopt : found->second.Int();
  if (!value || *value < 1 || !std::has_single_bit(static_cast<uint64_t>(*value)) ||
      static_cast<uint64_t>(*value) > kMaxAlignment) {
    return InvalidArgument("{}: key 'general.alignment' must be a power of two up to {}",
                           parsed.file, kMaxAlignment);
  }
  return static_cast<uint64_t>(*value);
}

// Sets dtype or blocks.
absl::Status ReadTensorType(const std::string& where, uint32_t type, GgufTensor& tensor) {
  constexpr std::array<std::pair<uint32_t, DType>, 3> kPlain = {
      {{0, DType::kF32}, {1, DType::kF16}, {30, DType::kBF16}}};
  for (const auto& [number, dtype] : kPlain) {
    tensor.dtype = dtype;
    if (number == type) return absl::OkStatus();
  }
  tensor.blocks = FindBlockFormat(type);
  if (tensor.blocks != nullptr) return absl::OkStatus();
  for (const auto& [number, name] : kOtherTensorTypes) {
    if (number != type) continue;
    return InvalidArgument("{}: type {} is not supported; supported are {}", where, name,
                           KnownTensorTypes());
  }
  return InvalidArgument("{}: unknown type {}; supported are {}", where, type, KnownTensorTypes());
}

// Sets bytes.
absl::Status CheckShape(const std::string& where, GgufTensor& tensor) {
  const int64_t row = tensor.shape.back();
  const int64_t block = tensor.blocks == nullptr ? 1 : tensor.blocks->weights;
  const int64_t block_bytes =
      tensor.blocks == nullptr ? DTypeBytes(tensor.dtype) : tensor.blocks->bytes;
  if (row % block != 0) {
    return InvalidArgument("{}: rows of {} weights are no whole {} blocks of {}", where, row,
                           tensor.blocks->name, block);
  }
  int64_t bytes = block_bytes;
  bool overflow = __builtin_mul_overflow(bytes, row / block, &bytes);
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    overflow |= __builtin_mul_overflow(bytes, tensor.shape[i], &bytes);
  }
  // The number of weights is also used as a signed number, and of 4-bit types it is the larger one.
  int64_t weights = 1;
  for (const int64_t size : tensor.shape) {
    overflow |= __builtin_mul_overflow(weights, size, &weights);
  }
  if (overflow) {
    return InvalidArgument("{}: shape [{}] is larger than any file", where,
                           fmt::join(tensor.shape, ", "));
  }
  tensor.bytes = static_cast<uint64_t>(bytes);
  return absl::OkStatus();
}

absl::StatusOr<GgufTensor> ReadTensor(Cursor& cursor, std::string_view file, uint64_t index) {
  GgufTensor tensor;
  FM_ASSIGN_OR_RETURN(
      const std::string_view name,
      cursor.String(kMaxTensorNameBytes, fmt::format("the name of tensor {}", index)));
  tensor.name = name;
  const std::string where = fmt::format("{}: tensor '{}'", file, name);
  const std::string what = fmt::format("the description of tensor '{}'", name);
  FM_ASSIGN_OR_RETURN(const auto dimensions, cursor.Number<uint32_t>(what));
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    return InvalidArgument("{}: {} dimensions; there must be 1 to {}", where, dimensions,
                           kMaxDimensions);
  }
  for (uint32_t i = 0; i < dimensions; ++i) {
    FM_ASSIGN_OR_RETURN(const auto size, cursor.Number<uint64_t>(what));
    if (size < 1 || size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return InvalidArgument("{}: dimension {} is {}; it must be from 1 to 2^63 - 1", where, i,
                             size);
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  FM_ASSIGN_OR_RETURN(const auto type, cursor.Number<uint32_t>(what));
  FM_RETURN_IF_ERROR(ReadTensorType(where, type, tensor));
  FM_RETURN_IF_ERROR(CheckShape(where, tensor));
  FM_ASSIGN_OR_RETURN(tensor.offset, cursor.Number<uint64_t>(what));
  return tensor;
}

absl::Status ReadTensors(Cursor& cursor, uint64_t count, GgufFile& parsed) {
  std::set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    FM_ASSIGN_OR_RETURN(GgufTensor tensor, ReadTensor(cursor, parsed.file, i));
    if (!names.insert(tensor.name).second) {
      return InvalidArgument("{}: tensor '{}' stands twice", parsed.file, tensor.name);
    }
    parsed.tensors.push_back(std::move(tensor));
  }
  return absl::OkStatus();
}

// Sorts by offset, and makes offsets count from the start of the file. Data begins at byte `begin`
// of `size`.
absl::Status CheckLayout(uint64_t alignment, uint64_t begin, uint64_t size, GgufFile& parsed) {
  std::vector<GgufTensor>& tensors = parsed.tensors;
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.offset < b.offset; });
  const uint64_t data_bytes = size - begin;
  uint64_t end = 0;
  const GgufTensor* before = nullptr;
  for (GgufTensor& tensor : tensors) {
    if (tensor.offset % alignment != 0) {
      return InvalidArgument("{}: tensor '{}' begins at byte {} of the data, no multiple of {}",
                             parsed.file, tensor.name, tensor.offset, alignment);
    }
    if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset) {
      return DataLoss(
          "{}: truncated: tensor '{}' has {} bytes from byte {} of the data on, but {} "
          "are there",
          parsed.file, tensor.name, tensor.bytes, tensor.offset, data_bytes);
    }
    if (tensor.offset < end) {
      return InvalidArgument("{}: tensors '{}' and '{}' overlap", parsed.file, before->name,
                             tensor.name);
    }
    if (tensor.offset - end >= alignment) {
      return InvalidArgument("{}: {} bytes before tensor '{}' belong to no tensor", parsed.file,
                             tensor.offset - end, tensor.name);
    }
    end = tensor.offset + tensor.bytes;
    before = &tensor;
  }
  if (data_bytes - end >= alignment) {
    return InvalidArgument("{}: {} bytes after the last tensor belong to no tensor", parsed.file,
                           data_bytes - end);
  }
  for (GgufTensor& tensor : tensors) tensor.offset += begin;
  return absl::OkStatus();
}

absl::Status ReadVersion(Cursor& cursor, std::string_view file) {
  const auto magic = cursor.Bytes(4, "the magic number");
  if (!magic.ok() || std::memcmp(magic->data(), "GGUF", 4) != 0) {
    return InvalidArgument("{}: not a GGUF file: it does not begin with \"GGUF\"", file);
  }
  FM_ASSIGN_OR_RETURN(const auto version, cursor.Number<uint32_t>("the version"));
  if (version == 2 || version == 3) return absl::OkStatus();
  const bool swapped = version != 0 && (version & 0xffff) == 0;
  return InvalidArgument(
      "{}: {}; GGUF versions 2 and 3, little endian, are supported", file,
      swapped ? std::string("the file is big endian") : fmt::format("version {}", version));
}

}  // namespace

std::string_view GgufValue::type_name() const { return kTypeNames[static_cast<size_t>(type_)]; }

uint64_t GgufValue::Raw(uint64_t element) const {
  const uint64_t size = kTypeBytes[static_cast<size_t>(type_)];
  uint64_t value = 0;
  std::memcpy(&value, bytes_.data() + element * size, size);
  return value;
}

std::optional<int64_t> GgufValue::Int(uint64_t element) const {
  if (element >= count_) return std::nullopt;
  switch (type_) {
    case GgufType::kUint8:
    case GgufType::kUint16:
    case GgufType::kUint32:
      return static_cast<int64_t>(Raw(element));
    case GgufType::kInt8:
      return static_cast<int8_t>(Raw(element));
    case GgufType::kInt16:
      return static_cast<int16_t>(Raw(element));
    case GgufType::kInt32:
      return static_cast<int32_t>(Raw(element));
    case GgufType::kInt64:
      return static_cast<int64_t>(Raw(element));
    case GgufType::kUint64:
      if (Raw(element) > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) break;
      return static_cast<int64_t>(Raw(element));
    default:
      break;
  }
  return std::nullopt;
}

std::optional<double> GgufValue::Number(uint64_t element) const {
  if (element >= count_) return std::nullopt;
  if (type_ == GgufType::kFloat32) {
    return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(Raw(element))));
  }
  if (type_ == GgufType::kFloat64) return std::bit_cast<double>(Raw(element));
  const std::optional<int64_t> integer = Int(element);
  return integer ? std::optional<double>(static_cast<double>(*integer)) : std::nullopt;
}

std::optional<bool> GgufValue::Bool() const {
  if (is_array_ || type_ != GgufType::kBool) return std::nullopt;
  return Raw(0) != 0;
}

std::optional<std::string_view> GgufValue::String() const {
  if (is_array_ || !is_string()) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(bytes_.data()) + 8, bytes_.size() - 8);
}

std::optional<std::vector<std::string_view>> GgufValue::Strings() const {
  if (!is_array_ || !is_string()) return std::nullopt;
  std::vector<std::string_view> strings;
  strings.reserve(count_);
  const std::byte* at = bytes_.data();
  for (uint64_t i = 0; i < count_; ++i) {
    uint64_t length = 0;
    std::memcpy(&length, at, sizeof(length));
    strings.emplace_back(reinterpret_cast<const char*>(at + 8), length);
    at += 8 + length;
  }
  return strings;
}

absl::StatusOr<GgufFile> ParseGguf(std::string_view file, std::span<const std::byte> contents) {
  Cursor cursor(file, contents);
  FM_RETURN_IF_ERROR(ReadVersion(cursor, file));
  GgufFile parsed;
  parsed.file = file;
  FM_ASSIGN_OR_RETURN(const auto tensors, cursor.Number<uint64_t>("the number of tensors"));
  FM_ASSIGN_OR_RETURN(const auto keys, cursor.Number<uint64_t>("the number of keys"));
  FM_RETURN_IF_ERROR(ReadKeys(cursor, keys, contents, parsed));
  FM_ASSIGN_OR_RETURN(const uint64_t alignment, AlignmentOf(parsed));
  FM_RETURN_IF_ERROR(ReadTensors(cursor, tensors, parsed));
  parsed.header_bytes = cursor.position();
  // A file without tensors, as vocabularies are, may end right behind its keys.
  const uint64_t aligned = (cursor.position() + alignment - 1) / alignment * alignment;
  const uint64_t begin = std::min<uint64_t>(aligned, contents.size());
  FM_RETURN_IF_ERROR(CheckLayout(alignment, begin, contents.size(), parsed));
  return parsed;
}

}  // namespace folkmoot
