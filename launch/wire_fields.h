// SPDX-License-Identifier: Apache-2.0
// Repeated fields of Protobuf to vectors and back. Only for the codecs.
#pragma once

#include <vector>

namespace folkmoot::wire_fields {

template <typename Field, typename T>
void Append(const std::vector<T>& values, Field* field) {
  field->Add(values.begin(), values.end());
}

template <typename T, typename Field>
std::vector<T> ToVector(const Field& field) {
  return {field.begin(), field.end()};
}

}  // namespace folkmoot::wire_fields
