// SPDX-License-Identifier: Apache-2.0
// Matrix products against weights that were packed once at load time.
//
// Same bits: every output element is one float32 accumulator, started at zero and
// fused-multiply-added over k = 0, 1, .., K-1, whatever the number of rows, the tile, the thread or
// the instruction set. So a row's result never depends on its batch mates. (A bias is added after
// the sum.) Products with quantised weights have their own fixed order: runtime/cpu/
// code_kernel-inl.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "runtime/dtype.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// A weight matrix as a checkpoint stores it: [n, k] row-major, output n = sum over k. Does not own.
struct WeightView {
  const void* data = nullptr;
  DType dtype = DType::kF32;  // kF32, kBF16 or kF16
  int64_t n = 0;
  int64_t k = 0;
};

// How activations are rounded on their way into a product. kReduced gives accuracy away for
// instructions that newer processors have: bfloat16 beside BF16 weights, 8 bits, 16 or 32 values
// to a scale, beside integer and E2M1 codes (docs/adr/0017). Other weights know no difference.
// Results have the same bits on every processor either way, subnormal numbers apart.
enum class ActivationPrecision : uint8_t { kFull, kReduced };

// In which order products with BF16 weights are added up: one that every processor can keep, or
// the one of this processor's tile registers, where it has them, which is faster for many rows
// (docs/adr/0032). Both know neither batches nor threads; the bits of kNative are those of one kind
// of processor. Other weights know no difference.
enum class SumOrder : uint8_t { kPortable, kNative };

// How a matrix meets activations.
struct ProductRules {
  ActivationPrecision activations = ActivationPrecision::kFull;
  SumOrder order = SumOrder::kPortable;

  bool operator==(const ProductRules&) const = default;
};

// [n, k] laid out as panels of kPanel outputs, each panel contiguous in k, so that a thread walks
// one forward stream. Keeps the stored type: 16-bit weights are widened in registers, codes stay
// codes. Owns its memory, unless it comes from Borrow.
class PackedMatrix {
 public:
  static constexpr int64_t kPanel = 32;

  PackedMatrix() = default;
  static PackedMatrix Pack(ThreadPool& pool, const WeightView& weight);
  static PackedMatrix Pack(ThreadPool& pool, const CodeMatrix& weight);
  // Outputs of several matrices one after the other: room for `n` outputs like those of `weight`,
  // and then each matrix in turn, all of the same type and k.
  static PackedMatrix Reserve(int64_t n, const WeightView& weight);
  static PackedMatrix Reserve(int64_t n, const CodeMatrix& weight);
  void Append(ThreadPool& pool, const WeightView& weight);
  void Append(ThreadPool& pool, const CodeMatrix& weight);
  // Gate and up projections [n, k] each, interleaved 16 by 16 in a panel so that the activation can
  // be applied while both are in registers. n() is then 2 * gate.n.
  static PackedMatrix PackGateUp(ThreadPool& pool, const WeightView& gate, const WeightView& up);
  // Both of one CodeSpec.
  static PackedMatrix PackGateUp(ThreadPool& pool, const CodeMatrix& gate, const CodeMatrix& up);

  // Panels that were packed before, in memory of somebody else that lives longer: a packed file's.
  // `data` is 64-byte aligned and has BytesOf bytes.
  static PackedMatrix Borrow(int64_t n, int64_t k, DType dtype,
                             const std::optional<CodeSpec>& codes, const std::byte* data);
  static int64_t BytesOf(int64_t n, int64_t k, DType dtype, const std::optional<CodeSpec>& codes);

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  DType dtype() const { return dtype_; }                           // of plain weights
  const std::optional<CodeSpec>& codes() const { return codes_; }  // of quantised ones
  const ProductRules& rules() const { return rules_; }
  void set_rules(const ProductRules& rules) { rules_ = rules; }
  // Can rows that were rounded for this matrix meet the other?
  bool TakesRowsOf(const PackedMatrix& other) const {
    const bool as_given = codes_ || rules_ == ProductRules();
    return codes_ == other.codes_ && rules_ == other.rules_ && (as_given || dtype_ == other.dtype_);
  }
  bool empty() const { return n_ == 0; }
  int64_t bytes() const { return panels() * panel_bytes_; }
  int64_t panels() const { return (n_ + kPanel - 1) / kPanel; }
  const std::byte* panel(int64_t p) const { return data_.get() + p * panel_bytes_; }

 private:
  struct Free {
    int64_t bytes;  // 0: borrowed
    void operator()(std::byte* p) const;
  };
  PackedMatrix(int64_t n, int64_t k, int64_t panel_bytes);
  // pack(panel, its first gate, its gates): all panels of gate and up, by all threads.
  void FillPairs(ThreadPool& pool, int64_t outputs,
                 absl::FunctionRef<void(std::byte* panel, int64_t first, int64_t outputs)> pack);
  // pack(panel, first output of the matrix, its outputs, first column in the panel): the panels of
  // the next `outputs` outputs.
  void FillNext(
      ThreadPool& pool, int64_t outputs,
      absl::FunctionRef<void(std::byte* panel, int64_t first, int64_t outputs, int64_t column)>
          pack);

  int64_t n_ = 0;
  int64_t k_ = 0;
  int64_t panel_bytes_ = 0;
  int64_t filled_ = 0;  // outputs that Append has written
  DType dtype_ = DType::kF32;
  std::optional<CodeSpec> codes_;
  ProductRules rules_;
  std::unique_ptr<std::byte[], Free> data_;
};

// The codes of a packed matrix, read back row by row: embedding tables of packed files.
std::unique_ptr<CodeMatrix> CodesOf(PackedMatrix matrix);

// out [M, N] = x [M, K] * w^T (+ bias [N] when not empty). x and out may not overlap. Takes scratch
// from `workspace` and gives it back.
//
// ActivationPrecision::kReduced: x is rounded to bfloat16 first, or to 8-bit integers, by at most
// 1/254 of the largest of each 16 or 32 values. At kFull it stays as it is beside plain weights and
// E4M3. With other codes it is rounded to 16-bit integers first, 16 or 32 values to a scale:
// each value moves by at most about 2^-16 of the largest of them (all count as zero where that is
// below 1e-30), so |out - exact| is at most about 2^-16 sum over those chunks of max|x| * sum|w|,
// and rounding of float32 sums.
void Gemm(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, std::span<const float> bias,
          Workspace& workspace, Matrix out);

// The same for matrices side by side: out and bias have the columns of one after the other.
void GemmStack(ThreadPool& pool, ConstMatrix x, std::span<const PackedMatrix> stack,
               std::span<const float> bias, Workspace& workspace, Matrix out);

// act(gate) * up. kClampedSwiglu is that of gpt-oss: with g = min(gate, limit) and u = up within
// +-limit, g sigmoid(1.702 g) (u + 1). kReluSquared: max(x, 0)^2 (Nemotron-H). kLimitedSwiglu is
// that of Step-3.7: min(silu(gate), limit) u; kCappedSwiglu that of DeepSeek-V4: silu(g) u.
// kSoftcappedSwiglu is that of Inkling 2: cap(gate, limit) sigmoid(gate) cap(up, up_limit), where
// cap(x, limit) = limit tanh(x / limit).
enum class Activation : uint8_t {
  kSilu,
  kGelu,
  kGeluTanh,
  kRelu,
  kClampedSwiglu,
  kReluSquared,
  kLimitedSwiglu,
  kCappedSwiglu,
  kSoftcappedSwiglu
};

// One feed-forward network: down(act(gate x) * (up x)), or, without a gate, down(act(up x)).
struct GatedFfnWeights {
  PackedMatrix gate_up;                   // PackGateUp: [2I, H]; Pack: [I, H] without a gate
  PackedMatrix down;                      // [H, I]
  std::span<const float> gate_bias = {};  // [I] each or empty; not owned
  std::span<const float> up_bias = {};
  std::span<const float> down_bias = {};
  float limit = 0;     // of kClampedSwiglu and its kin; may be infinite
  float up_limit = 0;  // of kSoftcappedSwiglu
  bool gated = true;   // false: gate_bias is that of the one matrix

  int64_t outputs() const { return gated ? gate_up.n() / 2 : gate_up.n(); }
};

// Runs experts[e] over rows offsets[e] .. offsets[e + 1] of x [R, H] into the same rows of out [R,
// H]. `hidden` is scratch of at least [R, I]. A dense FFN is the case of one expert. Rows keep the
// same bits whatever the grouping. All experts have weights that take the same rows. Workspace as
// for Gemm.
void GroupedGatedFfn(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                     std::span<const int64_t> offsets, Activation activation, ConstMatrix x,
                     Workspace& workspace, Matrix hidden, Matrix out);

// Its two halves, for weights of which a rank holds some of the outputs: hidden [R, columns of
// gate_up] = act(gate x) * up x or act(up x), and out [R, columns of down] = down hidden, hidden
// [R, I].
void GroupedGateUp(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                   std::span<const int64_t> offsets, Activation activation, ConstMatrix x,
                   Workspace& workspace, Matrix hidden);
void GroupedDown(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                 std::span<const int64_t> offsets, ConstMatrix hidden, Workspace& workspace,
                 Matrix out);

}  // namespace folkmoot
