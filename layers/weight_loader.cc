// SPDX-License-Identifier: Apache-2.0
// The parts that all loaders share.
#include "layers/weight_loader.h"

#include <algorithm>
#include <utility>

#include "fmt/ranges.h"
#include "runtime/quant/round_to_nearest.h"

namespace folkmoot {

std::vector<int64_t> StoredShape(const TensorRef& ref) {
  std::vector<int64_t> shape = {ref.rows(), ref.k};
  if (ref.transposed) shape = {ref.depth(), ref.rows()};
  if (ref.slices > 0) shape.insert(shape.begin(), ref.slices);
  return shape;
}

std::vector<int64_t> VectorShape(int64_t n, int64_t taps) {
  return taps > 0 ? std::vector<int64_t>{n / taps, 1, taps} : std::vector<int64_t>{n};
}

bool FitsShape(std::span<const int64_t> stored, std::span<const int64_t> wanted) {
  if (std::equal(stored.begin(), stored.end(), wanted.begin(), wanted.end())) return true;
  // A vector with lengths of one around it (A_log of Kimi Linear).
  const bool around = stored.size() == 4 && stored[0] == 1 && stored[1] == 1 && stored[3] == 1;
  if (wanted.size() == 1 && around && stored[2] == wanted[0]) return true;
  // A kernel that each head has for itself, as a matrix (ZAYA1).
  const bool kernel = stored.size() == 3 && wanted.size() == 2 && stored[0] == wanted[0];
  if (kernel && stored[1] > 0 && wanted[1] % stored[1] == 0) {
    return wanted[1] / stored[1] == stored[2];
  }
  return wanted.size() == 3 && stored.size() == 2 && stored[1] == wanted[2] && wanted[0] > 0 &&
         stored[0] % wanted[0] == 0 && stored[0] / wanted[0] == wanted[1];
}

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

absl::StatusOr<std::vector<float>> WeightLoader::Vector(const std::string& name, int64_t n,
                                                        int64_t taps) {
  FM_ASSIGN_OR_RETURN(const WeightView view, ViewVector(name, n, taps));
  return Widen(view);
}

absl::StatusOr<std::vector<float>> WeightLoader::VectorPart(const std::string& name, int64_t n,
                                                            int64_t first, int64_t count) {
  FM_ASSIGN_OR_RETURN(const std::vector<float> all, Vector(name, n));
  return std::vector<float>(all.begin() + first, all.begin() + first + count);
}

absl::StatusOr<std::vector<float>> WeightLoader::Row(const std::string& name, int64_t n,
                                                     int64_t row, int64_t rows) {
  FM_ASSIGN_OR_RETURN(const WeightView view,
                      View(TensorRef{.name = name, .n = rows, .k = n}.Rows(row, 1)));
  return Widen(view);
}

absl::StatusOr<std::vector<int32_t>> WeightLoader::DistinctIds(const std::string& name,
                                                               int64_t rows, int64_t n,
                                                               int64_t below) {
  FM_ASSIGN_OR_RETURN(std::vector<int32_t> ids, Integers(name, rows, n, below));
  for (int64_t row = 0; row < rows; ++row) {
    const auto first = ids.begin() + row * n;
    for (auto id = first; id < first + n; ++id) {
      if (*id < 0 || *id >= below) {
        return InvalidArgument("tensor '{}': row {} has {}, but must have numbers of 0 to {}", name,
                               row, *id, below - 1);
      }
      if (std::find(first, id, *id) != id) {
        return InvalidArgument("tensor '{}': row {} has {} twice", name, row, *id);
      }
    }
  }
  return ids;
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
  if (progress_) progress_(view.n * view.k * DTypeBytes(view.dtype));
  ReleaseView(view);
}

void WeightLoader::ReleaseView(const WeightView& view) {
  Release({static_cast<const std::byte*>(view.data),
           static_cast<size_t>(view.n * view.k * DTypeBytes(view.dtype))});
}

void WeightLoader::Report(const CodeMatrix& codes) {
  const auto [bytes, rows] = codes.storage();
  if (rows == 0) return;
  ReportRead(std::ssize(bytes) * codes.n() / rows);
  Release(bytes);
}

}  // namespace folkmoot
