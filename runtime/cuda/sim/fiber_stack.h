// SPDX-License-Identifier: Apache-2.0
// Switches between stacks (Boost.Context), with what the sanitizers want to know about it.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <memory>
#include <vector>

#if !defined(__has_feature)
#define __has_feature(x) 0  // Clang's word
#endif

namespace folkmoot::cuda::sim {

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define FM_ASAN 1
#else
#define FM_ASAN 0
#endif
constexpr bool kAddressSanitizer = FM_ASAN == 1;

// Memory of one stack, with a page below it that traps.
class FiberStack {
 public:
  explicit FiberStack(size_t bytes);
  ~FiberStack();
  FiberStack(const FiberStack&) = delete;
  FiberStack& operator=(const FiberStack&) = delete;
  unsigned char* bottom() const { return bottom_; }
  size_t bytes() const { return bytes_; }
  void* tsan() const { return tsan_; }
  void NewFiber();

 private:
  unsigned char* mapped_ = nullptr;
  unsigned char* bottom_ = nullptr;
  size_t bytes_ = 0;
  void* tsan_ = nullptr;  // ThreadSanitizer's name of the fiber
};

// Where a fiber stopped.
struct FiberContext {
  boost::context::detail::fcontext_t at = nullptr;
  const void* bottom = nullptr;
  size_t bytes = 0;
  void* fake_stack = nullptr;  // of AddressSanitizer
  void* tsan = nullptr;
};

// Makes `to` a fiber that will start in `entry` on `stack`.
void MakeFiber(FiberStack& stack, void (*entry)(boost::context::detail::transfer_t),
               FiberContext* to);
// Leaves the running fiber for `to`. Returns when somebody switches to `save`; never, when `save`
// is null (the fiber has ended; its stack may be used again as soon as another runs).
void SwitchFiber(FiberContext* save, FiberContext* to);
// The first thing that a new fiber does.
void BeginFiber(boost::context::detail::transfer_t transfer);

// Stacks that are not in use.
class StackPool {
 public:
  FiberStack* Take();
  void Give(FiberStack* stack) { free_.push_back(stack); }
  void GiveAll();  // after a block that failed: nobody stands on any of them

 private:
  std::vector<std::unique_ptr<FiberStack>> all_;
  std::vector<FiberStack*> free_;
};

}  // namespace folkmoot::cuda::sim
