// SPDX-License-Identifier: Apache-2.0
// A step of a memory that forgets, takes up a row and is read, as state spaces and lightning
// attention have it.
#include "runtime/cpu/simd-inl.h"

#if defined(FOLKMOOT_RUNTIME_CPU_DECAYING_STATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_DECAYING_STATE_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_DECAYING_STATE_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_DECAYING_STATE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// S = decay * S + b taken^T; read = S^T c. Rows of S are `stride` apart; read is summed in their
// order.
template <int64_t kBlocks>
HWY_INLINE void TakeAndRead(float* memory, int64_t stride, int64_t state_dim, VF decay,
                            const float* b, const Block (&taken)[kBlocks], const float* c,
                            Block (&read)[kBlocks]) {
  const DF d;
  for (Block& block : read) block = ZeroBlock();
  for (int64_t i = 0; i < state_dim; ++i) {
    float* row = memory + i * stride;
    const VF in = hn::Set(d, b[i]);
    const VF out = hn::Set(d, c[i]);
    for (int64_t n = 0; n < kBlocks; ++n) {
      for (size_t v = 0; v < kVectors; ++v) {
        const VF kept = hn::Mul(decay, hn::LoadU(d, row));
        const VF next = Fma(in, taken[n].v[v], kept);
        hn::StoreU(next, d, row);
        read[n].v[v] = Fma(next, out, read[n].v[v]);
        row += kVector;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_DECAYING_STATE_INL_H_
