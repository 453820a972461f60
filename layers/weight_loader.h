// SPDX-License-Identifier: Apache-2.0
// Reads named tensors of a model into the kernels' layout, from a checkpoint or, for benchmarks,
// from a seed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/tensor_ref.h"
#include "runtime/dtype.h"
#include "runtime/ops/gemm.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/quant/weight_format.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// A matrix whose rows are read in place: plain, or codes.
struct RowTable {
  WeightView plain;
  std::unique_ptr<CodeMatrix> codes;  // null when plain
};

// The shape of the tensor that `ref` is a part of.
std::vector<int64_t> StoredShape(const TensorRef& ref);

// That of the tensor of WeightLoader::Vector.
std::vector<int64_t> VectorShape(int64_t n, int64_t taps);

// Has a checkpoint the tensor as it is asked for? The experts of one tensor [E, I, H] may lie in
// [E * I, H] (DBRX), a vector in [1, 1, n, 1], and a matrix [n, k] in a kernel [n, k / rows, rows]:
// it is the same memory.
bool FitsShape(std::span<const int64_t> stored, std::span<const int64_t> wanted);

// What becomes of weights on their way into memory.
struct WeightOptions {
  // Converts matrices to this type while packing them; without one they stay as stored.
  std::optional<DType> dtype;
  // Rounds plain matrices to codes of this spec while packing them (runtime/quant/
  // round_to_nearest.h).
  std::optional<CodeSpec> rounding;
  // Of products with them, but for those of routers.
  ProductRules rules;
};

// The matrices of one feed-forward network: [I, H], [I, H] and [H, I]. Without a gate the first is
// `gate`, and `up` has no name.
struct GatedFfnTensors {
  TensorRef gate, up, down;

  bool gated() const { return !up.name.empty(); }
};

// Not thread-safe. Errors name the tensor, its file, its shape and the shape that config.json asks
// for.
class WeightLoader {
 public:
  virtual ~WeightLoader() = default;

  virtual bool Has(std::string_view name) const = 0;
  // Is it there as codes?
  virtual bool Coded(std::string_view) const { return false; }
  // The type in which a tensor is stored; nullopt: there is none of this name.
  virtual std::optional<DType> Stored(std::string_view name) const = 0;
  // The shape in which it is stored; empty: there is none of this name, or its shape is not known.
  virtual std::vector<int64_t> Shape(std::string_view) const { return {}; }
  // The rows of `ref` as stored; codes as numbers of the dtype that is set, or BF16. Valid until
  // the next call of View (a checkpoint's views live longer; see Keep).
  virtual absl::StatusOr<WeightView> View(const TensorRef& ref) = 0;
  // The same, valid for the loader's lifetime: for tables that are read in place (embeddings).
  virtual absl::StatusOr<WeightView> Keep(const TensorRef& ref) = 0;
  // The same as codes, when that is how it is stored; null when it is plain. The codes live as long
  // as the loader.
  virtual absl::StatusOr<std::unique_ptr<CodeMatrix>> Codes(const TensorRef& ref) = 0;
  // Two views that are alive at the same time.
  virtual absl::StatusOr<std::pair<WeightView, WeightView>> ViewPair(const TensorRef& a,
                                                                     const TensorRef& b) = 0;
  // A table whose rows are looked up: embeddings.
  virtual absl::StatusOr<RowTable> Table(const TensorRef& ref);
  // Whoever reads views itself says so when it is done with one: progress, and memory that the
  // loader may give back.
  void Report(const WeightView& view);
  void Report(const CodeMatrix& codes);

  // Quantised weights stay codes unless a dtype is set.
  virtual absl::StatusOr<PackedMatrix> Pack(ThreadPool& pool, const TensorRef& ref);
  virtual absl::StatusOr<PackedMatrix> PackGateUp(ThreadPool& pool, const TensorRef& gate,
                                                  const TensorRef& up);
  // Matrices that multiply the same rows: one whose outputs are those of all in turn, or, where
  // their types in memory differ, one for each.
  virtual absl::StatusOr<std::vector<PackedMatrix>> PackStack(ThreadPool& pool,
                                                              std::span<const TensorRef> refs);
  // A vector tensor [n] widened to float32; with `taps`, the kernel of a convolution, which is
  // stored as [n / taps, 1, taps], or a matrix that no product reads, [n / taps, taps].
  virtual absl::StatusOr<std::vector<float>> Vector(const std::string& name, int64_t n,
                                                    int64_t taps = 0);
  // Elements first .. first + count of it.
  absl::StatusOr<std::vector<float>> VectorPart(const std::string& name, int64_t n, int64_t first,
                                                int64_t count);
  // Row `row` of a tensor [rows, n], as biases of packed experts are stored, or of [1, n].
  virtual absl::StatusOr<std::vector<float>> Row(const std::string& name, int64_t n,
                                                 int64_t row = 0, int64_t rows = 1);

  // An integer tensor [rows, n] whose rows are different numbers of 0 .. below - 1 each, as tables
  // that send tokens to experts are.
  absl::StatusOr<std::vector<int32_t>> DistinctIds(const std::string& name, int64_t rows, int64_t n,
                                                   int64_t below);

  // An integer tensor that config.json says everything about, which files may have all the same:
  // fails where a file has other numbers.
  virtual absl::Status ExpectIntegers(const std::string& /*name*/,
                                      std::span<const int64_t> /*numbers*/) {
    return absl::OkStatus();
  }

  // For all that is asked for from now on.
  void set_options(const WeightOptions& options) { options_ = options; }
  std::optional<DType> dtype() const { return options_.dtype; }
  // Called with the number of bytes each time a tensor has been read.
  void set_progress(std::function<void(int64_t bytes)> progress) {
    progress_ = std::move(progress);
  }

 protected:
  virtual absl::StatusOr<WeightView> ViewVector(const std::string& name, int64_t n,
                                                int64_t taps) = 0;
  // An integer tensor [rows, n]; of a model without files numbers below `below`, different ones in
  // each row.
  virtual absl::StatusOr<std::vector<int32_t>> Integers(const std::string& name, int64_t rows,
                                                        int64_t n, int64_t below) = 0;
  // The loader may give memory of a view back that will not be read again.
  virtual void Release(std::span<const std::byte> bytes) = 0;
  void ReleaseView(const WeightView& view);
  // A packed matrix on its way out.
  PackedMatrix Finished(PackedMatrix matrix, bool exact) const {
    if (!exact) matrix.set_rules(options_.rules);
    return matrix;
  }
  // `bytes` of weights are there now: progress.
  void ReportRead(int64_t bytes) {
    if (progress_) progress_(bytes);
  }

 private:
  std::vector<float> Widen(const WeightView& view);
  // Appends to *packed, for which it makes room for `outputs` outputs when there is none yet.
  // `codes` are those of CodesToRun.
  absl::Status PackInto(ThreadPool& pool, const TensorRef& ref, const CodeMatrix* codes,
                        int64_t outputs, std::optional<PackedMatrix>* packed);
  bool AlikeInMemory(std::span<const TensorRef> refs,
                     std::span<const std::unique_ptr<CodeMatrix>> codes) const;
  // The codes of `ref` where products run on codes: null when it is plain or a dtype is set.
  absl::StatusOr<std::unique_ptr<CodeMatrix>> CodesToRun(const TensorRef& ref);
  WeightView Converted(const WeightView& view, std::vector<std::byte>* storage) const;

  // Why `ref` cannot be rounded; OK when it can, or when it is not to be.
  absl::Status CheckRounding(const TensorRef& ref) const;

  WeightOptions options_;
  std::function<void(int64_t)> progress_;
};

// `checkpoint` must outlive the loader and every model that keeps an embedding table. `format` is
// that of ModelConfig, null when all weights are plain.
std::unique_ptr<WeightLoader> MakeCheckpointLoader(const Checkpoint& checkpoint,
                                                   std::shared_ptr<const WeightFormat> format);

// Random weights of the right shapes: normal with deviation 1/sqrt(k) for matrices, 1 for
// embeddings and norms, 0 for biases; a tensor's values depend on the seed and its name only. Large
// tensors repeat one run of 65521 values, so that a model of many gigabytes is there in seconds.
// Stored as `dtype`. Packed expert tensors do not exist.
std::unique_ptr<WeightLoader> MakeDummyLoader(uint64_t seed, DType dtype);

}  // namespace folkmoot
