// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "runtime/check.h"
#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

absl::Status WriteAll(int file, const std::string& path, int64_t at,
                      std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        FaultAt(FaultPoint::kOutputWrite) ? -1 : pwrite(file, bytes.data(), bytes.size(), at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return ResourceExhausted("{}: cannot be written: {}", path,
                               written < 0 ? std::strerror(errno) : "no progress");
    }
    at += written;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t NewTensor::bytes() const {
  int64_t bytes = DTypeBytes(dtype);
  for (const int64_t size : shape) bytes *= size;
  return bytes;
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, const std::vector<NewTensor>& tensors) {
  const int file = FaultAt(FaultPoint::kOutputOpen)
                       ? -1
                       : open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return NotFound("{}: cannot be created: {}", path, std::strerror(errno));
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(path, file));

  std::vector<const NewTensor*> order;
  for (const NewTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const NewTensor* a, const NewTensor* b) {
    const int64_t sizes[] = {DTypeBytes(a->dtype), DTypeBytes(b->dtype)};
    return sizes[0] != sizes[1] ? sizes[0] > sizes[1] : a->name < b->name;
  });
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  int64_t end = 0;
  for (const NewTensor* tensor : order) {
    const int64_t bytes = tensor->bytes();
    const bool is_new = writer->places_.emplace(tensor->name, Place{end, bytes}).second;
    FM_CHECK(is_new);
    header[tensor->name] = {{"dtype", DTypeName(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  const auto data = static_cast<int64_t>(sizeof(length) + length);
  for (auto& [name, place] : writer->places_) place.begin += data;
  FM_RETURN_IF_ERROR(WriteAll(file, path, 0, std::as_bytes(std::span(&length, 1))));
  FM_RETURN_IF_ERROR(WriteAll(file, path, sizeof(length), std::as_bytes(std::span(text))));
  // A full disk is better found now than after an hour.
  if (const int error = end == 0 ? 0 : posix_fallocate(file, data, end); error != 0) {
    return ResourceExhausted("{}: {} bytes cannot be reserved: {}", path, end,
                             std::strerror(error));
  }
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ >= 0) close(file_);
}

absl::Status SafetensorsWriter::Write(const std::string& tensor, int64_t offset,
                                      std::span<const std::byte> bytes) {
  const Place& place = places_.at(tensor);
  FM_CHECK(offset >= 0 && offset + static_cast<int64_t>(bytes.size()) <= place.bytes);
  return WriteAll(file_, path_, place.begin + offset, bytes);
}

absl::Status SafetensorsWriter::Finish() {
  const bool synced = !FaultAt(FaultPoint::kOutputSync) && fsync(file_) == 0;
  const int error = errno;
  const bool closed = close(std::exchange(file_, -1)) == 0;
  if (synced && closed) return absl::OkStatus();
  return ResourceExhausted("{}: cannot be brought to disk: {}", path_,
                           std::strerror(synced ? errno : error));
}

}  // namespace folkmoot
