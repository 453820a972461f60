// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/sim/fiber_stack.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/check.h"

#if FM_ASAN
#include <sanitizer/asan_interface.h>
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define FM_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define FM_TSAN 0
#endif

namespace folkmoot::cuda::sim {
namespace {

namespace context = boost::context::detail;

// A kernel's frame is small; the sanitizers make it several times larger.
constexpr size_t kStackBytes = (FM_ASAN || FM_TSAN) ? 512 * 1024 : 64 * 1024;

// The fiber that ran before the one that runs now, which has to be told where it stopped.
thread_local FiberContext* left = nullptr;

void Arrived(context::transfer_t from, [[maybe_unused]] FiberContext* self) {
  if (left != nullptr) left->at = from.fctx;
#if FM_ASAN
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(self == nullptr ? nullptr : self->fake_stack, &bottom, &bytes);
  if (left != nullptr) {  // a thread may stand on another stack in every block
    left->bottom = bottom;
    left->bytes = bytes;
  }
#endif
}

}  // namespace

FiberStack::FiberStack(size_t bytes) : bytes_(bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* mapped = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  FM_CHECK(mapped != MAP_FAILED);
  FM_CHECK(mprotect(mapped, page, PROT_NONE) == 0);
  mapped_ = static_cast<unsigned char*>(mapped);
  bottom_ = mapped_ + page;
}

FiberStack::~FiberStack() {
#if FM_TSAN
  if (tsan_ != nullptr) __tsan_destroy_fiber(tsan_);
#endif
#if FM_ASAN
  ASAN_UNPOISON_MEMORY_REGION(bottom_, bytes_);  // whatever is mapped here next is no stack
#endif
  munmap(mapped_, bytes_ + static_cast<size_t>(bottom_ - mapped_));
}

void FiberStack::NewFiber() {
#if FM_TSAN
  // A new one each time: the calls of one that ended without returning would pile up.
  if (tsan_ != nullptr) __tsan_destroy_fiber(tsan_);
  tsan_ = __tsan_create_fiber(0);
#endif
}

void MakeFiber(FiberStack& stack, void (*entry)(context::transfer_t), FiberContext* to) {
  stack.NewFiber();
  to->at = context::make_fcontext(stack.bottom() + stack.bytes(), stack.bytes(), entry);
  to->bottom = stack.bottom();
  to->bytes = stack.bytes();
  to->fake_stack = nullptr;
  to->tsan = stack.tsan();
}

void SwitchFiber(FiberContext* save, FiberContext* to) {
  left = save;
#if FM_ASAN
  __sanitizer_start_switch_fiber(save == nullptr ? nullptr : &save->fake_stack, to->bottom,
                                 to->bytes);
#endif
#if FM_TSAN
  if (save != nullptr) save->tsan = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to->tsan, 0);
#endif
  Arrived(context::jump_fcontext(to->at, nullptr), save);
}

void BeginFiber(context::transfer_t transfer) { Arrived(transfer, nullptr); }

FiberStack* StackPool::Take() {
  if (free_.empty()) {
    all_.push_back(std::make_unique<FiberStack>(kStackBytes));
    return all_.back().get();
  }
  FiberStack* stack = free_.back();
  free_.pop_back();
  return stack;
}

void StackPool::GiveAll() {
  free_.clear();
  for (const std::unique_ptr<FiberStack>& stack : all_) free_.push_back(stack.get());
}

}  // namespace folkmoot::cuda::sim
