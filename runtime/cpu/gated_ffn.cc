// SPDX-License-Identifier: Apache-2.0
// GroupedGateUp and GroupedDown: two phases with one barrier each, and another one before each
// whose rows are rounded first (product_rows.h). A phase is a line of
// units (expert, row block, panel); each unit has a cost, and every thread takes the units that
// begin in its share of the total, so that few rows on few experts still occupy all threads.
#include "runtime/cpu/gemm.h"
#include "runtime/cpu/panel.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/gated_ffn.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/activation-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_GATED_FFN_ONCE_
#define FOLKMOOT_RUNTIME_CPU_GATED_FFN_ONCE_
namespace folkmoot::cpu {

struct FfnJob {
  std::span<const GatedFfnWeights* const> experts;
  std::span<const int64_t> offsets;
  Activation activation = Activation::kSilu;
  ProductRows in;     // x, or hidden
  Matrix out;         // hidden, or out
  bool down = false;  // the second phase

  const PackedMatrix& Weights(size_t expert) const {
    return down ? experts[expert]->down : experts[expert]->gate_up;
  }
  int64_t Rows(size_t expert) const { return offsets[expert + 1] - offsets[expert]; }
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_GATED_FFN_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// The sums hold 16 gate and 16 up values per row: hidden = act(gate) * up.
HWY_INLINE void StoreHidden(const FfnJob& job, const GatedFfnWeights& ffn, const float* sums,
                            int64_t column, float* hidden) {
  const int64_t count = std::min<int64_t>(kLanes, ffn.outputs() - column);
  Block gate = LoadBlock(sums);
  Block up = LoadBlock(sums + kLanes);
  if (!ffn.gate_bias.empty()) {
    const Block bias = LoadBlockN(ffn.gate_bias.data() + column, count);
    for (size_t i = 0; i < kVectors; ++i) gate.v[i] = hn::Add(gate.v[i], bias.v[i]);
  }
  if (!ffn.up_bias.empty()) {
    const Block bias = LoadBlockN(ffn.up_bias.data() + column, count);
    for (size_t i = 0; i < kVectors; ++i) up.v[i] = hn::Add(up.v[i], bias.v[i]);
  }
  for (size_t i = 0; i < kVectors; ++i) {
    if (job.activation == Activation::kClampedSwiglu) {
      up.v[i] = ClampedSwiglu(gate.v[i], up.v[i], ffn.limit);
    } else if (job.activation == Activation::kLimitedSwiglu) {
      up.v[i] = LimitedSwiglu(gate.v[i], up.v[i], ffn.limit);
    } else if (job.activation == Activation::kCappedSwiglu) {
      up.v[i] = CappedSwiglu(gate.v[i], up.v[i], ffn.limit);
    } else if (job.activation == Activation::kSoftcappedSwiglu) {
      up.v[i] = SoftcappedSwiglu(gate.v[i], up.v[i], ffn.limit, ffn.up_limit);
    } else {
      up.v[i] = hn::Mul(Activate(job.activation, gate.v[i]), up.v[i]);
    }
  }
  StoreBlockN(up, hidden, count);
}

// Without a gate the sums hold 32 values per row: hidden = act(up).
HWY_INLINE void StoreUngated(const FfnJob& job, const GatedFfnWeights& ffn, const float* sums,
                             int64_t column, float* hidden) {
  for (int64_t part = 0; part < PackedMatrix::kPanel; part += static_cast<int64_t>(kLanes)) {
    const int64_t count = std::min<int64_t>(kLanes, ffn.outputs() - column - part);
    if (count <= 0) return;
    Block up = LoadBlock(sums + part);
    if (!ffn.gate_bias.empty()) {
      const Block bias = LoadBlockN(ffn.gate_bias.data() + column + part, count);
      for (size_t i = 0; i < kVectors; ++i) up.v[i] = hn::Add(up.v[i], bias.v[i]);
    }
    for (size_t i = 0; i < kVectors; ++i) up.v[i] = Activate(job.activation, up.v[i]);
    StoreBlockN(up, hidden + part, count);
  }
}

HWY_INLINE void StoreOut(const GatedFfnWeights& ffn, const float* sums, int64_t column,
                         float* out) {
  const int64_t cols = std::min(PackedMatrix::kPanel, ffn.down.n() - column);
  for (int64_t c = 0; c < cols; ++c) {
    out[c] =
        ffn.down_bias.empty() ? sums[c] : sums[c] + ffn.down_bias[static_cast<size_t>(column + c)];
  }
}

// One panel over rows row .. row + count of the batch.
void FfnUnit(const FfnJob& job, size_t expert, int64_t panel, int64_t row, int64_t count) {
  // Aligned as the widest target of RunPanel wants.
  alignas(64) float sums[kMostRowBlock * PackedMatrix::kPanel];
  const GatedFfnWeights& ffn = *job.experts[expert];
  const PackedMatrix& w = job.Weights(expert);
  RunPanel(w, panel, job.in, row, count, sums);
  const bool pairs = !job.down && ffn.gated;
  const int64_t column = panel * (pairs ? PackedMatrix::kPanel / 2 : PackedMatrix::kPanel);
  for (int64_t r = 0; r < count; ++r) {
    const float* row_sums = sums + r * PackedMatrix::kPanel;
    if (job.down) {
      StoreOut(ffn, row_sums, column, job.out.Row(row + r) + column);
    } else if (!ffn.gated) {
      StoreUngated(job, ffn, row_sums, column, job.out.Row(row + r) + column);
    } else {
      StoreHidden(job, ffn, row_sums, column, job.out.Row(row + r) + column);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(FfnUnit);

constexpr int64_t kMinWork = int64_t{1} << 16;  // multiply-adds worth another thread

// Multiply-adds of a unit in units of k: below four rows the time goes into reading the weights.
int64_t UnitCost(const PackedMatrix& w, int64_t rows) { return w.k() * std::max<int64_t>(rows, 4); }

int64_t TotalCost(const FfnJob& job) {
  int64_t total = 0;
  for (size_t e = 0; e < job.experts.size(); ++e) {
    const RowBlocks blocks(job.Rows(e), job.in.row_block);
    for (int64_t b = 0; b < blocks.blocks; ++b) {
      total +=
          job.Weights(e).panels() * UnitCost(job.Weights(e), blocks.First(b + 1) - blocks.First(b));
    }
  }
  return total;
}

// Runs every unit whose place on the line of costs begins in [begin, end).
void RunShare(const FfnJob& job, int64_t begin, int64_t end) {
  int64_t place = 0;
  for (size_t e = 0; e < job.experts.size() && place < end; ++e) {
    if (job.Rows(e) == 0) continue;
    const PackedMatrix& w = job.Weights(e);
    const RowBlocks blocks(job.Rows(e), job.in.row_block);
    for (int64_t b = 0; b < blocks.blocks && place < end; ++b) {
      const int64_t rows = blocks.First(b + 1) - blocks.First(b);
      const int64_t cost = UnitCost(w, rows);
      const int64_t first = std::clamp<int64_t>((begin - place + cost - 1) / cost, 0, w.panels());
      const int64_t last = std::clamp<int64_t>((end - place + cost - 1) / cost, 0, w.panels());
      for (int64_t panel = first; panel < last; ++panel) {
        HWY_DYNAMIC_DISPATCH(FfnUnit)(job, e, panel, job.offsets[e] + blocks.First(b), rows);
      }
      place += cost * w.panels();
    }
  }
}

// Both phases: rows `in` of x, or of hidden.
void Run(ThreadPool& pool, FfnJob job, ConstMatrix in, Workspace& workspace) {
  // Any expert with rows: all have weights of one kind.
  const PackedMatrix* some = nullptr;
  int64_t busy = 0;
  for (size_t e = 0; e < job.experts.size(); ++e) {
    if (job.Rows(e) == 0) continue;
    some = &job.Weights(e);
    ++busy;
  }
  if (some == nullptr) return;
  const Workspace::Position mark = workspace.Mark();
  job.in =
      PrepareRows(pool, {in.data, in.rows, some->k(), in.stride}, *some, in.rows / busy, workspace);
  pool.ParallelFor(TotalCost(job), kMinWork / PackedMatrix::kPanel,
                   [&](int64_t begin, int64_t end, int) { RunShare(job, begin, end); });
  workspace.Release(mark);
}

}  // namespace

void GroupedGateUp(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                   std::span<const int64_t> offsets, Activation activation, ConstMatrix x,
                   Workspace& workspace, Matrix hidden) {
  Run(pool,
      {.experts = experts, .offsets = offsets, .activation = activation, .in = {}, .out = hidden},
      x, workspace);
}

void GroupedDown(ThreadPool& pool, std::span<const GatedFfnWeights* const> experts,
                 std::span<const int64_t> offsets, ConstMatrix hidden, Workspace& workspace,
                 Matrix out) {
  Run(pool, {.experts = experts, .offsets = offsets, .in = {}, .out = out, .down = true}, hidden,
      workspace);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
