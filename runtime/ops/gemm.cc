// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/gemm.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/cpu/code_panel.h"
#include "runtime/cpu/gemm.h"

namespace folkmoot {
namespace {

void CheckWeight(const WeightView& weight) {
  FM_CHECK(weight.dtype == DType::kF32 || weight.dtype == DType::kBF16 ||
           weight.dtype == DType::kF16);
  FM_CHECK(weight.n >= 0 && weight.k >= 0);
  FM_CHECK(weight.data != nullptr || weight.n * weight.k == 0);
}

void CheckWeight(const CodeMatrix& weight) {
  FM_CHECK(WhyNotRunnable(weight.spec(), weight.k()).empty());
}

int64_t PanelBytes(int64_t k, DType dtype, const std::optional<CodeSpec>& codes) {
  return codes ? cpu::CodePanelShape::Of(*codes, k).bytes() : cpu::PanelBytes(dtype, k);
}

// A row of codes is a column of its panel.
class PackedCodes : public CodeMatrix {
 public:
  explicit PackedCodes(PackedMatrix matrix)
      : CodeMatrix(matrix.n(), matrix.k(), *matrix.codes()), matrix_(std::move(matrix)) {}
  void ReadRow(int64_t row, const CodeRow& out) const override {
    cpu::UnpackCodes(spec(), k(), matrix_.panel(row / PackedMatrix::kPanel),
                     row % PackedMatrix::kPanel, out);
  }

 private:
  PackedMatrix matrix_;
};

void CheckOffsets(size_t experts, std::span<const int64_t> offsets, int64_t rows) {
  FM_CHECK(offsets.size() == experts + 1);
  for (size_t e = 0; e < experts; ++e) {
    FM_CHECK(offsets[e] >= 0 && offsets[e] <= offsets[e + 1] && offsets[e + 1] <= rows);
  }
}

bool BiasFits(std::span<const float> bias, int64_t n) {
  return bias.empty() || static_cast<int64_t>(bias.size()) == n;
}

}  // namespace

void PackedMatrix::Free::operator()(std::byte* p) const {
  if (bytes > 0) cpu::FreePanels(p, bytes);
}

int64_t PackedMatrix::BytesOf(int64_t n, int64_t k, DType dtype,
                              const std::optional<CodeSpec>& codes) {
  return (n + kPanel - 1) / kPanel * PanelBytes(k, dtype, codes);
}

PackedMatrix PackedMatrix::Borrow(int64_t n, int64_t k, DType dtype,
                                  const std::optional<CodeSpec>& codes, const std::byte* data) {
  PackedMatrix matrix;
  matrix.n_ = n;
  matrix.k_ = k;
  matrix.panel_bytes_ = PanelBytes(k, dtype, codes);
  matrix.dtype_ = dtype;
  matrix.codes_ = codes;
  matrix.data_ = {const_cast<std::byte*>(data), Free{0}};  // panel() gives it out as const
  return matrix;
}

std::unique_ptr<CodeMatrix> CodesOf(PackedMatrix matrix) {
  FM_CHECK(matrix.codes().has_value());
  return std::make_unique<PackedCodes>(std::move(matrix));
}

PackedMatrix::PackedMatrix(int64_t n, int64_t k, int64_t panel_bytes)
    : n_(n), k_(k), panel_bytes_(panel_bytes) {
  const int64_t size = panels() * panel_bytes_;
  data_ = {cpu::AllocatePanels(size), Free{size}};
}

void PackedMatrix::FillPairs(
    ThreadPool& pool, int64_t outputs,
    absl::FunctionRef<void(std::byte* panel, int64_t first, int64_t outputs)> pack) {
  constexpr int64_t kHalf = kPanel / 2;
  pool.ParallelFor(panels(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * kHalf;
      pack(data_.get() + p * panel_bytes_, first, std::min(kHalf, outputs - first));
    }
  });
}

void PackedMatrix::FillNext(
    ThreadPool& pool, int64_t outputs,
    absl::FunctionRef<void(std::byte* panel, int64_t first, int64_t outputs, int64_t column)>
        pack) {
  FM_CHECK(filled_ + outputs <= n_);
  const int64_t begin = filled_;
  const int64_t end = filled_ + outputs;
  const int64_t first_panel = begin / kPanel;
  pool.ParallelFor(
      (end + kPanel - 1) / kPanel - first_panel, 1, [&](int64_t from, int64_t to, int) {
        for (int64_t p = first_panel + from; p < first_panel + to; ++p) {
          const int64_t first = std::max(begin, p * kPanel);
          const int64_t last = std::min(end, (p + 1) * kPanel);
          if (first >= last) continue;
          pack(data_.get() + p * panel_bytes_, first - begin, last - first, first - p * kPanel);
        }
      });
  filled_ = end;
}

PackedMatrix PackedMatrix::Reserve(int64_t n, const WeightView& weight) {
  CheckWeight(weight);
  PackedMatrix packed(n, weight.k, cpu::PanelBytes(weight.dtype, weight.k));
  packed.dtype_ = weight.dtype;
  return packed;
}

void PackedMatrix::Append(ThreadPool& pool, const WeightView& weight) {
  CheckWeight(weight);
  FM_CHECK(!codes_ && weight.dtype == dtype_ && weight.k == k_);
  FillNext(pool, weight.n, [&](std::byte* panel, int64_t first, int64_t outputs, int64_t column) {
    cpu::PackPanel({weight, first, outputs, column}, panel);
  });
}

PackedMatrix PackedMatrix::Reserve(int64_t n, const CodeMatrix& weight) {
  CheckWeight(weight);
  PackedMatrix packed(n, weight.k(), cpu::CodePanelShape::Of(weight.spec(), weight.k()).bytes());
  packed.codes_ = weight.spec();
  return packed;
}

void PackedMatrix::Append(ThreadPool& pool, const CodeMatrix& weight) {
  FM_CHECK(codes_ && weight.spec() == *codes_ && weight.k() == k_);
  FillNext(pool, weight.n(), [&](std::byte* panel, int64_t first, int64_t outputs, int64_t column) {
    CodeRowBuffer row(weight);
    cpu::PackCodePanel({weight, first, outputs, column}, row.row(), panel);
  });
}

PackedMatrix PackedMatrix::Pack(ThreadPool& pool, const WeightView& weight) {
  PackedMatrix packed = Reserve(weight.n, weight);
  packed.Append(pool, weight);
  return packed;
}

PackedMatrix PackedMatrix::PackGateUp(ThreadPool& pool, const WeightView& gate,
                                      const WeightView& up) {
  CheckWeight(gate);
  CheckWeight(up);
  FM_CHECK(gate.n == up.n && gate.k == up.k && gate.dtype == up.dtype);
  PackedMatrix packed(2 * gate.n, gate.k, cpu::PanelBytes(gate.dtype, gate.k));
  packed.dtype_ = gate.dtype;
  packed.FillPairs(pool, gate.n, [&](std::byte* panel, int64_t first, int64_t outputs) {
    cpu::PackPanel({gate, first, outputs, 0}, panel);
    cpu::PackPanel({up, first, outputs, kPanel / 2}, panel);
  });
  return packed;
}

PackedMatrix PackedMatrix::Pack(ThreadPool& pool, const CodeMatrix& weight) {
  PackedMatrix packed = Reserve(weight.n(), weight);
  packed.Append(pool, weight);
  return packed;
}

PackedMatrix PackedMatrix::PackGateUp(ThreadPool& pool, const CodeMatrix& gate,
                                      const CodeMatrix& up) {
  CheckWeight(gate);
  FM_CHECK(gate.n() == up.n() && gate.k() == up.k() && gate.spec() == up.spec());
  PackedMatrix packed(2 * gate.n(), gate.k(),
                      cpu::CodePanelShape::Of(gate.spec(), gate.k()).bytes());
  packed.codes_ = gate.spec();
  packed.FillPairs(pool, gate.n(), [&](std::byte* panel, int64_t first, int64_t outputs) {
    CodeRowBuffer row(gate);
    cpu::PackCodePanel({gate, first, outputs, 0}, row.row(), panel);
    cpu::PackCodePanel({up, first, outputs, kPanel / 2}, row.row(), panel);
  });
  return packed;
}

void Gemm(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, std::span<const float> bias,
          Workspace& workspace, Matrix out) {
  FM_CHECK(x.cols == w.k() && out.cols == w.n() && out.rows == x.rows);
  FM_CHECK(bias.empty() || static_cast<int64_t>(bias.size()) == w.n());
  cpu::Gemm(pool, x, w, bias, workspace, out);
}

void GemmStack(ThreadPool& pool, ConstMatrix x, std::span<const PackedMatrix> stack,
               std::span<const float> bias, Workspace& workspace, Matrix out) {
  int64_t column = 0;
  for (const PackedMatrix& w : stack) {
    std::span<const float> own = bias;
    if (!bias.empty()) own = bias.subspan(static_cast<size_t>(column), static_cast<size_t>(w.n()));
    Gemm(pool, x, w, own, workspace, out.Columns(column, w.n()));
    column += w.n();
  }
}

void GroupedGateUp(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                   std::span<const int64_t> offsets, Activation activation, ConstMatrix x,
                   Workspace& workspace, Matrix hidden) {
  CheckOffsets(experts.size(), offsets, x.rows);
  FM_CHECK(hidden.rows >= x.rows);
  for (size_t e = 0; e < experts.size(); ++e) {
    if (offsets[e] == offsets[e + 1]) continue;
    const GatedFfnWeights& ffn = *experts[e];
    const int64_t outputs = ffn.outputs();
    FM_CHECK(ffn.gate_up.TakesRowsOf(experts[0]->gate_up));
    FM_CHECK(ffn.gate_up.k() == x.cols && hidden.cols >= outputs);
    FM_CHECK(BiasFits(ffn.gate_bias, outputs) && BiasFits(ffn.up_bias, outputs));
  }
  cpu::GroupedGateUp(pool, experts, offsets, activation, x, workspace, hidden);
}

void GroupedDown(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                 std::span<const int64_t> offsets, ConstMatrix hidden, Workspace& workspace,
                 Matrix out) {
  CheckOffsets(experts.size(), offsets, out.rows);
  FM_CHECK(hidden.rows >= out.rows);
  for (size_t e = 0; e < experts.size(); ++e) {
    if (offsets[e] == offsets[e + 1]) continue;
    const GatedFfnWeights& ffn = *experts[e];
    FM_CHECK(ffn.down.TakesRowsOf(experts[0]->down));
    FM_CHECK(ffn.down.k() == experts[0]->down.k() && ffn.down.k() <= hidden.cols);
    FM_CHECK(ffn.down.n() == out.cols && BiasFits(ffn.down_bias, ffn.down.n()));
  }
  cpu::GroupedDown(pool, experts, offsets, hidden.Rows(0, out.rows), workspace, out);
}

void GroupedGatedFfn(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                     std::span<const int64_t> offsets, Activation activation, ConstMatrix x,
                     Workspace& workspace, Matrix hidden, Matrix out) {
  FM_CHECK(x.rows == out.rows && x.cols == out.cols);
  GroupedGateUp(pool, experts, offsets, activation, x, workspace, hidden);
  GroupedDown(pool, experts, offsets, hidden, workspace, out);
}

}  // namespace folkmoot
