// SPDX-License-Identifier: Apache-2.0
// A model and how it runs, as the parameter of a test of whole engines.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/support/engine_run.h"

namespace folkmoot {

struct ModelCase {
  const char* name;
  const char* model;  // under the source directory
  const char* gate;
  const char* quantization = "none";
  const char* kv_cache_dtype = "auto";
  const char* activation_precision = "full";
  const char* sum_order = "portable";

  EngineOptions options() const {
    EngineOptions options;
    options.model = std::string(FOLKMOOT_SOURCE_DIR) + "/" + model;
    options.gate = gate;
    options.quantization = quantization;
    options.kv_cache_dtype = kv_cache_dtype;
    options.activation_precision = activation_precision;
    options.sum_order = sum_order;
    return options;
  }
};

inline std::ostream& operator<<(std::ostream& out, const ModelCase& c) {
  return out << c.model << " with gate '" << c.gate << "'";
}

// For INSTANTIATE_TEST_SUITE_P.
inline std::string ModelCaseName(const testing::TestParamInfo<ModelCase>& info) {
  return info.param.name;
}

}  // namespace folkmoot
