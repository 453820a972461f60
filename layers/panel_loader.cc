// SPDX-License-Identifier: Apache-2.0
#include "layers/panel_loader.h"

#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

namespace folkmoot {
namespace {

// Other readings of a tensor than as rows in their order have names of their own, which begin with
// the tensor's.
PanelSource PartOf(const TensorRef& ref) {
  std::string name = ref.name;
  if (ref.transposed) name += fmt::format("^T{}", ref.first_k);
  if (ref.row_step > 1) name += fmt::format("/{}+{}", ref.row_step, ref.first_row % ref.row_step);
  return {.name = std::move(name),
          .slice = ref.slice,
          .first_row = ref.first_row / ref.row_step,
          .rows = ref.n};
}

std::string TensorOf(const PanelSource& part) {
  return part.name.substr(0, part.name.find_first_of("^/"));
}
bool IsTransposed(const PanelSource& part) { return part.name.find('^') != std::string::npos; }

std::string RowName(const std::string& name, int64_t row, int64_t rows) {
  return rows == 1 ? name : fmt::format("{}[{}]", name, row);
}

class PanelLoader : public WeightLoader {
 public:
  explicit PanelLoader(const PanelFile& file) : file_(file) {
    for (const PanelEntry& entry : file.entries()) {
      for (const PanelSource& part : entry.parts) {
        types_[TensorOf(part)] = entry.dtype;
        if (!IsTransposed(part)) untransposed_.insert(TensorOf(part));
      }
    }
  }

  bool Has(std::string_view name) const override { return types_.contains(std::string(name)); }
  // Whether it was while packing, or was not transposed for another reason, where that makes a
  // difference.
  bool Coded(std::string_view name) const override {
    return untransposed_.contains(std::string(name));
  }
  std::optional<DType> Stored(std::string_view name) const override {
    const auto found = types_.find(std::string(name));
    return found == types_.end() ? std::nullopt : std::optional<DType>(found->second);
  }

  absl::StatusOr<PackedMatrix> Pack(ThreadPool&, const TensorRef& ref) override {
    return Rows(PanelKind::kRows, ref);
  }
  // One run of panels where these rows lie one after the other in the file: a rank that has all of
  // them. Else one for each.
  absl::StatusOr<std::vector<PackedMatrix>> PackStack(ThreadPool&,
                                                      std::span<const TensorRef> refs) override {
    const PanelEntry* first = nullptr;
    TensorRef all = refs.front();
    all.n = 0;
    bool together = true;
    int64_t begin = 0;
    for (const TensorRef& ref : refs) {
      int64_t outputs = 0;
      FM_ASSIGN_OR_RETURN(const PanelEntry* entry, Find(PanelKind::kRows, ref, &outputs));
      if (first == nullptr) begin = outputs;
      together = together && (first == nullptr || entry == first) && outputs == begin + all.n;
      first = entry;
      all.n += ref.n;
    }
    std::vector<PackedMatrix> stack;
    if (together && first != nullptr) {
      FM_ASSIGN_OR_RETURN(stack.emplace_back(), Run(PanelKind::kRows, *first, begin, all));
      return stack;
    }
    for (const TensorRef& ref : refs) {
      FM_ASSIGN_OR_RETURN(stack.emplace_back(), Rows(PanelKind::kRows, ref));
    }
    return stack;
  }
  absl::StatusOr<PackedMatrix> PackGateUp(ThreadPool&, const TensorRef& gate,
                                          const TensorRef&) override {
    return Rows(PanelKind::kGateUp, gate);
  }

  absl::StatusOr<std::vector<float>> Vector(const std::string& name, int64_t n, int64_t) override {
    FM_ASSIGN_OR_RETURN(const PanelEntry* entry,
                        Find(PanelKind::kVector, {.name = name, .n = n, .k = 1}, nullptr));
    if (entry->n != n) {
      return InvalidArgument("{}: '{}' has {} values, but config.json asks for {}", file_.path(),
                             name, entry->n, n);
    }
    std::vector<float> values(static_cast<size_t>(n));
    std::memcpy(values.data(), entry->data, values.size() * sizeof(float));
    ReportRead(entry->bytes);
    return values;
  }
  absl::StatusOr<std::vector<float>> Row(const std::string& name, int64_t n, int64_t row,
                                         int64_t rows) override {
    return Vector(RowName(name, row, rows), n, 0);
  }

  absl::StatusOr<RowTable> Table(const TensorRef& ref) override {
    FM_ASSIGN_OR_RETURN(const PanelEntry* entry, Find(PanelKind::kTable, ref, nullptr));
    RowTable table;
    if (entry->codes) {
      table.codes = CodesOf(
          PackedMatrix::Borrow(entry->n, entry->k, entry->dtype, entry->codes, entry->data));
    } else {
      table.plain = {entry->data, entry->dtype, entry->n, entry->k};
    }
    return table;
  }

  absl::StatusOr<WeightView> View(const TensorRef& ref) override { return OnlyPanels(ref.name); }
  absl::StatusOr<WeightView> Keep(const TensorRef& ref) override { return OnlyPanels(ref.name); }
  absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef& ref) override {
    return OnlyPanels(ref.name);
  }
  absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                             const TensorRef&) override {
    return OnlyPanels(a.name);
  }

 protected:
  absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t, int64_t) override {
    return OnlyPanels(name);
  }
  // Numbers below 2^24 are float32.
  absl::StatusOr<std::vector<int32_t>> Integers(const std::string& name, int64_t rows, int64_t n,
                                                int64_t /*below*/) override {
    FM_ASSIGN_OR_RETURN(const std::vector<float> values, Vector(name, rows * n, 0));
    return std::vector<int32_t>(values.begin(), values.end());
  }
  void Release(std::span<const std::byte>) override {}

 private:
  absl::Status OnlyPanels(const std::string& name) const {
    return FailedPrecondition("{}: '{}' is packed for the CPU; use the model that it was made from",
                              file_.path(), name);
  }

  // The entry with these rows. `outputs` becomes the number of outputs in front of them.
  absl::StatusOr<const PanelEntry*> Find(PanelKind kind, const TensorRef& ref,
                                         int64_t* outputs) const {
    size_t part = 0;
    const PanelEntry* entry = file_.Find(kind, PartOf(ref), &part);
    if (entry == nullptr) {
      return NotFound("{}: rows {} to {} of '{}' (slice {}) are not in the file", file_.path(),
                      ref.first_row, ref.first_row + ref.n, ref.name, ref.slice);
    }
    if (entry->k != ref.k) {
      return InvalidArgument("{}: '{}' has rows of {}, but config.json asks for {}", file_.path(),
                             ref.name, entry->k, ref.k);
    }
    if (outputs == nullptr) return entry;
    *outputs = ref.first_row / ref.row_step - entry->parts[part].first_row;
    if (kind == PanelKind::kGateUp) return entry;  // gates and ups side by side
    for (size_t p = 0; p < part; ++p) *outputs += entry->parts[p].rows;
    return entry;
  }

  absl::StatusOr<PackedMatrix> Rows(PanelKind kind, const TensorRef& ref) {
    int64_t outputs = 0;
    FM_ASSIGN_OR_RETURN(const PanelEntry* entry, Find(kind, ref, &outputs));
    return Run(kind, *entry, outputs, ref);
  }

  // ref.n outputs (or gates) from output (or gate) `outputs` of the entry on.
  absl::StatusOr<PackedMatrix> Run(PanelKind kind, const PanelEntry& entry, int64_t outputs,
                                   const TensorRef& ref) {
    const int64_t per_panel =
        kind == PanelKind::kGateUp ? PackedMatrix::kPanel / 2 : PackedMatrix::kPanel;
    if (outputs % per_panel != 0 && ref.n > 0) {
      return InvalidArgument(
          "{}: row {} of '{}' does not begin a panel, so it cannot be given to "
          "another rank; use the model that the file was made from",
          file_.path(), ref.first_row, ref.name);
    }
    const int64_t n = kind == PanelKind::kGateUp ? 2 * ref.n : ref.n;
    const int64_t skipped = PackedMatrix::BytesOf(outputs / per_panel * PackedMatrix::kPanel,
                                                  entry.k, entry.dtype, entry.codes);
    ReportRead(PackedMatrix::BytesOf(n, entry.k, entry.dtype, entry.codes));
    return Finished(
        PackedMatrix::Borrow(n, entry.k, entry.dtype, entry.codes, entry.data + skipped),
        ref.exact);
  }

  const PanelFile& file_;
  absl::flat_hash_map<std::string, DType> types_;
  absl::flat_hash_set<std::string> untransposed_;
};

class PanelRecorder : public WeightLoader {
 public:
  PanelRecorder(WeightLoader& from, PanelFileWriter& to, ThreadPool& pool)
      : from_(from), to_(to), pool_(pool) {}

  bool Has(std::string_view name) const override { return from_.Has(name); }
  bool Coded(std::string_view name) const override { return from_.Coded(name); }
  std::optional<DType> Stored(std::string_view name) const override { return from_.Stored(name); }
  std::vector<int64_t> Shape(std::string_view name) const override { return from_.Shape(name); }

  absl::StatusOr<PackedMatrix> Pack(ThreadPool& pool, const TensorRef& ref) override {
    FM_ASSIGN_OR_RETURN(const PackedMatrix matrix, from_.Pack(pool, ref));
    return Recorded(PanelKind::kRows, {PartOf(ref)}, matrix);
  }
  absl::StatusOr<std::vector<PackedMatrix>> PackStack(ThreadPool& pool,
                                                      std::span<const TensorRef> refs) override {
    FM_ASSIGN_OR_RETURN(std::vector<PackedMatrix> stack, from_.PackStack(pool, refs));
    std::vector<PanelSource> parts;
    for (const TensorRef& ref : refs) parts.push_back(PartOf(ref));
    for (size_t i = 0; i < stack.size(); ++i) {
      FM_ASSIGN_OR_RETURN(
          stack[i],
          Recorded(PanelKind::kRows, stack.size() == 1 ? parts : std::vector<PanelSource>{parts[i]},
                   stack[i]));
    }
    return stack;
  }
  absl::StatusOr<PackedMatrix> PackGateUp(ThreadPool& pool, const TensorRef& gate,
                                          const TensorRef& up) override {
    FM_ASSIGN_OR_RETURN(const PackedMatrix matrix, from_.PackGateUp(pool, gate, up));
    return Recorded(PanelKind::kGateUp, {PartOf(gate), PartOf(up)}, matrix);
  }
  absl::StatusOr<std::vector<float>> Vector(const std::string& name, int64_t n,
                                            int64_t taps) override {
    FM_ASSIGN_OR_RETURN(std::vector<float> values, from_.Vector(name, n, taps));
    FM_RETURN_IF_ERROR(Record(name, values));
    return values;
  }
  absl::StatusOr<std::vector<float>> Row(const std::string& name, int64_t n, int64_t row,
                                         int64_t rows) override {
    FM_ASSIGN_OR_RETURN(std::vector<float> values, from_.Row(name, n, row, rows));
    FM_RETURN_IF_ERROR(Record(RowName(name, row, rows), values));
    return values;
  }
  absl::StatusOr<RowTable> Table(const TensorRef& ref) override {
    FM_ASSIGN_OR_RETURN(RowTable table, from_.Table(ref));
    if (table.codes != nullptr) {
      const PackedMatrix packed = PackedMatrix::Pack(pool_, *table.codes);
      FM_RETURN_IF_ERROR(Recorded(PanelKind::kTable, {PartOf(ref)}, packed).status());
      return table;
    }
    PanelEntry entry = {.kind = PanelKind::kTable,
                        .parts = {PartOf(ref)},
                        .n = ref.n,
                        .k = ref.k,
                        .dtype = table.plain.dtype,
                        .data = static_cast<const std::byte*>(table.plain.data),
                        .bytes = ref.n * ref.k * DTypeBytes(table.plain.dtype)};
    FM_RETURN_IF_ERROR(to_.Add(entry));
    return table;
  }

  absl::Status ExpectIntegers(const std::string& name, std::span<const int64_t> numbers) override {
    return from_.ExpectIntegers(name, numbers);
  }

  absl::StatusOr<WeightView> View(const TensorRef& ref) override { return from_.View(ref); }
  absl::StatusOr<WeightView> Keep(const TensorRef& ref) override { return from_.Keep(ref); }
  absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef& ref) override {
    return from_.Codes(ref);
  }
  absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                             const TensorRef& b) override {
    return from_.ViewPair(a, b);
  }

 protected:
  absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t, int64_t) override {
    return FailedPrecondition("'{}' was read past the packed file", name);
  }
  absl::StatusOr<std::vector<int32_t>> Integers(const std::string& name, int64_t rows, int64_t n,
                                                int64_t below) override {
    FM_ASSIGN_OR_RETURN(std::vector<int32_t> ids, from_.DistinctIds(name, rows, n, below));
    FM_RETURN_IF_ERROR(Record(name, std::vector<float>(ids.begin(), ids.end())));
    return ids;
  }
  void Release(std::span<const std::byte>) override {}

 private:
  absl::StatusOr<PackedMatrix> Recorded(PanelKind kind, std::vector<PanelSource> parts,
                                        const PackedMatrix& matrix) {
    const PanelEntry entry = {.kind = kind,
                              .parts = std::move(parts),
                              .n = matrix.n(),
                              .k = matrix.k(),
                              .dtype = matrix.dtype(),
                              .codes = matrix.codes(),
                              .data = matrix.panel(0),
                              .bytes = matrix.bytes()};
    FM_RETURN_IF_ERROR(to_.Add(entry));
    return PackedMatrix::Borrow(entry.n, entry.k, entry.dtype, entry.codes, nullptr);
  }
  absl::Status Record(const std::string& name, const std::vector<float>& values) {
    const auto n = static_cast<int64_t>(values.size());
    return to_.Add({.kind = PanelKind::kVector,
                    .parts = {{.name = name, .rows = n}},
                    .n = n,
                    .k = 1,
                    .data = reinterpret_cast<const std::byte*>(values.data()),
                    .bytes = n * static_cast<int64_t>(sizeof(float))});
  }

  WeightLoader& from_;
  PanelFileWriter& to_;
  ThreadPool& pool_;
};

}  // namespace

std::unique_ptr<WeightLoader> MakePanelLoader(const PanelFile& file) {
  return std::make_unique<PanelLoader>(file);
}

std::unique_ptr<WeightLoader> MakePanelRecorder(WeightLoader& from, PanelFileWriter& to,
                                                ThreadPool& pool) {
  return std::make_unique<PanelRecorder>(from, to, pool);
}

}  // namespace folkmoot
