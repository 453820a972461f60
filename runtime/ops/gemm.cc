// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/gemm.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/cpu/gemm.h"

namespace folkmoot {
namespace {

void CheckWeight(const WeightView& weight) {
  FM_CHECK(weight.dtype == DType::kF32 || weight.dtype == DType::kBF16 ||
           weight.dtype == DType::kF16);
  FM_CHECK(weight.n >= 0 && weight.k >= 0);
  FM_CHECK(weight.data != nullptr || weight.n * weight.k == 0);
}

}  // namespace

void PackedMatrix::Free::operator()(std::byte* p) const { cpu::FreePanels(p, bytes); }

PackedMatrix::PackedMatrix(int64_t n, int64_t k, DType dtype)
    : n_(n), k_(k), panel_bytes_(cpu::PanelBytes(dtype, k)), dtype_(dtype) {
  const int64_t size = panels() * panel_bytes_;
  data_ = {cpu::AllocatePanels(size), Free{size}};
}

PackedMatrix PackedMatrix::Pack(ThreadPool& pool, const WeightView& weight) {
  CheckWeight(weight);
  PackedMatrix packed(weight.n, weight.k, weight.dtype);
  pool.ParallelFor(packed.panels(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * kPanel;
      cpu::PackPanel({weight, first, std::min(kPanel, weight.n - first), 0},
                     packed.data_.get() + p * packed.panel_bytes_);
    }
  });
  return packed;
}

PackedMatrix PackedMatrix::PackGateUp(ThreadPool& pool, const WeightView& gate,
                                      const WeightView& up) {
  CheckWeight(gate);
  CheckWeight(up);
  FM_CHECK(gate.n == up.n && gate.k == up.k && gate.dtype == up.dtype);
  constexpr int64_t kHalf = kPanel / 2;
  PackedMatrix packed(2 * gate.n, gate.k, gate.dtype);
  pool.ParallelFor(packed.panels(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * kHalf;
      const int64_t rows = std::min(kHalf, gate.n - first);
      std::byte* panel = packed.data_.get() + p * packed.panel_bytes_;
      cpu::PackPanel({gate, first, rows, 0}, panel);
      cpu::PackPanel({up, first, rows, kHalf}, panel);
    }
  });
  return packed;
}

void Gemm(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, std::span<const float> bias,
          Matrix out) {
  FM_CHECK(x.cols == w.k() && out.cols == w.n() && out.rows == x.rows);
  FM_CHECK(bias.empty() || static_cast<int64_t>(bias.size()) == w.n());
  cpu::Gemm(pool, x, w, bias, out);
}

void GroupedGatedFfn(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                     std::span<const int64_t> offsets, Activation activation, ConstMatrix x,
                     Matrix hidden, Matrix out) {
  FM_CHECK(offsets.size() == experts.size() + 1);
  FM_CHECK(x.rows == out.rows && x.cols == out.cols && hidden.rows >= x.rows);
  for (size_t e = 0; e < experts.size(); ++e) {
    FM_CHECK(offsets[e] >= 0 && offsets[e] <= offsets[e + 1] && offsets[e + 1] <= x.rows);
    if (offsets[e] == offsets[e + 1]) continue;
    const GatedFfnWeights& ffn = *experts[e];
    const auto bias_fits = [](std::span<const float> bias, int64_t n) {
      return bias.empty() || static_cast<int64_t>(bias.size()) == n;
    };
    FM_CHECK(ffn.gate_up.k() == x.cols && ffn.gate_up.n() == 2 * ffn.down.k());
    FM_CHECK(ffn.down.n() == x.cols && hidden.cols >= ffn.down.k());
    FM_CHECK(bias_fits(ffn.gate_bias, ffn.down.k()) && bias_fits(ffn.up_bias, ffn.down.k()) &&
             bias_fits(ffn.down_bias, ffn.down.n()));
  }
  cpu::GroupedGatedFfn(pool, experts, offsets, activation, x, hidden, out);
}

}  // namespace folkmoot
