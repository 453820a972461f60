// SPDX-License-Identifier: Apache-2.0
// The loader of checkpoints: views of their files, or of copies where the files have something
// else.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>

#include "fmt/ranges.h"
#include "layers/weight_loader.h"
#include "runtime/checkpoint/readable.h"

namespace folkmoot {
namespace {

// to[i, j] = from[j, first_row + i * row_step], in squares that stay in the cache.
template <typename T>
void TransposeAs(const WeightView& from, const TensorRef& ref, T* to) {
  constexpr int64_t kSquare = 32;
  const auto* source = static_cast<const T*>(from.data) + ref.first_row;
  for (int64_t first = 0; first < ref.n; first += kSquare) {
    for (int64_t column = 0; column < ref.k; column += kSquare) {
      for (int64_t i = first; i < std::min(ref.n, first + kSquare); ++i) {
        for (int64_t j = column; j < std::min(ref.k, column + kSquare); ++j) {
          to[i * ref.k + j] = source[j * from.k + i * ref.row_step];
        }
      }
    }
  }
}

void Transpose(const WeightView& from, const TensorRef& ref, std::byte* to) {
  if (from.dtype == DType::kF32) {
    TransposeAs(from, ref, reinterpret_cast<float*>(to));
  } else {
    TransposeAs(from, ref, reinterpret_cast<uint16_t*>(to));
  }
}

class CheckpointLoader : public WeightLoader {
 public:
  CheckpointLoader(const Checkpoint& checkpoint, std::shared_ptr<const WeightFormat> format)
      : checkpoint_(checkpoint), format_(std::move(format)) {}

  bool Has(std::string_view name) const override {
    return checkpoint_.Find(name) != nullptr || IsCoded(name);
  }

  bool Coded(std::string_view name) const override {
    const TensorInfo* info = checkpoint_.Find(name);
    return IsCoded(name) || (info != nullptr && info->blocks != nullptr);
  }

  absl::StatusOr<WeightView> View(const TensorRef& ref) override {
    return ViewIn(ref, &scratch_[0]);
  }

  absl::StatusOr<WeightView> Keep(const TensorRef& ref) override {
    return ViewIn(ref, &kept_.emplace_back());
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef& ref) override {
    if (ref.transposed) return nullptr;  // groups of codes run the other way
    if (IsCoded(ref.name)) return CodesOfFormat(ref);
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(ref.name, StoredShape(ref)));
    if (info->blocks == nullptr) return nullptr;
    const int64_t first_row = ref.slice * ref.slice_rows + ref.first_row;
    auto codes = std::make_unique<BlockMatrix>(
        *info->blocks, ref.n, ref.k,
        BlockMatrix::Place{.data = info->data, .first_row = first_row, .order = info->order});
    FM_RETURN_IF_ERROR(CheckReadable(*info, ref.name, codes->storage().bytes));
    FM_RETURN_IF_ERROR(
        codes->CheckFinite(fmt::format("{}: tensor '{}'", info->file, info->stored_name)));
    return codes;
  }

  std::optional<DType> Stored(std::string_view name) const override {
    if (IsCoded(name)) return TypeOfNumbers();
    const TensorInfo* info = checkpoint_.Find(name);
    if (info == nullptr) return std::nullopt;
    return info->blocks == nullptr ? info->dtype : TypeOfNumbers();
  }

  std::vector<int64_t> Shape(std::string_view name) const override {
    const TensorInfo* info = checkpoint_.Find(name);
    return info == nullptr ? std::vector<int64_t>{} : info->shape;
  }

  absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                             const TensorRef& b) override {
    FM_ASSIGN_OR_RETURN(const WeightView first, ViewIn(a, &scratch_[0]));
    FM_ASSIGN_OR_RETURN(const WeightView second, ViewIn(b, &scratch_[1]));
    return std::make_pair(first, second);
  }

  absl::Status ExpectIntegers(const std::string& name, std::span<const int64_t> numbers) override {
    if (!Has(name)) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(const TensorInfo* info,
                        Found(name, std::vector<int64_t>{std::ssize(numbers)}));
    const auto bytes = std::as_bytes(numbers);
    if (info->dtype != DType::kI64 || info->bytes != std::ssize(bytes)) {
      return InvalidArgument("{}: tensor '{}' is stored as {}; it must be I64", info->file, name,
                             info->type_name());
    }
    FM_RETURN_IF_ERROR(CheckReadable(*info, name, {info->data, bytes.size()}));
    if (std::memcmp(info->data, bytes.data(), bytes.size()) == 0) return absl::OkStatus();
    return InvalidArgument("{}: tensor '{}' has other numbers than config.json makes: [{}]",
                           info->file, name, fmt::join(numbers, ", "));
  }

 protected:
  absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t n, int64_t taps) override {
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(name, VectorShape(n, taps)));
    if (info->blocks != nullptr) {
      return InvalidArgument("{}: tensor '{}' is stored as {}; vectors must be plain", info->file,
                             name, info->type_name());
    }
    FM_RETURN_IF_ERROR(CheckReadable(*info, name, {info->data, static_cast<size_t>(info->bytes)}));
    if (info->order.head_dim == 0) return WeightView{info->data, info->dtype, 1, n};
    const WeightView ordered = InOrder(*info, {.n = n, .k = 1}, &scratch_[0]);
    return WeightView{ordered.data, ordered.dtype, 1, n};
  }

  absl::StatusOr<std::vector<int32_t>> Integers(const std::string& name, int64_t rows, int64_t n,
                                                int64_t /*below*/) override {
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Found(name, std::vector<int64_t>{rows, n}));
    if (info->blocks != nullptr || (info->dtype != DType::kI64 && info->dtype != DType::kI32)) {
      return InvalidArgument("{}: tensor '{}' is stored as {}; it must be I64 or I32", info->file,
                             name, info->type_name());
    }
    FM_RETURN_IF_ERROR(CheckReadable(*info, name, {info->data, static_cast<size_t>(info->bytes)}));
    std::vector<int32_t> ids(static_cast<size_t>(rows * n));
    for (size_t i = 0; i < ids.size(); ++i) {
      const int64_t id = info->dtype == DType::kI64
                             ? reinterpret_cast<const int64_t*>(info->data)[i]
                             : reinterpret_cast<const int32_t*>(info->data)[i];
      ids[i] = static_cast<int32_t>(std::clamp<int64_t>(id, INT32_MIN, INT32_MAX));
    }
    ReportRead(info->bytes);
    return ids;
  }

  // Packed weights are read from their copy: drop the file's pages from this process.
  void Release(std::span<const std::byte> bytes) override {
    for (std::vector<std::byte>& scratch : scratch_) {
      if (bytes.data() != scratch.data()) continue;
      scratch = {};
      return;
    }
    for (const std::vector<std::byte>& kept : kept_) {
      if (bytes.data() == kept.data()) return;
    }
    constexpr uintptr_t kPage = 4096;
    const auto address = reinterpret_cast<uintptr_t>(bytes.data());
    const auto begin = (address + kPage - 1) / kPage * kPage;
    const auto end = (address + bytes.size()) / kPage * kPage;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }

 private:
  bool IsCoded(std::string_view name) const {
    return format_ != nullptr && !format_->Parts(checkpoint_, std::string(name)).empty();
  }

  // What the numbers of codes are kept in.
  DType TypeOfNumbers() const { return dtype().value_or(DType::kBF16); }

  // Formats open plain matrices whole.
  absl::StatusOr<std::unique_ptr<CodeMatrix>> CodesOfFormat(const TensorRef& ref) const {
    if (ref.slices > 0 || ref.n == ref.rows()) return format_->Open(checkpoint_, ref);
    TensorRef all = ref;
    all.n = ref.rows();
    all.first_row = all.slice_rows = 0;
    FM_ASSIGN_OR_RETURN(std::unique_ptr<CodeMatrix> codes, format_->Open(checkpoint_, all));
    return RowsOf(std::move(codes), ref.first_row, ref.n);
  }

  // Where the file has the rows as they are, or in `memory`.
  absl::StatusOr<WeightView> ViewIn(const TensorRef& ref, std::vector<std::byte>* memory) {
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<CodeMatrix> codes, Codes(ref));
    if (codes != nullptr) return Dequantised(*codes, TypeOfNumbers(), memory);
    if (ref.transposed || ref.row_step > 1) return Rearranged(ref, memory);
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(ref.name, StoredShape(ref)));
    if (info->order.head_dim != 0) return InOrder(*info, ref, memory);
    const int64_t row_bytes = ref.k * DTypeBytes(info->dtype);
    const std::span rows(info->data + (ref.slice * ref.slice_rows + ref.first_row) * row_bytes,
                         static_cast<size_t>(ref.n * row_bytes));
    // A table that is read in place is not brought into memory as a whole.
    const bool kept = !kept_.empty() && memory == &kept_.back();
    if (!kept) FM_RETURN_IF_ERROR(CheckReadable(*info, ref.name, rows));
    return WeightView{rows.data(), info->dtype, ref.n, ref.k};
  }

  static WeightView Dequantised(const CodeMatrix& codes, DType type,
                                std::vector<std::byte>* memory) {
    memory->resize(static_cast<size_t>(codes.n() * codes.k() * DTypeBytes(type)));
    CodeRowBuffer scratch(codes);
    std::vector<float> row(static_cast<size_t>(codes.k()));
    for (int64_t r = 0; r < codes.n(); ++r) {
      DequantizeRow(codes, r, scratch.row(), row);
      for (int64_t i = 0; i < codes.k(); ++i) {
        StoreElement(row[static_cast<size_t>(i)], memory->data(), type, r * codes.k() + i);
      }
    }
    return {memory->data(), type, codes.n(), codes.k()};
  }

  // A matrix whose rows the file does not have side by side.
  absl::StatusOr<WeightView> Rearranged(const TensorRef& ref, std::vector<std::byte>* memory) {
    TensorRef stored = ref;  // all rows that it is made of, as they are
    stored.transposed = false;
    stored.row_step = 1;
    stored.first_row = ref.transposed ? ref.first_k : 0;
    stored.n = ref.transposed ? ref.k : ref.rows();
    stored.k = ref.transposed ? ref.rows() : ref.k;
    stored.slice_rows = ref.transposed ? ref.depth() : ref.rows();
    std::vector<std::byte> opened;  // where they are codes, whose numbers are kept exactly
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<CodeMatrix> codes, Codes(stored));
    WeightView from;
    if (codes != nullptr) {
      from = Dequantised(*codes, dtype().value_or(DType::kF32), &opened);
    } else {
      FM_ASSIGN_OR_RETURN(from, ViewIn(stored, &opened));
    }
    memory->resize(static_cast<size_t>(ref.n * ref.k * DTypeBytes(from.dtype)));
    if (ref.transposed) {
      Transpose(from, ref, memory->data());
    } else {
      const auto row_bytes = static_cast<size_t>(ref.k * DTypeBytes(from.dtype));
      for (int64_t i = 0; i < ref.n; ++i) {
        const auto at = static_cast<size_t>(ref.first_row + i * ref.row_step);
        std::memcpy(memory->data() + static_cast<size_t>(i) * row_bytes,
                    static_cast<const std::byte*>(from.data) + at * row_bytes, row_bytes);
      }
    }
    if (opened.empty()) ReleaseView(from);
    return WeightView{memory->data(), from.dtype, ref.n, ref.k};
  }

  // The rows of `ref` of a plain tensor whose rows stand in another order in the file.
  static WeightView InOrder(const TensorInfo& info, const TensorRef& ref,
                            std::vector<std::byte>* memory) {
    const auto row_bytes = static_cast<size_t>(ref.k * DTypeBytes(info.dtype));
    memory->resize(static_cast<size_t>(ref.n) * row_bytes);
    for (int64_t row = 0; row < ref.n; ++row) {
      std::memcpy(
          memory->data() + static_cast<size_t>(row) * row_bytes,
          info.data + static_cast<size_t>(info.order.Stored(ref.first_row + row)) * row_bytes,
          row_bytes);
    }
    return {memory->data(), info.dtype, ref.n, ref.k};
  }

  absl::StatusOr<const TensorInfo*> Found(const std::string& name,
                                          const std::vector<int64_t>& shape) const {
    const TensorInfo* info = checkpoint_.Find(name);
    if (info == nullptr) {
      return NotFound("tensor '{}' of shape [{}] is missing from the checkpoint", name,
                      fmt::join(shape, ", "));
    }
    if (!FitsShape(info->shape, shape)) {
      return InvalidArgument("{}: tensor '{}' has shape [{}], but config.json asks for [{}]",
                             info->file, name, fmt::join(info->shape, ", "),
                             fmt::join(shape, ", "));
    }
    return info;
  }

  // Weights: codes, or plain numbers.
  absl::StatusOr<const TensorInfo*> Checked(const std::string& name,
                                            const std::vector<int64_t>& shape) const {
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Found(name, shape));
    if (info->blocks != nullptr) return info;
    if (info->dtype != DType::kF32 && info->dtype != DType::kBF16 && info->dtype != DType::kF16) {
      return InvalidArgument("{}: tensor '{}' has dtype {}; weights must be F32, BF16 or F16",
                             info->file, name, DTypeName(info->dtype));
    }
    return info;
  }

  const Checkpoint& checkpoint_;
  std::shared_ptr<const WeightFormat> format_;
  std::vector<std::byte> scratch_[2];        // of views that the file does not have as they are
  std::deque<std::vector<std::byte>> kept_;  // of Keep
};

}  // namespace

std::unique_ptr<WeightLoader> MakeCheckpointLoader(const Checkpoint& checkpoint,
                                                   std::shared_ptr<const WeightFormat> format) {
  return std::make_unique<CheckpointLoader>(checkpoint, std::move(format));
}

}  // namespace folkmoot
