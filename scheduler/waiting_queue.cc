// SPDX-License-Identifier: Apache-2.0
#include "scheduler/waiting_queue.h"

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {

WaitingQueue::Level& WaitingQueue::Enter(Sequence* sequence, int64_t step) {
  const int32_t priority = LevelOf(*sequence);
  const auto [at, fresh] = levels_.try_emplace(priority);
  if (fresh) {
    at->second.served = step;
    ready_.emplace(KeyOf(priority, at->second), priority);
  }
  sequence->phase = SequencePhase::kWaiting;
  sequence->queued_tokens = static_cast<int64_t>(sequence->tokens.size());
  tokens_ += sequence->queued_tokens;
  ++sequences_;
  return at->second;
}

void WaitingQueue::Leave(Sequence* sequence, Level& level) {
  tokens_ -= sequence->queued_tokens;
  --sequences_;
  if (!level.empty()) return;
  const int32_t priority = LevelOf(*sequence);
  ready_.erase({KeyOf(priority, level), priority});
  levels_.erase(priority);
}

void WaitingQueue::Add(Sequence* sequence, int64_t step) {
  Level& level = Enter(sequence, step);
  const uint64_t id = sequence->request->request.client;
  Client& client = level.clients[id];
  if (client.requests.empty()) {
    level.resting.erase({client.virtual_time, id});
    client.virtual_time = std::max(client.virtual_time, level.virtual_time);
    level.turns.emplace(client.virtual_time, sequence->id, id);
  }
  client.requests.emplace(sequence->id, sequence);
}

void WaitingQueue::AddFront(Sequence* sequence, int64_t step) {
  Level& level = Enter(sequence, step);
  level.front.emplace(Order(sequence->request->ticket, sequence->id), sequence);
}

Sequence* WaitingQueue::Head() const {
  const Level& level = levels_.at(ready_.begin()->second);
  if (!level.front.empty()) return level.front.begin()->second;
  const uint64_t client = std::get<2>(*level.turns.begin());
  return level.clients.at(client).requests.begin()->second;
}

// Moves the client behind those that were admitted fewer tokens.
void WaitingQueue::Charge(Level& level, const Sequence& head) {
  const Request& request = head.request->request;
  const auto turn = level.turns.begin();
  Client& client = level.clients.at(request.client);
  level.virtual_time = std::max(level.virtual_time, client.virtual_time);
  const auto tokens = head.request->prompt_length() + request.max_tokens * request.n;
  level.turns.erase(turn);
  client.virtual_time += tokens;
  level.turns.emplace(client.virtual_time, head.id, request.client);
}

// Clients whose debt the others have caught up with are forgotten.
void WaitingQueue::Forgive(Level& level) {
  while (!level.resting.empty() && level.resting.begin()->first <= level.virtual_time) {
    level.clients.erase(level.resting.begin()->second);
    level.resting.erase(level.resting.begin());
  }
}

void WaitingQueue::RemoveFromClient(Level& level, const Sequence& sequence) {
  const uint64_t id = sequence.request->request.client;
  Client& client = level.clients.at(id);
  level.turns.erase({client.virtual_time, client.requests.begin()->first, id});
  FM_CHECK(client.requests.erase(sequence.id) == 1);
  if (client.requests.empty()) {
    level.resting.emplace(client.virtual_time, id);
  } else {
    level.turns.emplace(client.virtual_time, client.requests.begin()->first, id);
  }
  Forgive(level);
}

void WaitingQueue::PopHead(int64_t step) {
  Sequence* head = Head();
  const int32_t priority = ready_.begin()->second;
  Level& level = levels_.at(priority);
  ready_.erase(ready_.begin());
  level.served = step;
  ready_.emplace(KeyOf(priority, level), priority);
  if (!level.front.empty()) {
    level.front.erase(level.front.begin());
  } else {
    Charge(level, *head);
    RemoveFromClient(level, *head);
  }
  Leave(head, level);
}

void WaitingQueue::Remove(Sequence* sequence) {
  Level& level = levels_.at(LevelOf(*sequence));
  const auto order = Order(sequence->request->ticket, sequence->id);
  if (level.front.erase(order) == 0) RemoveFromClient(level, *sequence);
  Leave(sequence, level);
}

}  // namespace folkmoot
