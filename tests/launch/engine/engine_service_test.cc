// SPDX-License-Identifier: Apache-2.0
// The engine as the front end sees it: every choice has exactly one last event, whatever happens.
#include "launch/engine_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <numeric>
#include <thread>

#include "launch/thread_ranks.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

// Collects events; any thread may wait for them.
class Events {
 public:
  EngineService::Sink Sink() {
    return [this](std::vector<OutputEvent> events) {
      const std::lock_guard lock(mutex_);
      for (OutputEvent& event : events) all_.push_back(std::move(event));
      changed_.notify_all();
    };
  }
  // Waits until `count` choices of `request` have ended; returns all events of the request.
  std::vector<OutputEvent> Ended(int64_t request, size_t count) {
    return WaitFor(request, [count](const std::vector<OutputEvent>& events) {
      return Last(events).size() >= count;
    });
  }
  std::vector<OutputEvent> AtLeast(int64_t request, size_t tokens) {
    return WaitFor(request, [tokens](const std::vector<OutputEvent>& events) {
      return events.size() >= tokens;
    });
  }
  static std::vector<OutputEvent> Last(const std::vector<OutputEvent>& events) {
    std::vector<OutputEvent> last;
    for (const OutputEvent& event : events) {
      if (event.finish != FinishReason::kNone) last.push_back(event);
    }
    return last;
  }

 private:
  template <typename Done>
  std::vector<OutputEvent> WaitFor(int64_t request, const Done& done) {
    std::unique_lock lock(mutex_);
    std::vector<OutputEvent> mine;
    const auto ready = [&] {
      mine.clear();
      for (const OutputEvent& event : all_) {
        if (event.request == request) mine.push_back(event);
      }
      return done(mine);
    };
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), ready));
    return mine;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<OutputEvent> all_;
};

Request Ask(int64_t tokens, uint64_t seed = 1) {
  Request request;
  request.prompt = {10, 20, 30, 40, 50};
  request.max_tokens = tokens;
  request.sampling.seed = seed;
  return request;
}

// Runs `client` on a thread of its own against a service over two thread ranks; returns what Run
// returned.
absl::Status WithService(const EngineServiceOptions& options, Events& events,
                         const std::function<void(EngineService&)>& client) {
  EngineOptions engine_options;
  engine_options.model = FOLKMOOT_TEST_DATA "/../../models/demo-kjv";
  engine_options.max_num_seqs = 4;
  absl::Status result = absl::UnknownError("never ran");
  const absl::Status status =
      RunOnThreadRanks(engine_options, 2, 1, [&](Engine& engine, LoadedRank&) -> absl::Status {
        EngineService service(engine, options, std::chrono::milliseconds(20), events.Sink());
        std::thread thread([&] { client(service); });
        result = service.Run();
        thread.join();
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  return result;
}

TEST(EngineService, RunsRequestsAndDrains) {
  Events events;
  const absl::Status status = WithService({}, events, [&](EngineService& service) {
    Request two = Ask(6);
    two.n = 2;
    EXPECT_TRUE(service.Submit(7, two).ok());
    EXPECT_TRUE(service.Submit(8, Ask(3)).ok());
    service.Drain();
    EXPECT_EQ(service.Submit(9, Ask(3)).code(), absl::StatusCode::kUnavailable);
  });
  EXPECT_TRUE(status.ok()) << status;
  const auto last = Events::Last(events.Ended(7, 2));
  ASSERT_EQ(last.size(), 2u);
  EXPECT_NE(last[0].choice, last[1].choice);
  EXPECT_EQ(events.Ended(8, 1).size(), 3u);  // one event per token
  EXPECT_EQ(last[0].finish, FinishReason::kLength);
  EXPECT_LE(last[0].admitted, last[0].time);
  EXPECT_NE(last[0].admitted, SteadyTime());
}

TEST(EngineService, WhatIsWrongWithARequestIsAnEvent) {
  Events events;
  (void)WithService({}, events, [&](EngineService& service) {
    Request bad = Ask(4);
    bad.prompt = {1 << 30};
    EXPECT_TRUE(service.Submit(1, bad).ok());
    EXPECT_TRUE(service.Submit(2, Ask(2)).ok());
    service.Drain();
  });
  const auto last = Events::Last(events.Ended(1, 1));
  ASSERT_EQ(last.size(), 1u);
  EXPECT_TRUE(last[0].rejected);
  EXPECT_THAT(last[0].error, HasSubstr("prompt token 0"));
  EXPECT_EQ(Events::Last(events.Ended(2, 1))[0].finish, FinishReason::kLength);
}

TEST(EngineService, CancelEndsEveryChoiceOnceAndFreesThePages) {
  Events events;
  (void)WithService({}, events, [&](EngineService& service) {
    Request request = Ask(400);
    request.n = 3;
    EXPECT_TRUE(service.Submit(1, request).ok());
    (void)events.AtLeast(1, 5);
    service.Cancel(1);
    service.Cancel(1);
    service.Cancel(12345);
    EXPECT_EQ(Events::Last(events.Ended(1, 3)).size(), 3u);
    EXPECT_TRUE(service.Submit(2, Ask(2)).ok());
    (void)events.Ended(2, 1);
    EXPECT_EQ(service.Snapshot().used_blocks, 0);
    EXPECT_EQ(service.Snapshot().running, 0);
    service.Drain();
  });
  for (const OutputEvent& event : Events::Last(events.Ended(1, 3))) {
    EXPECT_EQ(event.finish, FinishReason::kAborted);
  }
}

TEST(EngineService, CancelChoiceEndsOneAndTheOthersGoOn) {
  Events events;
  (void)WithService({}, events, [&](EngineService& service) {
    Request request = Ask(200);
    request.n = 3;
    EXPECT_TRUE(service.Submit(1, request).ok());
    (void)events.AtLeast(1, 5);
    for (const int32_t choice : {1, 1, -1, 3}) service.CancelChoice(1, choice);
    service.CancelChoice(12345, 0);
    EXPECT_EQ(Events::Last(events.Ended(1, 1))[0].choice, 1);
    EXPECT_EQ(Events::Last(events.Ended(1, 1))[0].finish, FinishReason::kAborted);
    const auto all = events.Ended(1, 3);
    ASSERT_EQ(Events::Last(all).size(), 3u);
    int64_t tokens[3] = {};
    for (const OutputEvent& event : all) {
      if (event.result.token >= 0) ++tokens[event.choice];
    }
    EXPECT_EQ(tokens[0], 200);
    EXPECT_LT(tokens[1], 200);
    EXPECT_EQ(tokens[2], 200);
    // Those of a request that are left, one after the other: the last ends it.
    request.n = 2;
    request.max_tokens = 400;
    EXPECT_TRUE(service.Submit(2, request).ok());
    (void)events.AtLeast(2, 3);
    service.CancelChoice(2, 0);
    service.CancelChoice(2, 1);
    EXPECT_EQ(Events::Last(events.Ended(2, 2)).size(), 2u);
    EXPECT_TRUE(service.Submit(3, Ask(2)).ok());
    (void)events.Ended(3, 1);
    EXPECT_EQ(service.Snapshot().used_blocks, 0);
    service.Drain();
  });
}

TEST(EngineService, AFullQueueRefusesAndStopEndsTheRest) {
  Events events;
  int accepted = 0;
  (void)WithService({.max_queued_requests = 3}, events, [&](EngineService& service) {
    for (int i = 0; i < 200; ++i) {
      const absl::Status status = service.Submit(i, Ask(400));
      if (status.ok()) {
        EXPECT_EQ(i, accepted);
        ++accepted;
        continue;
      }
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
      break;
    }
    service.Stop();
  });
  EXPECT_GE(accepted, 3);
  for (int i = 0; i < accepted; ++i) {
    const auto last = Events::Last(events.Ended(i, 1));
    ASSERT_EQ(last.size(), 1u);
    EXPECT_EQ(last[0].finish, FinishReason::kAborted);
  }
}

TEST(EngineService, ExpertsAreCountedForWhoeverAsks) {
  Events events;
  (void)WithService({}, events, [&](EngineService& service) {
    const auto sum = [&] {
      const std::vector<int64_t> tokens = service.Experts().tokens;
      return std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
    };
    EXPECT_EQ(sum(), 0);
    EXPECT_TRUE(service.Submit(1, Ask(50)).ok());
    int64_t seen = 0;
    for (size_t count = 1; count <= 50; ++count) {  // while it runs
      (void)events.AtLeast(1, count);
      EXPECT_GE(sum(), seen);
      seen = sum();
    }
    (void)events.Ended(1, 1);
    const int64_t tokens = service.Snapshot().stats.tokens;
    EXPECT_GE(tokens, 54);
    EXPECT_GT(sum(), tokens);
    EXPECT_EQ(sum() % tokens, 0) << "every token has the same number of choices";
    service.Drain();
  });
}

TEST(EngineService, AnIdleEngineKeepsItsRanks) {
  Events events;
  const absl::Status status = WithService({}, events, [&](EngineService& service) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // many heartbeats
    EXPECT_TRUE(service.Submit(1, Ask(2)).ok());
    (void)events.Ended(1, 1);
    service.Drain();
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace folkmoot
