// SPDX-License-Identifier: Apache-2.0
// FP4 codes with scales of groups, as several formats store them. Internal to runtime/quant/.
#pragma once

#include <memory>
#include <string>

#include "runtime/checkpoint/tensor_ref.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/quant/code_tensors.h"
#include "runtime/status.h"

namespace folkmoot {

struct Fp4Parts {
  std::string codes;  // E2M1 [n, k / 2], the even weight of a pair in the low half
  DType code_type = DType::kU8;
  std::string scales;  // [n, k / group]
  DType scale_type = DType::kU8;
  float divisor = 1.0f;      // of all scales
  float factor = 1.0f;       // ScaleView::factor
  float last_factor = 1.0f;  // RowCodes::factor
};

// Of a tensor in slices, [E, slice_rows, ..]; `group` as for CodeTensors::Group.
absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenFp4(const CodeTensors& tensors,
                                                    const TensorRef& ref, const Fp4Parts& parts,
                                                    int64_t group);

}  // namespace folkmoot
