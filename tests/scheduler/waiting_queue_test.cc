// SPDX-License-Identifier: Apache-2.0
#include "scheduler/waiting_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace folkmoot {
namespace {

class WaitingQueueTest : public testing::Test {
 protected:
  // A sequence of a request of its own, `tokens` long with nothing to generate.
  Sequence* Make(uint64_t client, size_t tokens = 10, int32_t priority = 0) {
    auto& request = requests_.emplace_back(std::make_unique<RequestState>());
    request->request.client = client;
    request->request.priority = priority;
    request->request.prompt.resize(tokens);
    request->request.max_tokens = 0;
    auto& sequence = request->choices.emplace_back(std::make_unique<Sequence>());
    sequence->request = request.get();
    sequence->id = static_cast<int64_t>(requests_.size()) - 1;
    sequence->tokens = request->request.prompt;
    return sequence.get();
  }
  void Wait(WaitingQueue* queue, uint64_t client, size_t tokens = 10, int32_t priority = 0,
            int64_t step = 0) {
    queue->Add(Make(client, tokens, priority), step);
  }
  // Ids in the order of admission, one per step from `step` on.
  static std::vector<int64_t> Admit(WaitingQueue* queue, int64_t step = 0) {
    std::vector<int64_t> ids;
    while (!queue->empty()) {
      ids.push_back(queue->Head()->id);
      queue->PopHead(step++);
    }
    EXPECT_EQ(queue->tokens(), 0);
    return ids;
  }

  std::vector<std::unique_ptr<RequestState>> requests_;
};

using Ids = std::vector<int64_t>;

TEST_F(WaitingQueueTest, FirstComeFirstServedWithinAClient) {
  WaitingQueue queue(false);
  for (int i = 0; i < 4; ++i) Wait(&queue, 5);
  EXPECT_EQ(queue.sequences(), 4);
  EXPECT_EQ(queue.tokens(), 40);
  EXPECT_EQ(Admit(&queue), (Ids{0, 1, 2, 3}));
}

TEST_F(WaitingQueueTest, ClientsTakeTurns) {
  WaitingQueue queue(false);
  for (int i = 0; i < 4; ++i) Wait(&queue, 1);  // 0 to 3
  for (int i = 0; i < 2; ++i) Wait(&queue, 2);  // 4, 5
  Wait(&queue, 3);                              // 6
  EXPECT_EQ(Admit(&queue), (Ids{0, 4, 6, 1, 5, 2, 3}));
}

TEST_F(WaitingQueueTest, TurnsAreMeasuredInTokens) {
  WaitingQueue queue(false);
  for (int i = 0; i < 2; ++i) Wait(&queue, 1, 30);  // 0, 1
  for (int i = 0; i < 5; ++i) Wait(&queue, 2, 10);  // 2 to 6
  EXPECT_EQ(Admit(&queue), (Ids{0, 2, 3, 4, 1, 5, 6}));
}

TEST_F(WaitingQueueTest, ANewClientGetsNoCreditForThePast) {
  WaitingQueue queue(false);
  for (int i = 0; i < 20; ++i) Wait(&queue, 1);
  for (int i = 0; i < 10; ++i) queue.PopHead(i);
  for (int i = 0; i < 3; ++i) Wait(&queue, 2);  // 20 to 22
  const Ids order = Admit(&queue);
  EXPECT_EQ((Ids(order.begin(), order.begin() + 6)), (Ids{20, 10, 21, 11, 22, 12}));
}

TEST_F(WaitingQueueTest, LeavingForAMomentForgivesNoDebt) {
  WaitingQueue queue(false);
  Wait(&queue, 1, 50);                          // 0
  for (int i = 0; i < 8; ++i) Wait(&queue, 2);  // 1 to 8
  queue.PopHead(0);                             // client 1 has none left
  Wait(&queue, 1, 50);                          // 9
  EXPECT_EQ(Admit(&queue), (Ids{1, 2, 3, 4, 5, 6, 9, 7, 8}));
}

TEST_F(WaitingQueueTest, ThoseThatRanBeforeComeFirst) {
  WaitingQueue queue(false);
  Wait(&queue, 1);
  Sequence* late = Make(1);
  late->request->ticket = 8;
  Sequence* early = Make(2);
  early->request->ticket = 3;
  queue.AddFront(late, 0);
  queue.AddFront(early, 0);
  EXPECT_EQ(Admit(&queue), (Ids{early->id, late->id, 0}));
}

TEST_F(WaitingQueueTest, LowerPrioritiesGoFirst) {
  WaitingQueue queue(true);
  Wait(&queue, 1, 10, 5);
  Wait(&queue, 1, 10, -2);
  Wait(&queue, 1, 10, 0);
  Sequence* preempted = Make(1, 10, 5);
  queue.AddFront(preempted, 0);
  EXPECT_EQ(Admit(&queue), (Ids{1, 2, 3, 0}));
  WaitingQueue fcfs(false);
  Wait(&fcfs, 1, 10, 5);
  Wait(&fcfs, 1, 10, -2);
  EXPECT_EQ(Admit(&fcfs), (Ids{4, 5})) << "the other policy knows no priorities";
}

TEST_F(WaitingQueueTest, ALevelGainsOnePriorityPerAgingPeriod) {
  WaitingQueue queue(true);
  Wait(&queue, 1, 10, 3);       // 0
  Wait(&queue, 1, 10, 3);       // 1
  std::vector<int64_t> served;  // steps at which somebody of priority 3 had a turn
  for (int64_t step = 0; step < 1000 && served.size() < 2; ++step) {
    Wait(&queue, 2, 10, 0, step);  // one of priority 0 in every step
    if (queue.Head()->request->request.priority == 3) served.push_back(step);
    queue.PopHead(step);
  }
  ASSERT_EQ(served.size(), 2u);
  EXPECT_NEAR(static_cast<double>(served[0]), 3 * WaitingQueue::kAgingSteps, 2);
  EXPECT_NEAR(static_cast<double>(served[1] - served[0]), 3 * WaitingQueue::kAgingSteps, 2);
}

TEST_F(WaitingQueueTest, AnybodyMayLeave) {
  WaitingQueue queue(true);
  std::vector<Sequence*> all;
  for (int i = 0; i < 12; ++i) {
    all.push_back(Make(static_cast<uint64_t>(i % 2), 10, i % 3));
    queue.Add(all.back(), 0);
  }
  for (const size_t i : {0u, 7u, 3u, 11u, 4u}) queue.Remove(all[i]);
  EXPECT_EQ(queue.sequences(), 7);
  EXPECT_EQ(Admit(&queue), (Ids{6, 9, 1, 10, 2, 5, 8}));
}

}  // namespace
}  // namespace folkmoot
