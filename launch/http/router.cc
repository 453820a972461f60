// SPDX-License-Identifier: Apache-2.0
#include "launch/http/router.h"

#include <algorithm>

namespace folkmoot {
namespace {

// Length of the part that is compared, 0 when it does not fit. An exact match counts for more than
// any prefix.
size_t Fit(std::string_view pattern, std::string_view path) {
  if (pattern == path) return pattern.size() + 1;
  if (!pattern.ends_with("/*")) return 0;
  pattern.remove_suffix(1);
  return path.starts_with(pattern) ? pattern.size() : 0;
}

bool Serves(const Route& route, std::string_view method) {
  return route.method == method || (method == "HEAD" && route.method == "GET");
}

}  // namespace

Router::Router(std::vector<Route> routes) : routes_(std::move(routes)) {}

Router::Match Router::Find(std::string_view method, std::string_view path) const {
  size_t best = 0;
  for (const Route& route : routes_) best = std::max(best, Fit(route.path, path));
  Match match;
  if (best == 0) return match;
  for (const Route& route : routes_) {
    if (Fit(route.path, path) != best) continue;
    if (Serves(route, method) && (match.route == nullptr || route.method == method)) {
      match.route = &route;
    }
    match.allow += (match.allow.empty() ? "" : ", ") + route.method;
    if (route.method == "GET") match.allow += ", HEAD";
  }
  return match;
}

}  // namespace folkmoot
