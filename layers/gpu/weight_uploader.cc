// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/weight_uploader.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "runtime/check.h"
#include "runtime/cuda/expert_ffn.h"

namespace folkmoot {
namespace {

constexpr int64_t kStagingBytes = int64_t{64} << 20;

void Convert(const void* from, DType from_type, int64_t count, void* to, DType to_type) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<size_t>(count * DTypeBytes(to_type)));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    StoreElement(LoadElement(from, from_type, i), to, to_type, i);
  }
}

void FillRow(const WeightUploader::Source& source, int64_t from, int64_t to_piece,
             const cuda::MatrixRef& shape, std::byte* row) {
  const int64_t size = DTypeBytes(shape.dtype);
  std::memset(row, 0, static_cast<size_t>(shape.stride * size));
  if (source.view == nullptr) return;
  const WeightView& view = *source.view;
  const auto* first =
      static_cast<const std::byte*>(view.data) + source.row * view.k * DTypeBytes(view.dtype);
  for (int64_t piece = 0; piece * from < view.k; ++piece) {
    Convert(first + piece * from * DTypeBytes(view.dtype), view.dtype, from,
            row + piece * to_piece * size, shape.dtype);
  }
}

}  // namespace

bool RunsOnDevice(const CodeSpec& spec, int64_t k) {
  return spec.type == CodeType::kFp8 && !spec.offsets && k % 16 == 0 &&
         (spec.group >= k || spec.group % cuda::kCodeGroup == 0);
}

absl::StatusOr<std::unique_ptr<WeightUploader>> WeightUploader::Create(cuda::Stream& stream,
                                                                       ThreadPool& pool) {
  std::unique_ptr<WeightUploader> uploader(new WeightUploader(stream, pool));
  FM_ASSIGN_OR_RETURN(uploader->staging_,
                      cuda::Memory::Allocate(kStagingBytes, "the staging buffer of weights",
                                             cuda::MemoryKind::kPinnedHost));
  return uploader;
}

absl::StatusOr<std::byte*> WeightUploader::Room(int64_t bytes) {
  FM_CHECK(bytes <= kStagingBytes);
  if (used_ + bytes > kStagingBytes) {
    FM_RETURN_IF_ERROR(stream_.Synchronize());
    used_ = 0;
  }
  std::byte* room = staging_.As<std::byte>() + used_;
  used_ += (bytes + 255) / 256 * 256;
  return room;
}

absl::Status WeightUploader::Matrix(const cuda::MatrixRef& to, Pieces pieces,
                                    const std::function<Source(int64_t row)>& source) {
  return Rows(to.data, to.rows, to.stride * DTypeBytes(to.dtype), [&](int64_t row, std::byte* out) {
    const Source from = source(row);
    const int64_t k = from.view == nullptr ? 1 : from.view->k;
    FillRow(from, pieces.from > 0 ? pieces.from : k, pieces.to, to, out);
  });
}

absl::Status WeightUploader::Rows(void* to, int64_t rows, int64_t row_bytes,
                                  const std::function<void(int64_t, std::byte*)>& fill) {
  const int64_t most = std::max<int64_t>(1, kStagingBytes / 4 / row_bytes);
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t count = std::min(most, rows - first);
    FM_ASSIGN_OR_RETURN(std::byte* const room, Room(count * row_bytes));
    pool_.ParallelFor(count, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) fill(first + r, room + r * row_bytes);
    });
    cuda::CopyToDevice(stream_, static_cast<std::byte*>(to) + first * row_bytes, room,
                       count * row_bytes);
  }
  return stream_.status();
}

absl::Status WeightUploader::Codes(std::span<const CodeMatrix* const> parts, std::string_view where,
                                   void* to, float* scales) {
  const int64_t k = parts[0]->k();
  const int64_t rows = parts[0]->n() * std::ssize(parts);
  const int64_t groups = cuda::CodeGroups(k);
  std::vector<float> all_scales(static_cast<size_t>(groups * rows));
  std::atomic<bool> nan{false};
  FM_RETURN_IF_ERROR(Rows(to, rows, k, [&](int64_t row, std::byte* out) {
    const bool pair = parts.size() > 1;
    const CodeMatrix& from = *parts[pair && row % 16 >= 8 ? 1 : 0];
    CodeRowBuffer buffer(from);
    const CodeRow codes = buffer.row();
    from.ReadRow(pair ? row / 16 * 8 + row % 8 : row, codes);  // the inverse of cuda::GateUpRow
    for (int64_t i = 0; i < k; ++i) {
      const uint8_t code = codes.codes[static_cast<size_t>(i)];
      if ((code & 0x7f) == 0x7f) nan = true;
      out[cuda::CodeColumn(i)] = static_cast<std::byte>(code);
    }
    for (int64_t g = 0; g < groups; ++g) {
      all_scales[static_cast<size_t>(g * rows + row)] =
          codes.scales[static_cast<size_t>(g * cuda::kCodeGroup / from.spec().group)];
    }
  }));
  if (nan) return InvalidArgument("{}: it has codes that are not numbers", where);
  return Vector(scales, all_scales);
}

absl::Status WeightUploader::Vector(float* to, const std::vector<float>& values) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(float));
  FM_ASSIGN_OR_RETURN(std::byte* const room, Room(bytes));
  std::memcpy(room, values.data(), static_cast<size_t>(bytes));
  cuda::CopyToDevice(stream_, to, room, bytes);
  return stream_.status();
}

absl::Status WeightUploader::Finish() {
  used_ = 0;
  return stream_.Synchronize();
}

}  // namespace folkmoot
