// SPDX-License-Identifier: Apache-2.0
// mma_product.cuh for E4M3 codes. A step has twice the k of one of 16-bit weights, and with it
// twice the input: rings have fewer buffers, and tiles at most 64 positions, since a warp holds
// three sums of each: of a step, of a segment, and of all.
#include "runtime/check.h"
#include "runtime/cuda/mma_product.cuh"

namespace folkmoot::cuda {
namespace {

constexpr int kCode = 1;  // byte
using Config16x8 = MmaConfig<16, 8, 1, 1, 4, 6, 2, kCode>;
using Config32x16 = MmaConfig<32, 16, 1, 1, 4, 3, 2, kCode>;
using Config64x32 = MmaConfig<64, 32, 4, 1, 1, 6, 2, kCode>;
using Config64x64 = MmaConfig<64, 64, 4, 1, 1, 4, 2, kCode>;

template <typename T>
void LaunchOf(Stream& stream, MmaShape shape, const ProductTask& task) {
  switch (shape) {
    case MmaShape::k16x8:
      return LaunchMma<T, Config16x8>(stream, task);
    case MmaShape::k32x16:
      return LaunchMma<T, Config32x16>(stream, task);
    case MmaShape::k64x32:
      return LaunchMma<T, Config64x32>(stream, task);
    case MmaShape::k128x64:  // with fewer rows, so that their sums fit into registers
      return LaunchMma<T, Config64x64>(stream, task);
    case MmaShape::k16x16:
    case MmaShape::k128x128:
      break;
  }
  FM_CHECK(false);
}

}  // namespace

void CodeProduct(Stream& stream, MmaShape shape, DType x, const ProductTask& task) {
  FM_CHECK(x == DType::kBF16 || x == DType::kF16);
  FM_CHECK(task.w_scale != nullptr && task.tiles != nullptr);
  FM_CHECK(task.k % 16 == 0 && task.w_stride % 16 == 0 && task.x_stride % 8 == 0);
  FM_CHECK(task.n % (task.gated ? 16 : 8) == 0);
  if (x == DType::kBF16) {
    LaunchOf<__nv_bfloat16>(stream, shape, task);
  } else {
    LaunchOf<__half>(stream, shape, task);
  }
}

}  // namespace folkmoot::cuda
