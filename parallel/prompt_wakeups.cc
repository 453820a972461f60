// SPDX-License-Identifier: Apache-2.0
#include "parallel/prompt_wakeups.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace folkmoot {
namespace {

constexpr uint64_t kSlice = 100'000;     // nanoseconds: the shortest that the kernel grants
constexpr unsigned long kSlack = 1'000;  // nanoseconds

// The kernel's sched_attr in its first size (sched_setattr(2)). Its header defines what <sched.h>
// defines as well.
struct Attributes {
  uint32_t size = sizeof(Attributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;  // of a policy without deadlines: the slice
  uint64_t deadline = 0;
  uint64_t period = 0;
};
static_assert(sizeof(Attributes) == 48);

}  // namespace

// A refusal (a container's policy) costs speed beside others, and nothing else.
void AskForPromptWakeups() {
  (void)prctl(PR_SET_TIMERSLACK, kSlack, 0, 0, 0);
  Attributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.runtime = kSlice;
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace folkmoot
