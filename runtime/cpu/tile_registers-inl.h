// SPDX-License-Identifier: Apache-2.0
// The instructions of tile registers (tile_registers.h), for whoever holds what HasTileRegisters
// says. Highway 1.0 has no names for them.
#include <cstddef>
#include <cstdint>

#include "runtime/cpu/simd-inl.h"
#include "runtime/cpu/tile_registers.h"

#if defined(FOLKMOOT_RUNTIME_CPU_TILE_REGISTERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_TILE_REGISTERS_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_TILE_REGISTERS_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_TILE_REGISTERS_INL_H_
#endif

#if HWY_TARGET == HWY_AVX3_DL
HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kTileOutputs = 16;
constexpr int kTileRegisters = 8;  // GCC 12 does not allocate them: each instruction names its own

// The operand of ldtilecfg: the shapes of registers, of which those that are not set hold nothing.
struct alignas(64) TileShapes {
  void Set(int tile, int64_t tile_rows, int64_t row_bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    bytes[tile] = static_cast<uint16_t>(row_bytes);
  }

  uint8_t palette = 1;
  uint8_t start = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

HWY_INLINE void SetTileShapes(const TileShapes& shapes) {
  asm volatile("ldtilecfg %0" : : "m"(shapes));
}
HWY_INLINE void ReleaseTiles() { asm volatile("tilerelease"); }
template <int kTile>
HWY_INLINE void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
template <int kTile>
HWY_INLINE void LoadTile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(from), "r"(stride) : "memory");
}
template <int kTile>
HWY_INLINE void StoreTile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(kTile), "r"(to), "r"(stride) : "memory");
}
// sums += rows * columns, of bytes: rows that are not signed, or are, by signed columns.
template <int kSums, int kRows, int kColumns>
HWY_INLINE void AddUnsignedRows() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kRows), "i"(kColumns));
}
template <int kSums, int kRows, int kColumns>
HWY_INLINE void AddSignedRows() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kRows), "i"(kColumns));
}
// Of pairs of bfloat16. After Intel's manual the even halves make a chain of fused multiply-adds
// that starts at zero, the odd ones another, and their sum is added to `sums`; subnormal numbers
// are zero everywhere.
template <int kSums, int kRows, int kColumns>
HWY_INLINE void AddBf16Rows() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kRows), "i"(kColumns));
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif
#endif  // FOLKMOOT_RUNTIME_CPU_TILE_REGISTERS_INL_H_
