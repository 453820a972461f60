// SPDX-License-Identifier: Apache-2.0
#include "launch/progress_bar.h"

#include <gtest/gtest.h>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kGigabyte = 1'000'000'000;

Terminal Live(int columns) {
  Terminal terminal;
  terminal.live = true;
  terminal.columns = columns;
  return terminal;
}

ProgressState Half() { return {"Loading experts", kGigabyte, 2 * kGigabyte, 2.0, "B"}; }

TEST(RenderProgress, BarShareRateAndTimeLeft) {
  EXPECT_EQ(RenderProgress(Half(), Live(80)),
            "Loading experts  [###############---------------]   50 %  500 MB/s  2 s left");
}

TEST(RenderProgress, NeverWiderThanTheTerminal) {
  for (int columns = 50; columns <= 120; ++columns) {
    EXPECT_LT(DisplayWidth(RenderProgress(Half(), Live(columns))), columns);
  }
  EXPECT_EQ(RenderProgress(Half(), Live(50)), "Loading experts   50 %  500 MB/s  2 s left");
}

TEST(RenderProgress, CountsThingsByName) {
  EXPECT_EQ(RenderProgress({"Scoring", 300, 1200, 2.0, "tokens"}, Live(80)),
            "Scoring  [########----------------------]   25 %  150 tokens/s  6 s left");
}

TEST(RenderProgress, StartAndEndNeedNoEstimate) {
  EXPECT_EQ(RenderProgress({"Load", 0, 100, 0.0, "B"}, Live(40)),
            "Load  [---------------------]    0 %  -");
  EXPECT_EQ(RenderProgress({"Load", 100, 100, 1.0, "B"}, Live(40)),
            "Load  [###############]  100 %  100 B/s");
}

TEST(RenderProgress, DoneLine) {
  EXPECT_EQ(RenderProgressDone({"Loading", 1250000000, 1250000000, 1.39, "B"}),
            "Loading  1.25 GB in 1.39 s (899 MB/s)");
}

struct Recorder {
  std::string text;
  std::chrono::steady_clock::time_point now;

  ProgressBar Bar(const Terminal& terminal, bool enabled = true) {
    ProgressBar::Options options;
    options.label = "Load";
    options.total = 100;
    options.unit = "tensors";
    options.enabled = enabled;
    return ProgressBar(
        options, terminal, [this](std::string_view piece) { text += piece; },
        [this] { return now; });
  }
};

TEST(ProgressBar, LiveLineIsRewrittenTenTimesASecondAtMost) {
  Recorder recorder;
  ProgressBar bar = recorder.Bar(Live(60));
  for (int i = 0; i < 50; ++i) {
    recorder.now += milliseconds(10);
    bar.Update(i);
  }
  size_t lines = 0;
  for (size_t at = recorder.text.find('\r'); at != std::string::npos;
       at = recorder.text.find('\r', at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 5U);
  EXPECT_EQ(recorder.text.find('\n'), std::string::npos);
  bar.Update(100);
  bar.Finish();
  EXPECT_TRUE(recorder.text.ends_with("\r\x1b[KLoad  100 tensors in 500 ms (200 tensors/s)\n"))
      << recorder.text;
}

TEST(ProgressBar, FileGetsALineEveryFiveSeconds) {
  Recorder recorder;
  ProgressBar bar = recorder.Bar(Terminal());
  for (int i = 0; i < 12; ++i) {
    recorder.now += milliseconds(1000);
    bar.Update(i);
  }
  bar.Update(100);
  bar.Finish();
  EXPECT_EQ(recorder.text,
            "Load  [#-----------------------------]    4 %  0.800 tensors/s  2 min 00 s left\n"
            "Load  [###---------------------------]    9 %  0.900 tensors/s  102 s left\n"
            "Load  100 tensors in 12.0 s (8.33 tensors/s)\n");
}

TEST(ProgressBar, OtherRanksAreSilent) {
  Recorder recorder;
  {
    ProgressBar bar = recorder.Bar(Live(60), /*enabled=*/false);
    recorder.now += milliseconds(10000);
    bar.Update(50);
    bar.Finish();
  }
  EXPECT_EQ(recorder.text, "");
}

TEST(ProgressBar, AnErrorFindsACleanLine) {
  Recorder recorder;
  {
    ProgressBar bar = recorder.Bar(Live(60));
    recorder.now += milliseconds(200);
    bar.Update(10);
    EXPECT_FALSE(recorder.text.ends_with("\x1b[K"));
  }
  EXPECT_TRUE(recorder.text.ends_with("\r\x1b[K"));
}

TEST(ProgressBar, FinishOnceAndNothingAfterIt) {
  Recorder recorder;
  ProgressBar bar = recorder.Bar(Live(60));
  bar.Finish();
  const std::string once = recorder.text;
  recorder.now += milliseconds(1000);
  bar.Finish();
  bar.Update(70);
  EXPECT_EQ(recorder.text, once);
}

}  // namespace
}  // namespace folkmoot
