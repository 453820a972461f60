// SPDX-License-Identifier: Apache-2.0
// Small tables and the picture of the experts' load, as text. Pure functions of their input.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launch/terminal.h"

namespace folkmoot {

enum class Align { kLeft, kRight };

// Columns of one table, two spaces apart, under a rule:
//
//   batch  tokens/s
//   -----  --------
//   1          46.7
class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };
  explicit Table(std::vector<Column> columns);

  // As many cells as columns.
  void AddRow(std::vector<std::string> cells);
  size_t rows() const { return rows_.size(); }

  // Every line ends with a line feed and has no spaces before it.
  std::string Render(const Terminal& terminal) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Two columns without a heading, names on the left, long values wrapped at the terminal's width:
//
//   load time            1.39 s
//   time to first token  85 ms
class KeyValues {
 public:
  void Add(std::string name, std::string value);
  std::string Render(const Terminal& terminal) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// What each expert was given, summed over layers.
struct ExpertLoad {
  std::vector<int64_t> tokens;  // [experts]
  std::vector<int> rank_of;     // [experts]
  int ranks = 1;
};

// The experts' load by rank. Up to 16 experts get a bar each:
//
//   rank 0  expert 0  ████████      412
//           expert 1  ███▍          170
//   rank 1  expert 2  ██            101
//           ...
//
// more experts get one character each (▁ to █, in ASCII "." to "#"; blank means no token) and the
// ranks get the bars. Ranks without experts are shown: they take part in every exchange.
std::string RenderExpertLoad(const ExpertLoad& load, const Terminal& terminal);

// One character per value, height against `greatest`; blank for zero.
std::string Sparkline(const std::vector<int64_t>& values, int64_t greatest, bool unicode);

}  // namespace folkmoot
