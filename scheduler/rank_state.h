// SPDX-License-Identifier: Apache-2.0
// What the scheduler remembers of one rank: its pages, who runs there, and how far the step that is
// being planned has come.
#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/kv_pool.h"
#include "scheduler/sequence.h"

namespace folkmoot {

struct RankState {
  // Pages of a sequence that left while a step that uses them was under way. Nobody gets them
  // before the answer to that step.
  struct Parked {
    int64_t step = 0;
    std::vector<int32_t> pages;
  };

  RankState(int64_t blocks, int64_t block_size, int64_t snapshots, uint64_t hash_seed)
      : pool(blocks, block_size, snapshots, hash_seed) {}

  // Keeps the order of importance.
  void Insert(Sequence* sequence, bool by_priority);
  void Erase(const Sequence* sequence);
  // Gives the sequence's pages back, or parks them.
  void LeavePages(Sequence* sequence);
  // The answer to `step` has come.
  void ReleaseParked(int64_t step);
  // Pages that will be available when the steps under way are answered.
  int64_t ParkedPages() const;

  KvPool pool;
  std::vector<Sequence*> running;  // the most important first
  std::vector<int64_t> finished;   // for the rank to forget, not told yet
  std::vector<Parked> parked;

  // The step being planned.
  int64_t budget = 0;          // tokens left
  bool blocked = false;        // somebody waits for pages: nobody less important takes any
  bool closed = false;         // somebody gave way: no admissions
  int64_t prefill_tokens = 0;  // of running sequences, to compute in this step and later
  int64_t reserved_pages = 0;  // that running sequences need for the tokens they have
};

}  // namespace folkmoot
