// SPDX-License-Identifier: Apache-2.0
// The parts that both loaders share, and the loader of checkpoints. Dummy weights: dummy_loader.cc.
#include "layers/weight_loader.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>

#include "fmt/ranges.h"
#include "runtime/quant/round_to_nearest.h"

namespace folkmoot {

absl::StatusOr<std::unique_ptr<CodeMatrix>> WeightLoader::CodesToRun(const TensorRef& ref) {
  if (options_.dtype) return nullptr;
  FM_ASSIGN_OR_RETURN(std::unique_ptr<CodeMatrix> codes, Codes(ref));
  if (codes == nullptr) return nullptr;
  if (const std::string_view why = WhyNotRunnable(codes->spec(), codes->k()); !why.empty()) {
    return InvalidArgument("tensor '{}' [{}, {}]: {}; --dtype bfloat16 runs it as plain weights",
                           ref.name, ref.n, ref.k, why);
  }
  return codes;
}

absl::Status WeightLoader::PackInto(ThreadPool& pool, const TensorRef& ref, const CodeMatrix* codes,
                                    int64_t outputs, std::optional<PackedMatrix>* packed) {
  const auto append = [&](const auto& weight) {
    if (!*packed) *packed = PackedMatrix::Reserve(outputs, weight);
    (*packed)->Append(pool, weight);
  };
  if (codes != nullptr) {
    append(*codes);
    Report(*codes);
    return absl::OkStatus();
  }
  FM_RETURN_IF_ERROR(CheckRounding(ref));
  FM_ASSIGN_OR_RETURN(const WeightView view, View(ref));
  std::vector<std::byte> storage;
  const WeightView converted = Converted(view, &storage);
  if (options_.rounding && !ref.exact) {
    append(RoundedMatrix(converted, *options_.rounding));
  } else {
    append(converted);
  }
  Report(view);
  return absl::OkStatus();
}

absl::StatusOr<PackedMatrix> WeightLoader::Pack(ThreadPool& pool, const TensorRef& ref) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<CodeMatrix> codes, CodesToRun(ref));
  std::optional<PackedMatrix> packed;
  FM_RETURN_IF_ERROR(PackInto(pool, ref, codes.get(), ref.n, &packed));
  return Finished(*std::move(packed), ref.exact);
}

bool WeightLoader::AlikeInMemory(std::span<const TensorRef> refs,
                                 std::span<const std::unique_ptr<CodeMatrix>> codes) const {
  std::optional<CodeSpec> spec;
  std::optional<DType> dtype;
  for (size_t i = 0; i < refs.size(); ++i) {
    const std::optional<CodeSpec> mine =
        codes[i] != nullptr ? std::optional<CodeSpec>(codes[i]->spec()) : std::nullopt;
    // Plain: as converted, or as stored.
    const std::optional<DType> stored =
        options_.dtype || mine ? options_.dtype : Stored(refs[i].name);
    if (i > 0 && (mine != spec || stored != dtype)) return false;
    spec = mine;
    dtype = stored;
  }
  return true;
}

absl::StatusOr<std::vector<PackedMatrix>> WeightLoader::PackStack(ThreadPool& pool,
                                                                  std::span<const TensorRef> refs) {
  std::vector<std::unique_ptr<CodeMatrix>> codes;
  int64_t outputs = 0;
  for (const TensorRef& ref : refs) {
    FM_ASSIGN_OR_RETURN(codes.emplace_back(), CodesToRun(ref));
    outputs += ref.n;
  }
  const bool alike = AlikeInMemory(refs, codes);
  std::vector<PackedMatrix> stack;
  std::optional<PackedMatrix> packed;
  for (size_t i = 0; i < refs.size(); ++i) {
    FM_RETURN_IF_ERROR(
        PackInto(pool, refs[i], codes[i].get(), alike ? outputs : refs[i].n, &packed));
    if (alike && i + 1 < refs.size()) continue;
    stack.push_back(Finished(*std::move(packed), refs[i].exact));
    packed.reset();
  }
  return stack;
}

absl::StatusOr<PackedMatrix> WeightLoader::PackGateUp(ThreadPool& pool, const TensorRef& gate,
                                                      const TensorRef& up) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<CodeMatrix> gate_codes, CodesToRun(gate));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<CodeMatrix> up_codes, CodesToRun(up));
  if ((gate_codes == nullptr) != (up_codes == nullptr) ||
      (gate_codes != nullptr && gate_codes->spec() != up_codes->spec())) {
    return InvalidArgument(
        "tensors '{}' and '{}' are quantised differently; --dtype bfloat16 runs them as plain "
        "weights",
        gate.name, up.name);
  }
  if (gate_codes != nullptr) {
    PackedMatrix packed = PackedMatrix::PackGateUp(pool, *gate_codes, *up_codes);
    Report(*gate_codes);
    Report(*up_codes);
    return Finished(std::move(packed), gate.exact);
  }
  FM_ASSIGN_OR_RETURN(const auto views, ViewPair(gate, up));
  if (views.first.dtype != views.second.dtype) {
    return InvalidArgument("tensors '{}' ({}) and '{}' ({}) must have the same dtype", gate.name,
                           DTypeName(views.first.dtype), up.name, DTypeName(views.second.dtype));
  }
  FM_RETURN_IF_ERROR(CheckRounding(gate));
  std::vector<std::byte> storage[2];
  const WeightView first = Converted(views.first, &storage[0]);
  const WeightView second = Converted(views.second, &storage[1]);
  PackedMatrix packed =
      options_.rounding ? PackedMatrix::PackGateUp(pool, RoundedMatrix(first, *options_.rounding),
                                                   RoundedMatrix(second, *options_.rounding))
                        : PackedMatrix::PackGateUp(pool, first, second);
  Report(views.first);
  Report(views.second);
  return Finished(std::move(packed), gate.exact);
}

absl::Status WeightLoader::CheckRounding(const TensorRef& ref) const {
  if (!options_.rounding || ref.exact) return absl::OkStatus();
  const std::string_view why = WhyNotRunnable(*options_.rounding, ref.k);
  if (why.empty()) return absl::OkStatus();
  return InvalidArgument("--quantization: tensor '{}' [{}, {}], groups of {}: {}", ref.name, ref.n,
                         ref.k, options_.rounding->group, why);
}

absl::StatusOr<RowTable> WeightLoader::Table(const TensorRef& ref) {
  RowTable table;
  FM_ASSIGN_OR_RETURN(table.codes, Codes(ref));
  if (table.codes == nullptr) {
    FM_ASSIGN_OR_RETURN(table.plain, Keep(ref));
  }
  return table;
}

absl::StatusOr<std::vector<float>> WeightLoader::Vector(const std::string& name, int64_t n) {
  FM_ASSIGN_OR_RETURN(const WeightView view, ViewVector(name, n));
  return Widen(view);
}

absl::StatusOr<std::vector<float>> WeightLoader::VectorPart(const std::string& name, int64_t n,
                                                            int64_t first, int64_t count) {
  FM_ASSIGN_OR_RETURN(const std::vector<float> all, Vector(name, n));
  return std::vector<float>(all.begin() + first, all.begin() + first + count);
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
  if (!options_.dtype || *options_.dtype == view.dtype) return view;
  const int64_t count = view.n * view.k;
  storage->resize(static_cast<size_t>(count * DTypeBytes(*options_.dtype)));
  for (int64_t i = 0; i < count; ++i) {
    StoreElement(LoadElement(view.data, view.dtype, i), storage->data(), *options_.dtype, i);
  }
  return {storage->data(), *options_.dtype, view.n, view.k};
}

void WeightLoader::Report(const WeightView& view) {
  const int64_t bytes = view.n * view.k * DTypeBytes(view.dtype);
  if (progress_) progress_(bytes);
  Release({static_cast<const std::byte*>(view.data), static_cast<size_t>(bytes)});
}

void WeightLoader::Report(const CodeMatrix& codes) {
  const auto [bytes, rows] = codes.storage();
  if (rows == 0) return;
  ReportRead(std::ssize(bytes) * codes.n() / rows);
  Release(bytes);
}

namespace {

class CheckpointLoader : public WeightLoader {
 public:
  CheckpointLoader(const Checkpoint& checkpoint, std::shared_ptr<const WeightFormat> format)
      : checkpoint_(checkpoint), format_(std::move(format)) {}

  bool Has(std::string_view name) const override {
    return checkpoint_.Find(name) != nullptr || IsCoded(name);
  }

  absl::StatusOr<WeightView> View(const TensorRef& ref) override {
    return ViewIn(ref, &scratch_[0]);
  }

  absl::StatusOr<WeightView> Keep(const TensorRef& ref) override {
    return ViewIn(ref, &kept_.emplace_back());
  }

  absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef& ref) override {
    if (IsCoded(ref.name)) return CodesOfFormat(ref);
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(ref.name, ShapeOf(ref)));
    if (info->blocks == nullptr) return nullptr;
    const int64_t first_row = ref.slice * ref.slice_rows + ref.first_row;
    auto codes = std::make_unique<BlockMatrix>(
        *info->blocks, ref.n, ref.k,
        BlockMatrix::Place{.data = info->data, .first_row = first_row, .order = info->order});
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

  absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                             const TensorRef& b) override {
    FM_ASSIGN_OR_RETURN(const WeightView first, ViewIn(a, &scratch_[0]));
    FM_ASSIGN_OR_RETURN(const WeightView second, ViewIn(b, &scratch_[1]));
    return std::make_pair(first, second);
  }

 protected:
  absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t n) override {
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(name, {n}));
    if (info->blocks != nullptr) {
      return InvalidArgument("{}: tensor '{}' is stored as {}; vectors must be plain", info->file,
                             name, info->type_name());
    }
    if (info->order.head_dim == 0) return WeightView{info->data, info->dtype, 1, n};
    const WeightView ordered = InOrder(*info, {.n = n, .k = 1}, &scratch_[0]);
    return WeightView{ordered.data, ordered.dtype, 1, n};
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

  static std::vector<int64_t> ShapeOf(const TensorRef& ref) {
    FM_CHECK(ref.row_step == 1);  // only formats of packed experts know another
    if (ref.slices == 0) return {ref.rows(), ref.k};
    return {ref.slices, ref.slice_rows, ref.k};
  }

  // Where the file has the rows as they are, or in `memory`.
  absl::StatusOr<WeightView> ViewIn(const TensorRef& ref, std::vector<std::byte>* memory) {
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<CodeMatrix> codes, Codes(ref));
    if (codes != nullptr) return Dequantised(*codes, memory);
    FM_ASSIGN_OR_RETURN(const TensorInfo* info, Checked(ref.name, ShapeOf(ref)));
    if (info->order.head_dim != 0) return InOrder(*info, ref, memory);
    const int64_t skipped = (ref.slice * ref.slice_rows + ref.first_row) * ref.k;
    return WeightView{info->data + skipped * DTypeBytes(info->dtype), info->dtype, ref.n, ref.k};
  }

  WeightView Dequantised(const CodeMatrix& codes, std::vector<std::byte>* memory) const {
    const DType type = TypeOfNumbers();
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
