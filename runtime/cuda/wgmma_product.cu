// SPDX-License-Identifier: Apache-2.0
#include "runtime/check.h"
#include "runtime/cuda/product_task.h"
namespace folkmoot::cuda {
bool HasWgmma(const DeviceInfo&) { return false; }
void WgmmaProduct(Stream&, DType, const ProductTask&) { FM_CHECK(false); }
}  // namespace folkmoot::cuda
