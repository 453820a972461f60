// SPDX-License-Identifier: Apache-2.0
#include "launch/progress_bar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace folkmoot {
namespace {

constexpr int kBarWidth = 30;
constexpr int kSmallestBar = 5;
constexpr std::string_view kWipe = "\r\x1b[K";

std::string Amount(const ProgressState& state) {
  if (state.unit == "B") return FormatBytes(static_cast<double>(state.done));
  return fmt::format("{} {}", FormatCount(state.done), state.unit);
}

std::string Rate(const ProgressState& state) {
  if (!(state.seconds > 0.0)) return "-";
  const double rate = static_cast<double>(state.done) / state.seconds;
  if (state.unit == "B") return FormatBytes(rate) + "/s";
  return FormatRate(static_cast<double>(state.done), state.seconds, state.unit);
}

// Whole seconds: an estimate deserves no more.
std::string TimeLeft(double seconds) {
  const double whole = std::max(std::ceil(seconds - 1e-9), 1.0);
  return whole < 120.0 ? fmt::format("{:.0f} s", whole) : FormatSeconds(whole);
}

}  // namespace

std::string RenderProgress(const ProgressState& state, const Terminal& terminal) {
  const double fraction = std::clamp(
      static_cast<double>(state.done) / static_cast<double>(std::max<int64_t>(state.total, 1)), 0.0,
      1.0);
  std::string tail = fmt::format("{:3.0f} %  {}", std::floor(fraction * 100.0), Rate(state));
  if (fraction > 0.0 && fraction < 1.0) {
    tail += fmt::format("  {} left", TimeLeft(state.seconds * (1.0 - fraction) / fraction));
  }
  // Label, two spaces, brackets, two spaces, tail; the last column stays free for the cursor.
  const int room =
      terminal.columns - 1 - DisplayWidth(state.label) - DisplayWidth(tail) - 2 - 2 - 2;
  const int width = std::min(room, kBarWidth);
  std::string line(state.label);
  if (width >= kSmallestBar) {
    std::string bar = HorizontalBar(fraction, width, /*unicode=*/false);
    std::replace(bar.begin(), bar.end(), ' ', '-');
    line += fmt::format("  [{}]", bar);
  }
  return line + "  " + tail;
}

std::string RenderProgressDone(const ProgressState& state) {
  return fmt::format("{}  {} in {} ({})", state.label, Amount(state), FormatSeconds(state.seconds),
                     Rate(state));
}

ProgressBar::ProgressBar(Options options, const Terminal& terminal)
    : ProgressBar(
          std::move(options), terminal,
          [](std::string_view text) {
            std::fwrite(text.data(), 1, text.size(), stderr);
            std::fflush(stderr);
          },
          [] { return std::chrono::steady_clock::now(); }) {}

ProgressBar::ProgressBar(Options options, const Terminal& terminal, Sink sink, Clock clock)
    : options_(std::move(options)),
      terminal_(terminal),
      sink_(std::move(sink)),
      clock_(std::move(clock)),
      start_(clock_()),
      last_(start_) {}

ProgressBar::~ProgressBar() {
  if (line_open_) sink_(kWipe);
}

ProgressState ProgressBar::State(std::chrono::steady_clock::time_point now) const {
  ProgressState state;
  state.label = options_.label;
  state.done = done_;
  state.total = options_.total;
  state.seconds = std::chrono::duration<double>(now - start_).count();
  state.unit = options_.unit;
  return state;
}

void ProgressBar::Update(int64_t done) {
  done_ = std::max(done_, done);
  if (!options_.enabled || finished_) return;
  const auto now = clock_();
  const auto interval = terminal_.live ? options_.live_interval : options_.plain_interval;
  if (now - last_ < interval) return;
  last_ = now;
  const std::string line = RenderProgress(State(now), terminal_);
  if (terminal_.live) {
    sink_(fmt::format("{}{}", kWipe, line));
    line_open_ = true;
  } else {
    sink_(line + "\n");
  }
}

void ProgressBar::Finish() {
  if (!options_.enabled || finished_) return;
  finished_ = true;
  const std::string line = RenderProgressDone(State(clock_()));
  sink_(fmt::format("{}{}\n", line_open_ ? kWipe : std::string_view(), line));
  line_open_ = false;
}

}  // namespace folkmoot
