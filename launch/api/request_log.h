// SPDX-License-Identifier: Apache-2.0
// What is logged of requests: names, ids and sizes, never anybody's text.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "launch/api/request/api_request.h"

namespace folkmoot {

class RequestLog {
 public:
  // Says once of each field that it has no effect here. Odd names are left out.
  void Unknown(const std::vector<std::string>& names);
  void Accepted(const ApiRequest& request) const;

 private:
  std::set<std::string> said_;
};

}  // namespace folkmoot
