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

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// One block of 16 values to integers; returns their sum.
HWY_INLINE int32_t QuantizeBlock(const Block& x, float inverse, int16_t* q) {
  const DF d;
  const DI di;
  const hn::Rebind<int16_t, DF> d16;
  const VF magic = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  HWY_ALIGN int32_t lanes[kLanes];
  for (size_t i = 0; i < kVectors; ++i) {
    const VF shifted = Fma(x.v[i], hn::Set(d, inverse), magic);
    const auto rounded = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, magic));
    hn::Store(rounded, di, lanes + i * kVector);
    hn::StoreU(hn::DemoteTo(d16, rounded), d16, q + i * kVector);
  }
  int32_t sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

void QuantizeChunk(const float* x, int64_t count, int64_t chunk, int16_t* q, float* scale,
                   int32_t* sum) {
  // Below this the inverse of the scale would overflow: such values count as zero.
  constexpr float kTiny = 1e-30f;
  constexpr float kLargest = 32767.0f;
  const DF d;
  Block blocks[2];
  VF top = hn::Zero(d);
  VF poison = hn::Zero(d);  // becomes NaN where a value is NaN or infinite
  const int64_t parts = chunk / static_cast<int64_t>(kLanes);
  for (int64_t b = 0; b < parts; ++b) {
    const int64_t first = b * static_cast<int64_t>(kLanes);
    blocks[b] = first < count ? LoadBlockN(x + first, count - first) : ZeroBlock();
    for (size_t i = 0; i < kVectors; ++i) {
      top = hn::Max(top, hn::Abs(blocks[b].v[i]));
      poison = Fma(blocks[b].v[i], hn::Zero(d), poison);
    }
  }
  HWY_ALIGN float lanes[kVector];
  hn::Store(top, d, lanes);
  float largest = 0;
  for (const float lane : lanes) largest = std::max(largest, lane);
  hn::Store(poison, d, lanes);
  float bad = 0;
  for (const float lane : lanes) bad += lane;
  if (bad != 0 || !(largest >= kTiny)) {
    std::memset(q, 0, static_cast<size_t>(chunk) * sizeof(int16_t));
    *scale = bad != 0 ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
    *sum = 0;
    return;
  }
  *scale = largest / kLargest;
  *sum = 0;
  for (int64_t b = 0; b < parts; ++b) {
    *sum += QuantizeBlock(blocks[b], kLargest / largest, q + b * static_cast<int64_t>(kLanes));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(QuantizeChunk);
constexpr int64_t kMinValues = int64_t{1} << 15;  // worth waking a thread for
}  // namespace

CodeRows QuantizeRows(ThreadPool& pool, ConstMatrix x, int64_t chunk, Workspace& workspace) {
  const int64_t chunks = (x.cols + chunk - 1) / chunk;
  const int64_t stride = chunks * chunk;
  int16_t* q = workspace.Get<int16_t>(x.rows * stride).data();
  float* scales = workspace.Get<float>(x.rows * chunks).data();
  int32_t* sums = workspace.Get<int32_t>(x.rows * chunks).data();
  pool.ParallelFor(x.rows * chunks, kMinValues / chunk, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % chunks * chunk;
      HWY_DYNAMIC_DISPATCH(QuantizeChunk)
      (x.Row(i / chunks) + first, x.cols - first, chunk, q + i * chunk, scales + i, sums + i);
    }
  });
  return {q, stride, scales, sums, chunks};
}

ProductRows PrepareRows(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w,
                        Workspace& workspace) {
  if (!w.codes() || w.codes()->type == CodeType::kFp8) return {x, {}};
  const int64_t chunk = CodePanelShape::Of(*w.codes(), w.k()).chunk;
  return {x, QuantizeRows(pool, x, chunk, workspace)};
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
