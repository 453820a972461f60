// SPDX-License-Identifier: Apache-2.0
// Nothing on the heap in a steady loop: this binary counts what each thread takes from it.
#include <cstdlib>
#include <new>

#include "gtest/gtest.h"
#include "parallel/dispatcher.h"
#include "tests/support/rank_test.h"
#include "tests/support/routing_case.h"

namespace {
thread_local int64_t allocations = 0;
}  // namespace

// Not inlined: the compiler would see free() meet a pointer of operator new.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) {
  ++allocations;
  const size_t align = static_cast<size_t>(alignment);
  void* memory = std::aligned_alloc(align, (size + align - 1) / align * align);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t /*size*/,
                                       std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

namespace folkmoot {
namespace {

TEST(Allocations, SteadyDispatchTakesNone) {
  for (const int ranks : {1, 3}) {
    for (const DispatcherKind kind : {DispatcherKind::kAuto, DispatcherKind::kAllGather}) {
      RunRanks(ranks, [kind](Communicator& comm) {
        const ExpertPlacement placement = ExpertPlacement::RoundRobin(7, comm.size());
        const auto dispatcher = MakeDispatcher(kind, comm, placement).value();
        const auto handle = dispatcher->MakeHandle();
        RoutingCase test;
        test.tokens = 24;
        const int64_t first = test.FirstToken(comm.rank(), comm.size());
        const int64_t count = test.FirstToken(comm.rank() + 1, comm.size()) - first;
        const TestTokens tokens(test, first, count);
        std::vector<float> out(static_cast<size_t>(count * test.hidden));
        int64_t before = 0;
        for (int step = 0; step < 20; ++step) {
          if (step == 10) before = allocations;
          const WaitLabel label{.phase = "dispatch", .layer = 0, .step = step};
          ASSERT_TRUE(dispatcher->StartDispatch(tokens.x(), tokens.routing, label, *handle).ok());
          const ExpertBatch batch = dispatcher->FinishDispatch(*handle).value();
          ASSERT_TRUE(dispatcher->StartCombine(batch.rows, *handle).ok());
          ASSERT_TRUE(dispatcher->FinishCombine(*handle, {out.data(), count, test.hidden}).ok());
        }
        EXPECT_EQ(allocations - before, 0);
      });
    }
  }
}

TEST(Allocations, AreCounted) {
  const int64_t before = allocations;
  const std::vector<float> memory(100);
  EXPECT_EQ(allocations - before, 1);
}

}  // namespace
}  // namespace folkmoot
