// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/tile_registers.h"

#include <atomic>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace folkmoot::cpu {
namespace {

std::atomic<bool> allowed{true};

bool AskForTileRegisters() {
#if defined(__x86_64__) && defined(__linux__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kBf16Products = 1U << 22;
  constexpr unsigned kTiles = 1U << 24;
  constexpr unsigned kByteProducts = 1U << 25;
  constexpr unsigned kAll = kBf16Products | kTiles | kByteProducts;
  if ((edx & kAll) != kAll) return false;
  // Linux from 5.16 on; the numbers are those of asm/prctl.h, which Debian 12 has not in full. It
  // refuses where a signal stack of the process has no room for the registers.
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool HasTileRegisters() {
  static const bool has = AskForTileRegisters();
  return has && allowed.load(std::memory_order_relaxed);
}

void AllowTileRegisters(bool allow) { allowed.store(allow, std::memory_order_relaxed); }

}  // namespace folkmoot::cpu
