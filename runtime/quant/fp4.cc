// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/fp4.h"

namespace folkmoot {

absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenFp4(const CodeTensors& tensors,
                                                    const TensorRef& ref, const Fp4Parts& parts,
                                                    int64_t group) {
  RowCodes out;
  out.n = ref.n;
  out.k = ref.k;
  out.spec.type = CodeType::kFp4;
  FM_ASSIGN_OR_RETURN(out.spec.group, tensors.Group(parts.codes, group));
  const int64_t groups = ref.k / out.spec.group;
  out.row_bytes = ref.k / 2;
  FM_ASSIGN_OR_RETURN(const TensorInfo* codes,
                      tensors.Get(parts.codes, {parts.code_type}, {{ref.n, out.row_bytes}}));
  FM_ASSIGN_OR_RETURN(out.scales.tensor,
                      tensors.Get(parts.scales, {parts.scale_type}, {{ref.n, groups}}));
  out.scales.divisor = parts.divisor;
  out.scales.row_stride = groups;
  out.scales.column_stride = 1;
  FM_RETURN_IF_ERROR(CheckScales(tensors, parts.scales, out.scales, ref.n, groups));
  out.codes = codes->data;
  out.storage = BytesOf(*codes);
  return MakeRowCodes(out);
}

}  // namespace folkmoot
