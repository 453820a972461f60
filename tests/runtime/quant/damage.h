// SPDX-License-Identifier: Apache-2.0
// Quantised files that are wrong in one place.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "tests/runtime/quant/quant_case.h"

namespace folkmoot {

struct Damage {
  const char* name;
  const char* from;
  std::function<void(QuantCase&)> damage;
  std::vector<std::string> says;
};

inline void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

inline std::string NameOfDamage(const testing::TestParamInfo<Damage>& info) {
  return info.param.name;
}

inline void ExpectRefused(const Damage& damage) {
  QuantCase test(damage.from);
  ASSERT_TRUE(test.Open().ok());
  damage.damage(test);
  const auto codes = test.Open();
  ASSERT_FALSE(codes.ok());
  for (const std::string& part : damage.says) {
    EXPECT_THAT(std::string(Message(codes.status())), testing::HasSubstr(part));
  }
}

template <typename T>
void Set(QuantCase& test, const std::string& name, size_t index, T value) {
  std::memcpy(test.tensors.at(name).bytes.data() + index * sizeof(T), &value, sizeof value);
}

inline void Remove(QuantCase& test, const std::string& name) {
  ASSERT_EQ(test.tensors.erase(name), 1u);
}

// The same bytes in another shape.
inline void Reshape(QuantCase& test, const std::string& name, std::vector<int64_t> shape) {
  test.tensors.at(name).shape = std::move(shape);
}

}  // namespace folkmoot
