// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/panel_file.h"

#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "nlohmann/json.hpp"
#include "runtime/fault_points.h"
#include "runtime/ops/gemm.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kMagic = "FMPANELS";
constexpr int kVersion = 1;  // of the file and of all layouts of panels
constexpr int64_t kPage = 4096;
constexpr int64_t kTrailer = 24;

constexpr std::pair<PanelKind, std::string_view> kKinds[] = {{PanelKind::kRows, "rows"},
                                                             {PanelKind::kGateUp, "gate_up"},
                                                             {PanelKind::kTable, "table"},
                                                             {PanelKind::kVector, "vector"}};
constexpr std::pair<CodeType, std::string_view> kCodeTypes[] = {{CodeType::kInt8, "int8"},
                                                                {CodeType::kInt4, "int4"},
                                                                {CodeType::kUint4, "uint4"},
                                                                {CodeType::kFp4, "e2m1"},
                                                                {CodeType::kFp8, "e4m3"}};
constexpr std::pair<DType, std::string_view> kTypes[] = {
    {DType::kF32, "F32"}, {DType::kBF16, "BF16"}, {DType::kF16, "F16"}};

template <class T, size_t N>
std::string NameOf(const std::pair<T, std::string_view> (&names)[N], T value) {
  for (const auto& [known, name] : names) {
    if (known == value) return std::string(name);
  }
  return "?";
}
template <class T, size_t N>
T ValueOf(const std::pair<T, std::string_view> (&names)[N], const std::string& name) {
  for (const auto& [known, known_name] : names) {
    if (known_name == name) return known;
  }
  throw std::invalid_argument("unknown name '" + name + "'");
}

Json Describe(const PanelEntry& entry, int64_t offset) {
  Json parts = Json::array();
  for (const PanelSource& part : entry.parts) {
    parts.push_back({part.name, part.slice, part.first_row, part.rows});
  }
  Json json = {{"kind", NameOf(kKinds, entry.kind)},
               {"parts", parts},
               {"n", entry.n},
               {"k", entry.k},
               {"offset", offset},
               {"bytes", entry.bytes}};
  if (!entry.codes) {
    json["dtype"] = NameOf(kTypes, entry.dtype);
    return json;
  }
  json["codes"] = {{"type", NameOf(kCodeTypes, entry.codes->type)},
                   {"group", entry.codes->group},
                   {"offsets", entry.codes->offsets},
                   {"scales", NameOf(kTypes, entry.codes->scale_type)}};
  return json;
}

// Throws where the description is not one.
PanelEntry EntryOf(const Json& json, int64_t* offset) {
  PanelEntry entry;
  entry.kind = ValueOf(kKinds, json.at("kind").get<std::string>());
  for (const Json& part : json.at("parts")) {
    entry.parts.push_back({part.at(0).get<std::string>(), part.at(1).get<int64_t>(),
                           part.at(2).get<int64_t>(), part.at(3).get<int64_t>()});
  }
  entry.n = json.at("n").get<int64_t>();
  entry.k = json.at("k").get<int64_t>();
  entry.bytes = json.at("bytes").get<int64_t>();
  *offset = json.at("offset").get<int64_t>();
  if (json.contains("codes")) {
    const Json& codes = json.at("codes");
    entry.codes = CodeSpec{.type = ValueOf(kCodeTypes, codes.at("type").get<std::string>()),
                           .group = codes.at("group").get<int64_t>(),
                           .offsets = codes.at("offsets").get<bool>(),
                           .scale_type = ValueOf(kTypes, codes.at("scales").get<std::string>())};
  } else {
    entry.dtype = ValueOf(kTypes, json.at("dtype").get<std::string>());
  }
  return entry;
}

// Bytes that an entry of this description has; -1 when it cannot be.
int64_t BytesOf(const PanelEntry& entry) {
  constexpr int64_t kMost = int64_t{1} << 28;  // no product of two overflows below
  if (entry.n < 0 || entry.k < 0 || entry.n > kMost || entry.k > kMost) return -1;
  if (entry.codes && (entry.codes->group <= 0 || entry.codes->group > kMost ||
                      !WhyNotRunnable(*entry.codes, entry.k).empty())) {
    return -1;
  }
  int64_t rows = 0;
  for (const PanelSource& part : entry.parts) {
    if (part.rows < 0 || part.rows > kMost || part.first_row < 0 || part.first_row > kMost) {
      return -1;
    }
    rows += part.rows;
  }
  if (entry.parts.empty() || rows != entry.n) return -1;
  if (entry.kind == PanelKind::kGateUp &&
      (entry.parts.size() != 2 || entry.parts[0].rows != entry.parts[1].rows)) {
    return -1;
  }
  if (entry.kind == PanelKind::kVector) return entry.n * DTypeBytes(DType::kF32);
  if (entry.kind == PanelKind::kTable && !entry.codes) {
    return entry.n * entry.k * DTypeBytes(entry.dtype);
  }
  return PackedMatrix::BytesOf(entry.n, entry.k, entry.dtype, entry.codes);
}

std::string KeyOf(PanelKind kind, const PanelSource& part) {
  return fmt::format("{} {} {}", static_cast<int>(kind), part.slice, part.name);
}

uint64_t LoadU64(const std::byte* p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PanelFile>> PanelFile::Open(const std::string& path) {
  std::unique_ptr<PanelFile> file(new PanelFile());
  file->path_ = path;
  FM_ASSIGN_OR_RETURN(file->file_, MappedFile::Open(path));
  const std::span<const std::byte> bytes = file->file_->bytes();
  const auto magic_at = [&](size_t at) {
    return std::memcmp(bytes.data() + at, kMagic.data(), kMagic.size()) == 0;
  };
  if (bytes.size() < static_cast<size_t>(kPage + kTrailer) || !magic_at(0) ||
      !magic_at(bytes.size() - kMagic.size())) {
    return DataLoss("{}: is not a whole packed model; write it again with `folkmoot pack`", path);
  }
  const auto end = static_cast<uint64_t>(bytes.size()) - kTrailer;  // of the description
  const uint64_t begin = LoadU64(bytes.data() + end);
  const uint64_t length = LoadU64(bytes.data() + end + 8);
  if (begin > end || length != end - begin) {
    return DataLoss("{}: its description is not where its last bytes say", path);
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data() + begin);
  file->fingerprint_ = XXH3_64bits(text, length);
  size_t index = 0;
  try {
    const Json json = Json::parse(text, text + length);
    if (json.at("version").get<int>() != kVersion) {
      return InvalidArgument(
          "{}: packed by another version ({}; this one reads {}): run `folkmoot pack` again", path,
          json.at("version").get<int>(), kVersion);
    }
    for (const Json& described : json.at("entries")) {
      int64_t offset = 0;
      PanelEntry entry = EntryOf(described, &offset);
      if (entry.bytes != BytesOf(entry) || offset < kPage || offset % kPage != 0 ||
          static_cast<uint64_t>(offset) > begin ||
          static_cast<uint64_t>(entry.bytes) > begin - static_cast<uint64_t>(offset)) {
        return DataLoss("{}: entry {} ('{}') does not fit its {} bytes at {}", path, index,
                        entry.parts.empty() ? "" : entry.parts[0].name, entry.bytes, offset);
      }
      entry.data = bytes.data() + offset;
      for (size_t p = 0; p < entry.parts.size(); ++p) {
        file->places_[KeyOf(entry.kind, entry.parts[p])].push_back({index, p});
      }
      file->entries_.push_back(std::move(entry));
      ++index;
    }
  } catch (const std::exception& error) {
    return DataLoss("{}: entry {} of its description: {}", path, index, error.what());
  }
  return file;
}

const PanelEntry* PanelFile::Find(PanelKind kind, const PanelSource& rows, size_t* part) const {
  const auto found = places_.find(KeyOf(kind, rows));
  if (found == places_.end()) return nullptr;
  for (const Place& place : found->second) {
    const PanelEntry& entry = entries_[place.entry];
    const PanelSource& have = entry.parts[place.part];
    if (rows.first_row < have.first_row ||
        rows.first_row + rows.rows > have.first_row + have.rows) {
      continue;
    }
    *part = place.part;
    return &entry;
  }
  return nullptr;
}

absl::StatusOr<PanelFileWriter> PanelFileWriter::Create(const std::string& path) {
  PanelFileWriter writer;
  writer.path_ = path;
  if (!FaultAt(FaultPoint::kOutputOpen)) {
    writer.file_.reset(std::fopen((path + ".part").c_str(), "wb"));
  }
  if (writer.file_ == nullptr) {
    return FailedPrecondition("{}.part: cannot be written: {}", path, std::strerror(errno));
  }
  FM_RETURN_IF_ERROR(writer.Write(kMagic.data(), kMagic.size()));
  return writer;
}

PanelFileWriter::~PanelFileWriter() {
  if (file_ != nullptr) (void)std::remove((path_ + ".part").c_str());
}

absl::Status PanelFileWriter::Write(const void* data, size_t bytes) {
  if (bytes > 0 &&
      (FaultAt(FaultPoint::kOutputWrite) || std::fwrite(data, 1, bytes, file_.get()) != bytes)) {
    return ResourceExhausted("{}.part: {} bytes cannot be written: {}", path_, bytes,
                             std::strerror(errno));
  }
  offset_ += static_cast<int64_t>(bytes);
  return absl::OkStatus();
}

absl::Status PanelFileWriter::PadTo(int64_t multiple) {
  constexpr char kZeros[kPage] = {};
  const int64_t over = offset_ % multiple;
  return over == 0 ? absl::OkStatus() : Write(kZeros, static_cast<size_t>(multiple - over));
}

absl::Status PanelFileWriter::Add(const PanelEntry& entry) {
  FM_CHECK(entry.bytes == BytesOf(entry));
  FM_RETURN_IF_ERROR(PadTo(kPage));
  descriptions_.push_back(Describe(entry, offset_).dump());
  return Write(entry.data, static_cast<size_t>(entry.bytes));
}

absl::Status PanelFileWriter::Finish() {
  FM_RETURN_IF_ERROR(PadTo(kPage));
  std::string text = fmt::format("{{\"version\":{},\"entries\":[", kVersion);
  for (size_t i = 0; i < descriptions_.size(); ++i) {
    if (i > 0) text += ',';
    text += descriptions_[i];
  }
  text += "]}";
  const uint64_t place[2] = {static_cast<uint64_t>(offset_), text.size()};
  FM_RETURN_IF_ERROR(Write(text.data(), text.size()));
  FM_RETURN_IF_ERROR(Write(place, sizeof(place)));
  FM_RETURN_IF_ERROR(Write(kMagic.data(), kMagic.size()));
  const bool synced = std::fflush(file_.get()) == 0 && !FaultAt(FaultPoint::kOutputSync) &&
                      fsync(fileno(file_.get())) == 0;
  const int error = errno;
  const bool closed = std::fclose(file_.release()) == 0;
  if (!synced) {
    (void)std::remove((path_ + ".part").c_str());
    return ResourceExhausted("{}: cannot be brought to disk: {}", path_, std::strerror(error));
  }
  if (!closed || std::rename((path_ + ".part").c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    (void)std::remove((path_ + ".part").c_str());
    return FailedPrecondition("{}: cannot be written: {}", path_, std::strerror(reason));
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
