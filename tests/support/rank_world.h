// SPDX-License-Identifier: Apache-2.0
// The parameter of the contract suites: a way to run a body on some ranks.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/rank_test.h"

namespace folkmoot {

struct RankWorld {
  std::string name;  // of letters and digits
  int size = 1;
  // Runs the body with a fresh communicator on each rank that is in this process.
  std::function<void(const RankBody&)> run;
};

inline void PrintTo(const RankWorld& world, std::ostream* out) { *out << world.name; }

inline std::string WorldName(const testing::TestParamInfo<RankWorld>& info) {
  return info.param.name;
}

inline std::vector<RankWorld> ThreadWorlds(const std::vector<int>& sizes) {
  std::vector<RankWorld> worlds;
  for (const int size : sizes) {
    worlds.push_back({"Threads" + std::to_string(size), size,
                      [size](const RankBody& body) { RunRanks(size, body); }});
  }
  return worlds;
}

}  // namespace folkmoot
