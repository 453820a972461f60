// SPDX-License-Identifier: Apache-2.0
#include "launch/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "runtime/check.h"

namespace folkmoot {
namespace {

constexpr int64_t kMostExpertsWithBars = 16;
constexpr int kBarWidth = 30;
constexpr std::string_view kGap = "  ";

std::string Spaces(int count) { return std::string(static_cast<size_t>(std::max(count, 0)), ' '); }

std::string Pad(std::string_view text, int width, Align align) {
  const std::string space = Spaces(width - DisplayWidth(text));
  return align == Align::kRight ? space + std::string(text) : std::string(text) + space;
}

std::string WithoutTrailingSpace(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

// Breaks at spaces so that, indented, no line is wider than `columns` unless one word is.
std::string Wrap(std::string_view text, int columns, int indent) {
  std::string out;
  int used = indent;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const int width = DisplayWidth(word);
    if (used > indent && used + 1 + width > columns) {
      out += "\n" + Spaces(indent);
      used = indent;
    } else if (used > indent) {
      out += " ";
      ++used;
    }
    out += word;
    used += width;
  }
  return out;
}

int64_t Sum(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

int64_t Greatest(const std::vector<int64_t>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

double Fraction(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

std::vector<std::vector<int>> ExpertsByRank(const ExpertLoad& load) {
  std::vector<std::vector<int>> experts_of(static_cast<size_t>(load.ranks));
  for (size_t e = 0; e < load.tokens.size(); ++e) {
    FM_CHECK(load.rank_of[e] >= 0 && load.rank_of[e] < load.ranks);
    experts_of[static_cast<size_t>(load.rank_of[e])].push_back(static_cast<int>(e));
  }
  return experts_of;
}

// A line per expert, the rank named on its first.
std::string RenderBars(const ExpertLoad& load, const Terminal& terminal) {
  const int64_t greatest = Greatest(load.tokens);
  const int rank_width = DisplayWidth(fmt::format("rank {}", load.ranks - 1));
  const int expert_width = DisplayWidth(fmt::format("expert {}", load.tokens.size() - 1));
  const int count_width = DisplayWidth(FormatCount(greatest));
  const int width =
      std::clamp(terminal.columns - 1 - rank_width - expert_width - count_width - 6, 4, kBarWidth);
  std::string out;
  const auto experts_of = ExpertsByRank(load);
  for (size_t rank = 0; rank < experts_of.size(); ++rank) {
    std::string name = fmt::format("rank {}", rank);
    if (experts_of[rank].empty()) {
      out += fmt::format("{}{}no expert\n", Pad(name, rank_width, Align::kLeft), kGap);
    }
    for (const int expert : experts_of[rank]) {
      const int64_t tokens = load.tokens[static_cast<size_t>(expert)];
      out += Pad(name, rank_width, Align::kLeft);
      out += kGap;
      out += Pad(fmt::format("expert {}", expert), expert_width, Align::kLeft);
      out += kGap;
      out += HorizontalBar(Fraction(tokens, greatest), width, terminal.unicode);
      out += kGap;
      out += Pad(FormatCount(tokens), count_width, Align::kRight) + "\n";
      name.clear();
    }
  }
  return out;
}

// A bar per rank with its share, and under it a character per expert.
std::string RenderSparklines(const ExpertLoad& load, const Terminal& terminal) {
  const auto experts_of = ExpertsByRank(load);
  std::vector<int64_t> rank_tokens;
  for (const auto& experts : experts_of) {
    int64_t tokens = 0;
    for (const int expert : experts) tokens += load.tokens[static_cast<size_t>(expert)];
    rank_tokens.push_back(tokens);
  }
  const int64_t total = Sum(rank_tokens);
  const int rank_width = DisplayWidth(fmt::format("rank {}", load.ranks - 1));
  const int count_width = DisplayWidth(FormatCount(Greatest(rank_tokens)));
  const int width = std::clamp(terminal.columns - 1 - rank_width - count_width - 10, 4, kBarWidth);
  const int line_room = std::max(terminal.columns - 1 - rank_width - 2, 16);
  std::string out;
  for (size_t rank = 0; rank < experts_of.size(); ++rank) {
    out += fmt::format(
        "{}{}{}{}{}{}{:3.0f} %\n", Pad(fmt::format("rank {}", rank), rank_width, Align::kLeft),
        kGap,
        HorizontalBar(Fraction(rank_tokens[rank], Greatest(rank_tokens)), width, terminal.unicode),
        kGap, Pad(FormatCount(rank_tokens[rank]), count_width, Align::kRight), kGap,
        100.0 * Fraction(rank_tokens[rank], total));
    std::vector<int64_t> line;
    for (const int expert : experts_of[rank]) {
      line.push_back(load.tokens[static_cast<size_t>(expert)]);
      if (static_cast<int>(line.size()) == line_room || expert == experts_of[rank].back()) {
        out += WithoutTrailingSpace(Spaces(rank_width + 2) +
                                    Sparkline(line, Greatest(load.tokens), terminal.unicode)) +
               "\n";
        line.clear();
      }
    }
  }
  return out;
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::AddRow(std::vector<std::string> cells) {
  FM_CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Render(const Terminal& terminal) const {
  std::vector<int> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    int width = DisplayWidth(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[c]));
    widths.push_back(width);
  }
  std::string title;
  std::string rule;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const std::string_view gap = c == 0 ? std::string_view() : kGap;
    title += gap;
    title += Pad(columns_[c].title, widths[c], columns_[c].align);
    rule += gap;
    for (int i = 0; i < widths[c]; ++i) rule += terminal.unicode ? "─" : "-";
  }
  std::string out = Bold(WithoutTrailingSpace(title), terminal) + "\n" + Dim(rule, terminal) + "\n";
  for (const auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line += kGap;
      line += Pad(row[c], widths[c], columns_[c].align);
    }
    out += WithoutTrailingSpace(std::move(line)) + "\n";
  }
  return out;
}

void KeyValues::Add(std::string name, std::string value) {
  rows_.push_back({std::move(name), std::move(value)});
}

std::string KeyValues::Render(const Terminal& terminal) const {
  int width = 0;
  for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[0]));
  std::string out;
  for (const auto& row : rows_) {
    const std::string space = Spaces(width - DisplayWidth(row[0]) + 2);
    const std::string value = Wrap(row[1], terminal.columns, width + 2);
    out += WithoutTrailingSpace(Dim(row[0], terminal) + space + value) + "\n";
  }
  return out;
}

std::string RenderExpertLoad(const ExpertLoad& load, const Terminal& terminal) {
  FM_CHECK(load.rank_of.size() == load.tokens.size());
  if (load.tokens.empty()) return "";
  const bool bars = static_cast<int64_t>(load.tokens.size()) <= kMostExpertsWithBars;
  return bars ? RenderBars(load, terminal) : RenderSparklines(load, terminal);
}

std::string Sparkline(const std::vector<int64_t>& values, int64_t greatest, bool unicode) {
  static constexpr std::array<const char*, 8> kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static constexpr std::array<const char*, 8> kAscii = {".", ":", "-", "=", "+", "*", "%", "#"};
  std::string out;
  for (const int64_t value : values) {
    if (value <= 0 || greatest <= 0) {
      out += " ";
      continue;
    }
    // The smallest value above zero still shows; only the greatest reaches the top.
    const int64_t level = std::min<int64_t>((value * 8 + greatest - 1) / greatest, 8) - 1;
    out += (unicode ? kBlocks : kAscii)[static_cast<size_t>(level)];
  }
  return out;
}

}  // namespace folkmoot
