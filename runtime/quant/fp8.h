// SPDX-License-Identifier: Apache-2.0
// FP8 codes with scales, as two formats store them. Internal to runtime/quant/.
#pragma once

#include <memory>
#include <string>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/tensor_ref.h"
#include "runtime/quant/code_matrix.h"
#include "runtime/quant/code_tensors.h"
#include "runtime/status.h"

namespace folkmoot {

// The tensor `ref.name` of E4M3 codes with its factors in `scale_name`.
absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenFp8(const Checkpoint& checkpoint,
                                                    const TensorRef& ref,
                                                    const std::string& scale_name,
                                                    const ScaleBlocks& blocks);

}  // namespace folkmoot
