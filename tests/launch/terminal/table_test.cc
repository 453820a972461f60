// SPDX-License-Identifier: Apache-2.0
#include "launch/table.h"

#include <gtest/gtest.h>

namespace folkmoot {
namespace {

Terminal Plain(int columns = 80) {
  Terminal terminal;
  terminal.columns = columns;
  return terminal;
}

Terminal Unicode(int columns = 80) {
  Terminal terminal = Plain(columns);
  terminal.unicode = true;
  return terminal;
}

TEST(Table, AlignsColumnsUnderARule) {
  Table table({{"batch", Align::kRight}, {"name"}, {"tokens/s", Align::kRight}});
  table.AddRow({"1", "decode", "46.7"});
  table.AddRow({"128", "prefill", "1,234"});
  EXPECT_EQ(table.Render(Plain()),
            "batch  name     tokens/s\n"
            "-----  -------  --------\n"
            "    1  decode       46.7\n"
            "  128  prefill     1,234\n");
}

TEST(Table, LinesHaveNoSpacesAtTheirEnd) {
  Table table({{"a"}, {"long title"}});
  table.AddRow({"x", ""});
  EXPECT_EQ(table.Render(Unicode()),
            "a  long title\n"
            "─  ──────────\n"
            "x\n");
}

TEST(Table, WidthsCountCharactersNotBytes) {
  Table table({{"é", Align::kRight}, {"b"}});
  table.AddRow({"日本", "1"});
  table.AddRow({"xyz", "2"});
  EXPECT_EQ(table.Render(Plain()),
            "  é  b\n"
            "---  -\n"
            " 日本  1\n"
            "xyz  2\n");
}

TEST(KeyValues, NamesOnTheLeft) {
  KeyValues values;
  values.Add("load time", "1.39 s");
  values.Add("time to first token", "85.0 ms");
  EXPECT_EQ(values.Render(Plain()),
            "load time            1.39 s\n"
            "time to first token  85.0 ms\n");
}

TEST(KeyValues, LongValuesAreWrapped) {
  KeyValues values;
  values.Add("list", "one, two, three, four");
  values.Add("word", "longer-than-the-terminal-is-wide");
  EXPECT_EQ(values.Render(Plain(16)),
            "list  one, two,\n"
            "      three,\n"
            "      four\n"
            "word  longer-than-the-terminal-is-wide\n");
}

TEST(ExpertLoad, ABarForEachExpertOfASmallModel) {
  const ExpertLoad load{{400, 100, 0, 200}, {0, 0, 1, 2}, 4};
  EXPECT_EQ(RenderExpertLoad(load, Plain(38)),
            "rank 0  expert 0  ##############  400\n"
            "        expert 1  ####            100\n"
            "rank 1  expert 2                    0\n"
            "rank 2  expert 3  #######         200\n"
            "rank 3  no expert\n");
  EXPECT_EQ(RenderExpertLoad(load, Unicode(38)),
            "rank 0  expert 0  ██████████████  400\n"
            "        expert 1  ███▌            100\n"
            "rank 1  expert 2                    0\n"
            "rank 2  expert 3  ███████         200\n"
            "rank 3  no expert\n");
}

TEST(ExpertLoad, GroupsByRankWhateverThePlacement) {
  const ExpertLoad load{{1, 2, 3, 4}, {1, 0, 1, 0}, 2};
  EXPECT_EQ(RenderExpertLoad(load, Plain(31)),
            "rank 0  expert 1  #####      2\n"
            "        expert 3  #########  4\n"
            "rank 1  expert 0  ##         1\n"
            "        expert 2  #######    3\n");
}

TEST(ExpertLoad, ACharacterForEachExpertOfALargeModel) {
  ExpertLoad load;
  load.ranks = 2;
  for (int e = 0; e < 32; ++e) {
    load.tokens.push_back(e < 16 ? e : 32 - e);
    load.rank_of.push_back(e / 16);
  }
  EXPECT_EQ(RenderExpertLoad(load, Plain(34)),
            "rank 0  ############    120   47 %\n"
            "         ..::--==++**%%#\n"
            "rank 1  ##############  136   53 %\n"
            "        ##%%**++==--::..\n");
}

TEST(ExpertLoad, NoExpertsNoPicture) { EXPECT_EQ(RenderExpertLoad({}, Plain()), ""); }

TEST(Sparkline, LevelsAreExact) {
  EXPECT_EQ(Sparkline({0, 1, 2, 3, 4, 5, 6, 7, 8}, 8, true), " ▁▂▃▄▅▆▇█");
  EXPECT_EQ(Sparkline({1, 1000}, 1000, false), ".#");
  EXPECT_EQ(Sparkline({0, 0}, 0, true), "  ");
}

}  // namespace
}  // namespace folkmoot
