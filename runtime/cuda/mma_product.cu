// SPDX-License-Identifier: Apache-2.0
#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/mma_product.cuh"

namespace folkmoot::cuda {
namespace {

using Config16x8 = MmaConfig<16, 8, 1, 1, 4, 6, 3>;
using Config16x16 = MmaConfig<16, 16, 1, 1, 4, 6, 2>;
using Config32x16 = MmaConfig<32, 16, 1, 1, 4, 4, 2>;
using Config64x32 = MmaConfig<64, 32, 4, 1, 1, 8, 2>;
using Config128x64 = MmaConfig<128, 64, 4, 2, 1, 4, 2>;
using Config128x128 = MmaConfig<128, 128, 2, 4, 1, 3, 1>;

template <typename T>
void LaunchOf(Stream& stream, MmaShape shape, const ProductTask& task) {
  switch (shape) {
    case MmaShape::k16x8:
      return LaunchMma<T, Config16x8>(stream, task);
    case MmaShape::k16x16:
      return LaunchMma<T, Config16x16>(stream, task);
    case MmaShape::k32x16:
      return LaunchMma<T, Config32x16>(stream, task);
    case MmaShape::k64x32:
      return LaunchMma<T, Config64x32>(stream, task);
    case MmaShape::k128x64:
      return LaunchMma<T, Config128x64>(stream, task);
    case MmaShape::k128x128:
      return LaunchMma<T, Config128x128>(stream, task);
  }
}

}  // namespace

int MmaTokens(MmaShape shape) {
  constexpr int kTokens[] = {Config16x8::kN,  Config16x16::kN,  Config32x16::kN,
                             Config64x32::kN, Config128x64::kN, Config128x128::kN};
  return kTokens[static_cast<int>(shape)];
}

int MmaWeightRows(MmaShape shape) {
  constexpr int kRows[] = {Config16x8::kM,  Config16x16::kM,  Config32x16::kM,
                           Config64x32::kM, Config128x64::kM, Config128x128::kM};
  return kRows[static_cast<int>(shape)];
}

void MmaProduct(Stream& stream, MmaShape shape, DType dtype, const ProductTask& task) {
  FM_CHECK(dtype == DType::kBF16 || dtype == DType::kF16);
  FM_CHECK(task.k % 8 == 0 && task.w_stride % 8 == 0 && task.x_stride % 8 == 0);
  FM_CHECK(!task.gated || task.n % 16 == 0);
  if (dtype == DType::kBF16) {
    LaunchOf<__nv_bfloat16>(stream, shape, task);
  } else {
    LaunchOf<__half>(stream, shape, task);
  }
}

}  // namespace folkmoot::cuda
