// SPDX-License-Identifier: Apache-2.0
#include "launch/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>
#include <map>

namespace folkmoot {
namespace {

Environment Env(std::map<std::string, std::string> values) {
  return [values](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  };
}

TEST(DecideTerminal, TerminalWithUtf8LocaleGetsEverything) {
  const Terminal terminal =
      DecideTerminal(true, 120, Env({{"TERM", "xterm-256color"}, {"LANG", "en_GB.UTF-8"}}));
  EXPECT_TRUE(terminal.live);
  EXPECT_TRUE(terminal.color);
  EXPECT_TRUE(terminal.unicode);
  EXPECT_EQ(terminal.columns, 120);
}

TEST(DecideTerminal, FileGetsPlainText) {
  const Terminal terminal = DecideTerminal(false, 0, Env({{"LANG", "C.utf8"}}));
  EXPECT_FALSE(terminal.live);
  EXPECT_FALSE(terminal.color);
  EXPECT_TRUE(terminal.unicode);
  EXPECT_EQ(terminal.columns, 80);
}

TEST(DecideTerminal, NoColorAndDumbAreHonoured) {
  const Terminal no_color = DecideTerminal(true, 80, Env({{"NO_COLOR", "1"}}));
  EXPECT_TRUE(no_color.live);
  EXPECT_FALSE(no_color.color);
  const Terminal dumb = DecideTerminal(true, 80, Env({{"TERM", "dumb"}}));
  EXPECT_FALSE(dumb.live);
  EXPECT_FALSE(dumb.color);
}

TEST(DecideTerminal, TheFirstLocaleVariableThatIsSetDecides) {
  EXPECT_FALSE(DecideTerminal(true, 80, Env({})).unicode);
  EXPECT_FALSE(DecideTerminal(true, 80, Env({{"LC_ALL", "C"}, {"LANG", "en_US.UTF-8"}})).unicode);
  EXPECT_TRUE(DecideTerminal(true, 80, Env({{"LC_CTYPE", "UTF-8"}, {"LANG", "C"}})).unicode);
}

TEST(DecideTerminal, WidthStaysSensible) {
  EXPECT_EQ(DecideTerminal(true, 1, Env({})).columns, 20);
  EXPECT_EQ(DecideTerminal(true, 5000, Env({})).columns, 200);
}

TEST(DetectTerminal, PipeIsNotLive) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const Terminal terminal = DetectTerminal(fds[1]);
  EXPECT_FALSE(terminal.live);
  EXPECT_FALSE(terminal.color);
  close(fds[0]);
  close(fds[1]);
}

TEST(Format, Bytes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(999.6), "1.00 kB");
  EXPECT_EQ(FormatBytes(3400), "3.40 kB");
  EXPECT_EQ(FormatBytes(9.996e6), "10.0 MB");
  EXPECT_EQ(FormatBytes(123.4e6), "123 MB");
  EXPECT_EQ(FormatBytes(999.7e6), "1.00 GB");
  EXPECT_EQ(FormatBytes(46.7e9), "46.7 GB");
  EXPECT_EQ(FormatBytes(2e18), "2000 PB");
}

TEST(Format, Seconds) {
  EXPECT_EQ(FormatSeconds(0), "0 us");
  EXPECT_EQ(FormatSeconds(850e-6), "850 us");
  EXPECT_EQ(FormatSeconds(0.0123), "12.3 ms");
  EXPECT_EQ(FormatSeconds(0.9996), "1.00 s");
  EXPECT_EQ(FormatSeconds(85.04), "85.0 s");
  EXPECT_EQ(FormatSeconds(200), "3 min 20 s");
  EXPECT_EQ(FormatSeconds(3605), "60 min 05 s");
  EXPECT_EQ(FormatSeconds(7500), "2 h 05 min");
}

TEST(Format, Counts) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(-1234567), "-1,234,567");
  EXPECT_EQ(FormatCount(std::numeric_limits<int64_t>::max()), "9,223,372,036,854,775,807");
}

TEST(Format, NumbersAndRates) {
  EXPECT_EQ(FormatNumber(0), "0");
  EXPECT_EQ(FormatNumber(0.012345), "0.0123");
  EXPECT_EQ(FormatNumber(-4.5678), "-4.57");
  EXPECT_EQ(FormatNumber(46.72), "46.7");
  EXPECT_EQ(FormatNumber(999.4), "999");
  EXPECT_EQ(FormatNumber(1234.6), "1,235");
  EXPECT_EQ(FormatRate(120, 2.5, "tokens"), "48.0 tokens/s");
  EXPECT_EQ(FormatRate(120, 0.0, "tokens"), "-");
}

TEST(HorizontalBar, IsExactlyAsWideAsAsked) {
  for (const bool unicode : {false, true}) {
    for (int step = 0; step <= 64; ++step) {
      EXPECT_EQ(DisplayWidth(HorizontalBar(step / 64.0, 7, unicode)), 7) << step;
    }
  }
}

TEST(HorizontalBar, ShowsEighthsAndNeverHidesALittle) {
  EXPECT_EQ(HorizontalBar(0.5, 4, true), "██  ");
  EXPECT_EQ(HorizontalBar(0.40625, 4, true), "█▋  ");
  EXPECT_EQ(HorizontalBar(1.0, 4, true), "████");
  EXPECT_EQ(HorizontalBar(1e-9, 4, true), "▏   ");
  EXPECT_EQ(HorizontalBar(0.0, 4, true), "    ");
  EXPECT_EQ(HorizontalBar(0.5, 4, false), "##  ");
  EXPECT_EQ(HorizontalBar(1e-9, 4, false), "#   ");
  EXPECT_EQ(HorizontalBar(7.0, 4, false), "####");
  EXPECT_EQ(HorizontalBar(std::numeric_limits<double>::quiet_NaN(), 2, false), "  ");
}

TEST(Colors, OnlyWhereWelcome) {
  Terminal terminal;
  EXPECT_EQ(Bold("x", terminal), "x");
  terminal.color = true;
  EXPECT_EQ(Bold("x", terminal), "\x1b[1mx\x1b[0m");
  EXPECT_EQ(Dim("x", terminal), "\x1b[2mx\x1b[0m");
}

}  // namespace
}  // namespace folkmoot
