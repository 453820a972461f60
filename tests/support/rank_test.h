// SPDX-License-Identifier: Apache-2.0
// Ranks as threads, for tests of anything that needs a Communicator.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "parallel/thread_communicator.h"

namespace folkmoot {

using RankBody = std::function<void(Communicator&)>;

// Runs body once per rank, each in a thread of its own, and returns when all are done. Assertions
// in the body work; a fatal one ends the body of its rank only. The communicators outlive the
// threads, so a rank that returns early is silent rather than gone.
inline void RunRanks(int ranks, const RankBody& body) {
  const std::vector<std::unique_ptr<Communicator>> communicators = MakeThreadCommunicators(ranks);
  std::vector<std::thread> threads;
  for (const auto& communicator : communicators) {
    threads.emplace_back([&body, comm = communicator.get()] { body(*comm); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace folkmoot
