// SPDX-License-Identifier: Apache-2.0
// A rank that computes plans with the fake model and distrusts the scheduler: it checks every start
// and slice against what it knows, and that every page holds what its reader believes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "scheduler/scheduler.h"
#include "tests/scheduler/fake_model.h"

namespace folkmoot {

class FakeRank {
 public:
  // Pages, slots and snapshots as `options` says.
  explicit FakeRank(const SchedulerOptions& options)
      : block_size_(options.block_size),
        output_window_(options.output_window),
        slots_(options.slots_per_rank),
        snapshots_(static_cast<size_t>(options.snapshots_per_rank)) {
    const int64_t blocks = options.blocks_per_rank;
    pages_.resize(static_cast<size_t>(blocks));
    for (Page& page : pages_) page.rows.resize(static_cast<size_t>(block_size_));
  }

  // Sequences may share pages only with the same label (that of their salt).
  void SetLabel(int64_t sequence, uint64_t label) { labels_[sequence] = label; }
  void DropLabel(int64_t sequence) { labels_.erase(sequence); }

  // A new process: it knows nothing.
  void Restart();
  // The step under way is given up: sequences are forgotten, pages stay.
  void KeepPages();

  // `answered`: the last step whose results the scheduler has.
  StepResult Run(const RankPlan& plan, const std::vector<std::string>& gates, int64_t step,
                 int64_t answered);
  // Pages in use by sequences that the rank has not been told to forget.
  int64_t PagesHeld() const;
  // The first thing that was wrong; empty: nothing.
  const std::string& complaint() const { return complaint_; }

 private:
  struct Page {
    std::vector<uint64_t> rows;  // states; 0: not computed, or not to be trusted
    int users = 0;               // sequences that have it
    int64_t writer = -1;         // who was given it last
    int64_t touched = -1;        // last step of a sequence that has it
    uint64_t label = 0;
  };
  struct State {
    SequenceStart start;
    std::vector<int32_t> tokens;
    std::vector<uint64_t> states;  // by position, as far as computed
    std::vector<int32_t> pages;
    int64_t shared = 0;    // leading pages that came from the cache
    int64_t furthest = 0;  // end of its farthest slice, guesses included
    bool failed = false;
    bool sampled = false;  // in its last slice
  };

  Page& page(int32_t index) { return pages_[static_cast<size_t>(index)]; }
  static uint64_t RootOf(const State& state);
  uint64_t& row(const State& state, int64_t position);
  void Demand(bool condition, const char* what, int64_t sequence);
  void Forget(int64_t id);
  void Begin(const SequenceStart& start);
  void CheckSnapshot(const SequenceStart& start, uint64_t content);
  void WriteSnapshot(const SequenceSlice& slice, const State& state);
  void CheckSlice(const SequenceSlice& slice, State* state);
  void Compute(const SequenceSlice& slice, State* state, std::vector<SequenceResult>* results);
  // Computes the row of the sequence's next position.
  void ComputeRow(int64_t id, State* state);
  // What a draft model would guess: most guesses are right.
  static int32_t Guess(uint64_t content, const State& state);
  static void Answer(int64_t begin, int64_t end, const State& state, SequenceResult* result);

  uint64_t StateBehind(const State& state, uint64_t before, int64_t position) const;

  int64_t block_size_;
  int64_t output_window_;
  int64_t slots_;
  std::vector<uint64_t> snapshots_;  // states; 0: not written
  int64_t step_ = 0, answered_ = 0;
  std::vector<Page> pages_;
  std::map<int64_t, State> states_;
  std::map<int64_t, uint64_t> labels_;
  std::string complaint_;
};

}  // namespace folkmoot
