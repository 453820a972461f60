// SPDX-License-Identifier: Apache-2.0
#include "runtime/nearest.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <numeric>

namespace folkmoot {
namespace {

// The distance where it is less than `limit`, else something that is not. Names may come from
// outside and be long, so that no row is computed in vain.
int DistanceBelow(std::string_view a, std::string_view b, int limit) {
  if (std::abs(std::ssize(a) - std::ssize(b)) >= limit) return limit;
  // Optimal string alignment: rows i - 2, i - 1 and i of the dynamic programme.
  std::vector<int> before(b.size() + 1);
  std::vector<int> above(b.size() + 1);
  std::vector<int> row(b.size() + 1);
  std::iota(above.begin(), above.end(), 0);
  int least_above = 0;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    int least = row[0];
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
      least = std::min(least, row[j]);
    }
    // The next row comes from these two, with 1 more from the upper one.
    if (least >= limit && least_above + 1 >= limit) return limit;
    least_above = least;
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

}  // namespace

int EditDistance(std::string_view a, std::string_view b) {
  return DistanceBelow(a, b, std::numeric_limits<int>::max());
}

const std::string* Nearest(std::string_view name, const std::vector<std::string>& known) {
  const std::string* best = nullptr;
  int least = static_cast<int>(name.size()) / 2 + 1;  // half of it wrong: something else was meant
  for (const std::string& candidate : known) {
    const int distance = DistanceBelow(name, candidate, least);
    if (distance < least) {
      least = distance;
      best = &candidate;
    }
  }
  return best;
}

}  // namespace folkmoot
