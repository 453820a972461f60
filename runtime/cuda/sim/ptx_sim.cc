// SPDX-License-Identifier: Apache-2.0
// Emulation of ldmatrix and mma.m16n8k16 from their fragment layouts (PTX ISA 9.0, 9.7.14).
#include "runtime/cuda/sim/ptx_sim.h"

#include <fmt/format.h>

#include <array>

#include "runtime/dtype.h"

namespace folkmoot::cuda {
namespace sim {
namespace {

constexpr int kWarpLanes = 32;

struct LdMatrixLane {
  uint32_t* r;
  int matrices;
  bool transposed;
  const void* row;
};

uint16_t Half16(const void* row, int i) {
  uint16_t bits;
  std::memcpy(&bits, static_cast<const unsigned char*>(row) + 2 * i, 2);
  return bits;
}

void LdMatrixAll(void* const* payloads) {
  const auto lane = [&](int l) { return static_cast<LdMatrixLane*>(payloads[l]); };
  std::array<std::array<uint32_t, 4>, kWarpLanes> result{};
  for (int l = 0; l < kWarpLanes; ++l) {
    for (int m = 0; m < lane(0)->matrices; ++m) {
      const auto element = [&](int row, int column) {
        return uint32_t{Half16(lane(8 * m + row)->row, column)};
      };
      const int g = l / 4;
      const int t = l % 4;
      result[static_cast<size_t>(l)][static_cast<size_t>(m)] =
          lane(0)->transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                              : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
  }
  for (int l = 0; l < kWarpLanes; ++l) {
    std::memcpy(lane(l)->r, result[static_cast<size_t>(l)].data(),
                sizeof(uint32_t) * static_cast<size_t>(lane(0)->matrices));
  }
}

struct MmaLane {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

template <bool kBf16>
float Element(uint32_t pair, int half) {
  const auto bits = static_cast<uint16_t>(half == 0 ? pair & 0xffffu : pair >> 16);
  return kBf16 ? BF16ToFloat(bits) : F16ToFloat(bits);
}

template <bool kBf16>
void MmaAll(void* const* payloads) {
  float a[16][16];
  float b[8][16];  // by column of B
  for (int l = 0; l < kWarpLanes; ++l) {
    const auto* lane = static_cast<const MmaLane*>(payloads[l]);
    const int g = l / 4;
    const int t = l % 4;
    for (int half = 0; half < 2; ++half) {
      a[g][2 * t + half] = Element<kBf16>(lane->a[0], half);
      a[g + 8][2 * t + half] = Element<kBf16>(lane->a[1], half);
      a[g][2 * t + 8 + half] = Element<kBf16>(lane->a[2], half);
      a[g + 8][2 * t + 8 + half] = Element<kBf16>(lane->a[3], half);
      b[g][2 * t + half] = Element<kBf16>(lane->b[0], half);
      b[g][2 * t + 8 + half] = Element<kBf16>(lane->b[1], half);
    }
  }
  for (int l = 0; l < kWarpLanes; ++l) {
    float* d = static_cast<MmaLane*>(payloads[l])->d;
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + i / 2 * 8;
      const int column = l % 4 * 2 + i % 2;
      double sum = d[i];
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[column][k];
      d[i] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void LdMatrix(uint32_t* r, int matrices, bool transposed, const void* row, const Place& place) {
  const auto lane = static_cast<int>(LaneId());
  if (lane < 8 * matrices && reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    FailThread(fmt::format("ldmatrix from {}: not aligned to 16 bytes", row));
  }
  LdMatrixLane payload{r, matrices, transposed, row};
  WarpCollective("ldmatrix", &LdMatrixAll, &payload, place);
}

void Mma16816(float* d, const uint32_t* a, const uint32_t* b, bool bf16, const Place& place) {
  MmaLane payload{d, a, b};
  WarpCollective("mma.m16n8k16", bf16 ? &MmaAll<true> : &MmaAll<false>, &payload, place);
}

}  // namespace sim

uint32_t SharedAddress(const void* shared) {
  const auto* at = static_cast<const unsigned char*>(shared);
  if (at < sim::current.shared || at > sim::current.shared + sim::current.shared_bytes) {
    sim::FailThread("SharedAddress() of memory that is not in DynamicShared()");
  }
  return static_cast<uint32_t>(at - sim::current.shared);
}

}  // namespace folkmoot::cuda
