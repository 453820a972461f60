// SPDX-License-Identifier: Apache-2.0
// Reads Prometheus' text format 0.0.4, strictly: every sample belongs to a family that was declared
// once, with HELP and TYPE, and stands under it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace folkmoot {

struct Exposition {
  struct Family {
    std::string type;
    std::set<std::string> labels;  // names, "le" left out
  };
  std::map<std::string, Family> families;
  // By the sample as written, 'name{a="1",b="2"}'.
  std::map<std::string, double> samples;
  std::vector<std::string> errors;

  // Buckets of the one series of a histogram: upper bounds, without infinity.
  std::vector<double> Bounds(const std::string& family) const;
};

Exposition ReadExposition(const std::string& text);

}  // namespace folkmoot
