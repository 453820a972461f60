// SPDX-License-Identifier: Apache-2.0
// The table of routes. What is not in it does not exist.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/http/http.h"

namespace folkmoot {

class Router {
 public:
  explicit Router(std::vector<Route> routes);

  struct Match {
    const Route* route = nullptr;
    std::string allow;  // without a route: methods that the path has, "GET, HEAD"; empty: unknown
  };
  // An exact path goes before "/*", a longer "/*" before a shorter one. HEAD finds GET's route when
  // it has none of its own.
  Match Find(std::string_view method, std::string_view path) const;

  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

}  // namespace folkmoot
