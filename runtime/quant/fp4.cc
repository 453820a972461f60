// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/fp4.h"

namespace folkmoot {

absl::StatusOr<std::unique_ptr<CodeMatrix>> OpenFp4(const CodeTensors& tensors,
                                                    const TensorRef& ref, const Fp4Parts& parts,
                                                    int64_t group) {
  const bool sliced = ref.slices > 0;
  const int64_t rows = sliced ? ref.slice_rows : ref.n;
  const auto shape = [&](int64_t columns) {
    return sliced ? Shape{ref.slices, rows, columns} : Shape{rows, columns};
  };
  RowCodes out;
  out.n = ref.n;
  out.k = ref.k;
  out.spec.type = CodeType::kFp4;
  FM_ASSIGN_OR_RETURN(out.spec.group, tensors.Group(parts.codes, group));
  const int64_t groups = ref.k / out.spec.group;
  out.row_bytes = ref.k / 2;
  FM_ASSIGN_OR_RETURN(const TensorInfo* codes,
                      tensors.Get(parts.codes, {parts.code_type}, {shape(out.row_bytes)}));
  FM_ASSIGN_OR_RETURN(out.scales.tensor,
                      tensors.Get(parts.scales, {parts.scale_type}, {shape(groups)}));
  out.scales.divisor = parts.divisor;
  out.scales.factor = parts.factor;
  out.scales.first = ref.slice * rows * groups;
  out.scales.row_stride = groups;
  out.scales.column_stride = 1;
  FM_RETURN_IF_ERROR(CheckScales(tensors, parts.scales, out.scales, rows, groups));
  out.factor = parts.last_factor;
  out.first_row = ref.first_row;
  out.row_step = ref.row_step;
  out.storage = BytesOf(*codes, ref.slices, ref.slice);
  out.codes = out.storage.data() + ref.first_row * out.row_bytes;
  return MakeRowCodes(out);
}

}  // namespace folkmoot
