// SPDX-License-Identifier: Apache-2.0
// CUDA's device functions for the simulator: barriers, warp collectives, atomics, arithmetic.
#pragma once

#include <math.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "runtime/cuda/sim/threads.h"

// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,google-explicit-constructor):
// the names are CUDA's.

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) alignas(bytes)
#define __grid_constant__
#define __launch_bounds__(...)
#define __maxnreg__(...)

constexpr int warpSize = 32;

namespace folkmoot::cuda::sim {

// One lane's part in a shuffle: its value, the lane that it reads, what it got.
struct ShuffleLane {
  uint64_t value;
  int from;
  uint64_t result;
};

template <typename T>
uint64_t PackLane(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <typename T>
T UnpackLane(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

inline void CheckMask(const char* name, unsigned mask) {
  if (mask != 0xffffffffu) FailThread(std::string(name) + ": the mask is not full");
}

inline void ShuffleAll(void* const* payloads) {
  for (int i = 0; i < 32; ++i) {
    auto* lane = static_cast<ShuffleLane*>(payloads[i]);
    lane->result = static_cast<ShuffleLane*>(payloads[lane->from])->value;
  }
}
template <typename T>
T Shuffle(const char* name, unsigned mask, T value, int from, const Place& place) {
  CheckMask(name, mask);
  ShuffleLane lane{PackLane(value), from, 0};
  WarpCollective(name, &ShuffleAll, &lane, place);
  return UnpackLane<T>(lane.result);
}

// All lanes get op(...op(lane 0, lane 1)..., lane 31).
template <typename T, T (*Op)(T, T)>
T WarpReduce(const char* name, unsigned mask, T value, const Place& place) {
  CheckMask(name, mask);
  WarpCollective(
      name,
      [](void* const* payloads) {
        T total = *static_cast<T*>(payloads[0]);
        for (int i = 1; i < 32; ++i) total = Op(total, *static_cast<T*>(payloads[i]));
        for (int i = 0; i < 32; ++i) *static_cast<T*>(payloads[i]) = total;
      },
      &value, place);
  return value;
}
inline unsigned BitOr(unsigned a, unsigned b) { return a | b; }
inline unsigned BitAnd(unsigned a, unsigned b) { return a & b; }
inline unsigned BitXor(unsigned a, unsigned b) { return a ^ b; }
template <typename T>
T WrapAdd(T a, T b) {
  return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
}
template <typename T>
T Least(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
T Greatest(T a, T b) {
  return a < b ? b : a;
}
inline unsigned LaneId() { return current.linear % 32; }

}  // namespace folkmoot::cuda::sim

using FmSimPlace = ::folkmoot::cuda::sim::Place;
#define FM_SIM_HERE const FmSimPlace& place = FmSimPlace::Current()

inline void __syncthreads(FM_SIM_HERE) {
  ::folkmoot::cuda::sim::Barrier({.name = "__syncthreads", .same_place = true}, 0, place);
}
inline int __syncthreads_count(int predicate, FM_SIM_HERE) {
  return ::folkmoot::cuda::sim::Barrier({.name = "__syncthreads_count", .same_place = true},
                                        predicate != 0 ? 1 : 0, place);
}
inline int __syncthreads_or(int predicate, FM_SIM_HERE) {
  return __syncthreads_count(predicate, place) > 0 ? 1 : 0;
}
inline int __syncthreads_and(int predicate, FM_SIM_HERE) {
  return __syncthreads_count(predicate == 0 ? 1 : 0, place) == 0 ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, FM_SIM_HERE) {
  ::folkmoot::cuda::sim::CheckMask("__syncwarp", mask);
  ::folkmoot::cuda::sim::WarpCollective(
      "__syncwarp", [](void* const*) {}, nullptr, place);
}
inline unsigned __activemask() { return 0xffffffffu; }

// `width` cuts the warp into segments, as CUDA's does.
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, FM_SIM_HERE) {
  const int self = static_cast<int>(::folkmoot::cuda::sim::LaneId());
  const int from = (self & ~(width - 1)) | (lane & (width - 1));
  return ::folkmoot::cuda::sim::Shuffle("__shfl_sync", mask, value, from, place);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, FM_SIM_HERE) {
  const int self = static_cast<int>(::folkmoot::cuda::sim::LaneId());
  const int from = self - static_cast<int>(delta);
  return ::folkmoot::cuda::sim::Shuffle("__shfl_up_sync", mask, value,
                                        from < (self & ~(width - 1)) ? self : from, place);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, FM_SIM_HERE) {
  const int self = static_cast<int>(::folkmoot::cuda::sim::LaneId());
  const int from = self + static_cast<int>(delta);
  return ::folkmoot::cuda::sim::Shuffle("__shfl_down_sync", mask, value,
                                        from > (self | (width - 1)) ? self : from, place);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, FM_SIM_HERE) {
  const int self = static_cast<int>(::folkmoot::cuda::sim::LaneId());
  const int from = self ^ lanes;
  return ::folkmoot::cuda::sim::Shuffle("__shfl_xor_sync", mask, value,
                                        from > (self | (width - 1)) ? self : from, place);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, FM_SIM_HERE) {
  const unsigned bit = predicate != 0 ? 1u << ::folkmoot::cuda::sim::LaneId() : 0u;
  return ::folkmoot::cuda::sim::WarpReduce<unsigned, &::folkmoot::cuda::sim::BitOr>(
      "__ballot_sync", mask, bit, place);
}
inline int __any_sync(unsigned mask, int predicate, FM_SIM_HERE) {
  return __ballot_sync(mask, predicate, place) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, FM_SIM_HERE) {
  return __ballot_sync(mask, predicate, place) == 0xffffffffu ? 1 : 0;
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value, FM_SIM_HERE) {
  ::folkmoot::cuda::sim::CheckMask("__match_any_sync", mask);
  struct Lane {
    uint64_t value;
    unsigned equal;
  } lane{::folkmoot::cuda::sim::PackLane(value), 0};
  ::folkmoot::cuda::sim::WarpCollective(
      "__match_any_sync",
      [](void* const* payloads) {
        for (int i = 0; i < 32; ++i) {
          for (int j = 0; j < 32; ++j) {
            if (static_cast<Lane*>(payloads[i])->value == static_cast<Lane*>(payloads[j])->value) {
              static_cast<Lane*>(payloads[i])->equal |= 1u << j;
            }
          }
        }
      },
      &lane, place);
  return lane.equal;
}
#define FM_SIM_REDUCE(name, T, op)                        \
  inline T name(unsigned mask, T value, FM_SIM_HERE) {    \
    using namespace ::folkmoot::cuda::sim; /* NOLINT */   \
    return WarpReduce<T, &op>(#name, mask, value, place); \
  }
FM_SIM_REDUCE(__reduce_add_sync, unsigned, WrapAdd<unsigned>)
FM_SIM_REDUCE(__reduce_add_sync, int, WrapAdd<int>)
FM_SIM_REDUCE(__reduce_min_sync, unsigned, Least<unsigned>)
FM_SIM_REDUCE(__reduce_min_sync, int, Least<int>)
FM_SIM_REDUCE(__reduce_max_sync, unsigned, Greatest<unsigned>)
FM_SIM_REDUCE(__reduce_max_sync, int, Greatest<int>)
FM_SIM_REDUCE(__reduce_and_sync, unsigned, BitAnd)
FM_SIM_REDUCE(__reduce_or_sync, unsigned, BitOr)
FM_SIM_REDUCE(__reduce_xor_sync, unsigned, BitXor)
#undef FM_SIM_REDUCE

// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,google-explicit-constructor)
