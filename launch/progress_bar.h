// SPDX-License-Identifier: Apache-2.0
// Progress of long work, for rank 0. On a terminal one line that is rewritten:
//
//   Loading experts  [##########----------]  52 %  0.9 GB/s  3 s left
//
// elsewhere (files, batch systems) a plain line every few seconds and one at the end. Work that is
// over within the first moment prints nothing but its last line.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "launch/terminal.h"

namespace folkmoot {

struct ProgressState {
  std::string_view label;
  int64_t done = 0;
  int64_t total = 0;      // > 0
  double seconds = 0.0;   // since the start
  std::string_view unit;  // "B" for bytes; else a plural noun: "tokens"
};

// One line without line end, no wider than the terminal (the bar shrinks, then goes).
std::string RenderProgress(const ProgressState& state, const Terminal& terminal);
// The last line: "Loading experts  1.25 GB in 1.39 s (0.9 GB/s)".
std::string RenderProgressDone(const ProgressState& state);

// One thread at a time.
class ProgressBar {
 public:
  struct Options {
    std::string label;
    int64_t total = 1;
    std::string unit = "B";
    bool enabled = true;  // false on ranks above 0: then nothing is written
    std::chrono::milliseconds live_interval{100};
    std::chrono::milliseconds plain_interval{5000};
  };
  using Sink = std::function<void(std::string_view text)>;
  using Clock = std::function<std::chrono::steady_clock::time_point()>;

  // Writes to stderr with the system's clock.
  ProgressBar(Options options, const Terminal& terminal);
  ProgressBar(Options options, const Terminal& terminal, Sink sink, Clock clock);
  // Wipes an unfinished live line, so that an error message starts on a clean one.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `done` of `total`; never goes back. Cheap enough to call for every tensor.
  void Update(int64_t done);
  // Work is complete: prints the last line. Later calls do nothing.
  void Finish();

 private:
  ProgressState State(std::chrono::steady_clock::time_point now) const;

  Options options_;
  Terminal terminal_;
  Sink sink_;
  Clock clock_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
  int64_t done_ = 0;
  bool line_open_ = false;
  bool finished_ = false;
};

}  // namespace folkmoot
