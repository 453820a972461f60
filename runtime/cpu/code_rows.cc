// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/code_rows.h"

#include <limits>

#include "runtime/cpu/code_panel.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/code_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_CODE_ROWS_ONCE_
#define FOLKMOOT_RUNTIME_CPU_CODE_ROWS_ONCE_
namespace folkmoot::cpu {

struct QuantizeJob {
  ConstMatrix x;
  int64_t chunk;
  int64_t chunks;  // per row
  int16_t* q;
  float* scales;
  int32_t* sums;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_CODE_ROWS_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// `count` values, a multiple of 16, to integers. Lanes are only compared or added as integers, so
// their order does not matter.
HWY_INLINE void QuantizeChunk(const float* x, int64_t count, int16_t* q, float* scale,
                              int32_t* sum) {
  // Below this the inverse of the scale would overflow: such values count as zero.
  constexpr float kTiny = 1e-30f;
  constexpr float kLargest = 32767.0f;
  constexpr auto kStep = static_cast<int64_t>(kVector);
  const DF d;
  const DI di;
  const hn::Rebind<int16_t, DF> d16;
  VF top = hn::Zero(d);
  VF poison = hn::Zero(d);  // becomes NaN where a value is NaN or infinite
  for (int64_t i = 0; i < count; i += kStep) {
    const VF v = hn::LoadU(d, x + i);
    top = hn::Max(top, hn::Abs(v));
    poison = Fma(v, hn::Zero(d), poison);
  }
  const bool finite = hn::AllTrue(d, hn::Eq(poison, poison));
  const float largest = hn::GetLane(hn::MaxOfLanes(d, top));
  if (!finite || largest < kTiny) {
    std::memset(q, 0, static_cast<size_t>(count) * sizeof(int16_t));
    *scale = finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    *sum = 0;
    return;
  }
  const VF inverse = hn::Set(d, kLargest / largest);
  const VF magic = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  auto total = hn::Zero(di);
  for (int64_t i = 0; i < count; i += kStep) {
    const VF shifted = Fma(hn::LoadU(d, x + i), inverse, magic);
    const auto rounded = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, magic));
    total = hn::Add(total, rounded);
    hn::StoreU(hn::DemoteTo(d16, rounded), d16, q + i);
  }
  *scale = largest / kLargest;
  *sum = hn::GetLane(hn::SumOfLanes(di, total));
}

// Chunks begin .. end, counted through all rows.
void QuantizeChunks(const QuantizeJob& job, int64_t begin, int64_t end) {
  HWY_ALIGN float padded[32];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t first = i % job.chunks * job.chunk;
    const float* x = job.x.Row(i / job.chunks) + first;
    if (job.x.cols - first < job.chunk) {  // the end of a row whose chunks are not all full
      std::memset(padded, 0, sizeof(padded));
      std::memcpy(padded, x, static_cast<size_t>(job.x.cols - first) * sizeof(float));
      x = padded;
    }
    QuantizeChunk(x, job.chunk, job.q + i * job.chunk, job.scales + i, job.sums + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(QuantizeChunks);
constexpr int64_t kMinValues = int64_t{1} << 15;  // worth waking a thread for

CodeRows QuantizeRows(ThreadPool& pool, ConstMatrix x, int64_t chunk, Workspace& workspace) {
  const int64_t chunks = (x.cols + chunk - 1) / chunk;
  const int64_t stride = chunks * chunk;
  const QuantizeJob job = {.x = x,
                           .chunk = chunk,
                           .chunks = chunks,
                           .q = workspace.Get<int16_t>(x.rows * stride).data(),
                           .scales = workspace.Get<float>(x.rows * chunks).data(),
                           .sums = workspace.Get<int32_t>(x.rows * chunks).data()};
  pool.ParallelFor(x.rows * chunks, kMinValues / chunk, [&](int64_t begin, int64_t end, int) {
    HWY_DYNAMIC_DISPATCH(QuantizeChunks)(job, begin, end);
  });
  return {job.q, stride, job.scales, job.sums, chunks};
}

}  // namespace

ProductRows PrepareRows(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w,
                        Workspace& workspace) {
  if (!w.codes()) return {.x = x};
  const CodePanelShape shape = CodePanelShape::Of(*w.codes(), w.k());
  if (shape.type == CodeType::kFp8) return {.x = x, .shape = shape};
  return {.x = x, .shape = shape, .codes = QuantizeRows(pool, x, shape.chunk, workspace)};
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
