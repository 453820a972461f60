// SPDX-License-Identifier: Apache-2.0
// The parts that both loaders share, and the loader of checkpoints. Dummy weights: dummy_loader.cc.
#include "layers/weight_loader.h"

#include <sys/mman.h>

#include <cstring>

#include "fmt/ranges.h"

namespace folkmoot {
absl::StatusOr<PackedMatrix> WeightLoader::Pack(ThreadPool& pool, const TensorRef& ref) {
  FM_ASSIGN_OR_RETURN(const WeightView view, View(ref));
  std::vector<std::byte> storage;
  PackedMatrix packed = PackedMatrix::Pack(pool, Converted(view, &storage));
  Report(view);
  return packed;
}

absl::StatusOr<PackedMatrix> WeightLoader::PackGateUp(ThreadPool& pool, const TensorRef& gate,
                                                      const TensorRef& up) {
  FM_ASSIGN_OR_RETURN(const auto views, ViewPair(gate, up));
  if (views.first.dtype != views.second.dtype) {
    return InvalidArgument("tensors '{}' ({}) and '{}' ({}) must have the same dtype", gate.name,
                           DTypeName(views.first.dtype), up.name, DTypeName(views.second.dtype));
  }
  std::vector<std::byte> storage[2];
  PackedMatrix packed = PackedMatrix::PackGateUp(pool, Converted(views.first, &storage[0]),
                                                 Converted(views.second, &storage[1]));
  Report(views.first);
  Report(views.second);
  return packed;
}

absl::StatusOr<std::vector<float>> WeightLoader::Vector(const std::string& name, int64_t n) {
  FM_ASSIGN_OR_RETURN(const WeightView view, ViewVector(name, n));
  return Widen(view);
}

absl::StatusOr<std::vector<float>> WeightLoader::Row(const std::string& name, int64_t n) {
  FM_ASSIGN_OR_RETURN(const WeightView view, View({.name = name, .n = 1, .k = n}));
  return Widen(view);
}

std::vector<float> WeightLoader::Widen(const WeightView& view) {
  std::vector<float> values(static_cast<size_t>(view.n * view.k));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = LoadElement(view.data, view.dtype, static_cast<int64_t>(i));
  }
  if (progress_) progress_(view.n * view.k * DTypeBytes(view.dtype));
  return values;
}

WeightView WeightLoader::Converted(const WeightView& view, std::vector<std::byte>* storage) const {
  if (!dtype_ || *dtype_ == view.dtype) return view;
  const int64_t count = view.n * view.k;
  storage->resize(static_cast<size_t>(count * DTypeBytes(*dtype_)));
  for (int64_t i = 0; i < count; ++i) {
    StoreElement(LoadElement(view.data, view.dtype, i), storage->data(), *dtype_, i);
  }
  return {storage->data(), *dtype_, view.n, view.k};
}

void WeightLoader::Report(const WeightView& view) {
  if (progress_) progress_(view.n * view.k * DTypeBytes(view.dtype));
  Release(view);
}

namespace {

class CheckpointLoader : public WeightLoader {
 public:
  explicit CheckpointLoader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  bool Has(std::string_view name) const override { return checkpoint_.Find(name) != nullptr; }

  absl::StatusOr<WeightView> View(const TensorRef& ref) override {
    const std::vector<int64_t> shape =
        ref.slices == 0 ? std::vector<int64_t>{ref.n, ref.k}
                        : std::vector<int64_t>{ref.slices, ref.slice_rows, ref.k};
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(ref.name, shape));
    const int64_t skipped = (ref.slice * ref.slice_rows + ref.first_row) * ref.k;
    return WeightView{info->data + skipped * DTypeBytes(info->dtype), info->dtype, ref.n, ref.k};
  }

  absl::StatusOr<WeightView> Keep(const TensorRef& ref) override { return View(ref); }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef&) override { return nullptr; }

  std::optional<DType> Stored(std::string_view name) const override {
    const TensorInfo* info = checkpoint_.Find(name);
    return info == nullptr ? std::nullopt : std::optional<DType>(info->dtype);
  }

  absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                             const TensorRef& b) override {
    FM_ASSIGN_OR_RETURN(const WeightView first, View(a));
    FM_ASSIGN_OR_RETURN(const WeightView second, View(b));
    return std::make_pair(first, second);
  }

 protected:
  absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t n) override {
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(name, {n}));
    return WeightView{info->data, info->dtype, 1, n};
  }

  // Packed weights are read from their copy: drop the file's pages from this process.
  void Release(const WeightView& view) override {
    constexpr uintptr_t kPage = 4096;
    const auto begin = (reinterpret_cast<uintptr_t>(view.data) + kPage - 1) / kPage * kPage;
    const auto end = (reinterpret_cast<uintptr_t>(view.data) +
                      static_cast<uintptr_t>(view.n * view.k * DTypeBytes(view.dtype))) /
                     kPage * kPage;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }

 private:
  absl::StatusOr<const TensorInfo*> Checked(const std::string& name,
                                            const std::vector<int64_t>& shape) const {
    const TensorInfo* info = checkpoint_.Find(name);
    if (info == nullptr) {
      return NotFound("tensor '{}' of shape [{}] is missing from the checkpoint", name,
                      fmt::join(shape, ", "));
    }
    if (info->shape != shape) {
      return InvalidArgument("{}: tensor '{}' has shape [{}], but config.json asks for [{}]",
                             info->file, name, fmt::join(info->shape, ", "),
                             fmt::join(shape, ", "));
    }
    if (info->dtype != DType::kF32 && info->dtype != DType::kBF16 && info->dtype != DType::kF16) {
      return InvalidArgument("{}: tensor '{}' has dtype {}; weights must be F32, BF16 or F16",
                             info->file, name, DTypeName(info->dtype));
    }
    return info;
  }

  const Checkpoint& checkpoint_;
};

}  // namespace

std::unique_ptr<WeightLoader> MakeCheckpointLoader(const Checkpoint& checkpoint) {
  return std::make_unique<CheckpointLoader>(checkpoint);
}

}  // namespace folkmoot
