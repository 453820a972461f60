// SPDX-License-Identifier: Apache-2.0
// Sequences that wait for a place, and whose turn it is.
//
// Each priority is a level (the FCFS policy has one level). Within a level those that ran before
// (preempted) and further choices of admitted requests come first, in order of admission. Then
// clients take turns: the next is the one that was admitted the fewest tokens lately (start-time
// fair queueing; a request counts with its prompt and the tokens it may generate), the one with
// the oldest request when equal; first come, first served within a client.
//
// Between levels the lower number goes first, but a level gains one priority per kAgingSteps steps
// in which nobody of it was admitted. So every level is served now and then, and nobody starves.
//
// All operations take logarithmic time.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "scheduler/sequence.h"

namespace folkmoot {

class WaitingQueue {
 public:
  static constexpr int64_t kAgingSteps = 64;

  explicit WaitingQueue(bool by_priority) : by_priority_(by_priority) {}

  // Behind the others of its client. `step` is the number of the next step, here and below.
  void Add(Sequence* sequence, int64_t step);
  // Among those that ran before.
  void AddFront(Sequence* sequence, int64_t step);

  bool empty() const { return sequences_ == 0; }
  // Whose turn it is; not for an empty queue.
  Sequence* Head() const;
  // The head was admitted.
  void PopHead(int64_t step);
  // A sequence left otherwise.
  void Remove(Sequence* sequence);

  int64_t sequences() const { return sequences_; }
  int64_t tokens() const { return tokens_; }  // prompts, and outputs of preempted ones

 private:
  using Order = std::pair<int64_t, int64_t>;
  struct Client {
    int64_t virtual_time = 0;               // tokens admitted; kept above the level's while in debt
    std::map<int64_t, Sequence*> requests;  // by id
  };
  struct Level {
    int64_t served = 0;                // step of the last admission
    std::map<Order, Sequence*> front;  // by ticket and id
    std::map<uint64_t, Client> clients;
    std::set<std::tuple<int64_t, int64_t, uint64_t>> turns;  // virtual time, first id, client
    std::set<std::pair<int64_t, uint64_t>> resting;          // clients in debt without requests
    int64_t virtual_time = 0;
    bool empty() const { return front.empty() && turns.empty(); }
  };

  int32_t LevelOf(const Sequence& sequence) const {
    return by_priority_ ? sequence.request->request.priority : 0;
  }
  static int64_t KeyOf(int32_t priority, const Level& level) {
    return priority * kAgingSteps + level.served;
  }
  Level& Enter(Sequence* sequence, int64_t step);
  void Leave(Sequence* sequence, Level& level);
  static void Charge(Level& level, const Sequence& head);
  static void RemoveFromClient(Level& level, const Sequence& sequence);
  static void Forgive(Level& level);

  bool by_priority_;
  std::map<int32_t, Level> levels_;              // the ones that are not empty
  std::set<std::pair<int64_t, int32_t>> ready_;  // key and priority of each level
  int64_t sequences_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace folkmoot
