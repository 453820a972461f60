// SPDX-License-Identifier: Apache-2.0
// What a process that speaks with strangers gives up.
#pragma once

#include "runtime/status.h"

namespace folkmoot {

// From here on this process and its threads can neither start a program, nor gain rights, nor trace
// other processes, nor change the system; such calls fail with EPERM. It leaves no core dump,
// whose memory would hold prompts, and other users cannot attach to it. For ever; before threads
// start. An error where the kernel does not know how: what was given up until then stays so.
absl::Status Confine();

}  // namespace folkmoot
