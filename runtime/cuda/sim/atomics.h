// SPDX-License-Identifier: Apache-2.0
// CUDA's atomics and fences for the simulator: real ones, as blocks of a cooperative launch and
// ranks in threads run at the same time.
#pragma once

#include <atomic>
#include <type_traits>

#include "runtime/cuda/sim/threads.h"

// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,google-explicit-constructor):
// the names are CUDA's.

inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { __threadfence(); }
inline void __threadfence_system() { __threadfence(); }
inline void __nanosleep(unsigned) { ::folkmoot::cuda::sim::SpinPause(); }

namespace folkmoot::cuda::sim {

template <typename T, typename Change>
T AtomicUpdate(T* address, const Change& change) {
  std::atomic_ref<T> reference(*address);
  T old = reference.load(std::memory_order_relaxed);
  while (!reference.compare_exchange_weak(old, change(old), std::memory_order_relaxed)) {
  }
  return old;
}

}  // namespace folkmoot::cuda::sim

#define FM_SIM_ATOMIC(name, expression)                                                   \
  template <typename T>                                                                   \
  T name(T* address, std::type_identity_t<T> value) {                                     \
    return ::folkmoot::cuda::sim::AtomicUpdate(                                           \
        address, [value]([[maybe_unused]] T old) { return static_cast<T>(expression); }); \
  }                                                                                       \
  template <typename T>                                                                   \
  T name##_system(T* address, std::type_identity_t<T> value) {                            \
    return name(address, value);                                                          \
  }                                                                                       \
  template <typename T>                                                                   \
  T name##_block(T* address, std::type_identity_t<T> value) {                             \
    return name(address, value);                                                          \
  }
FM_SIM_ATOMIC(atomicAdd, old + value)
FM_SIM_ATOMIC(atomicSub, old - value)
FM_SIM_ATOMIC(atomicExch, value)
FM_SIM_ATOMIC(atomicMin, value < old ? value : old)
FM_SIM_ATOMIC(atomicMax, old < value ? value : old)
FM_SIM_ATOMIC(atomicAnd, old& value)
FM_SIM_ATOMIC(atomicOr, old | value)
FM_SIM_ATOMIC(atomicXor, old ^ value)
FM_SIM_ATOMIC(atomicInc, old >= value ? T{0} : old + 1)
FM_SIM_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef FM_SIM_ATOMIC

template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*address).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}

// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,google-explicit-constructor)
