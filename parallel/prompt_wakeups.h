// SPDX-License-Identifier: Apache-2.0
// Whoever waits for a message of another rank should be awake when it comes. A token of several
// ranks is tens of such waits, which sleep when ranks share cores or others compete for them. Linux
// lets a sleeper oversleep by 50 us unless it objects, and lets whoever has the core end a turn of
// some milliseconds unless the sleeper asked for shorter turns ("slices") for itself. The share of
// the processor that it gets stays what it was.
//
// Not for a rank that is alone: its threads compute beside each other, and short turns cost them a
// quarter of their speed beside others.
#pragma once

namespace folkmoot {

// For this thread, and for all threads that it starts from here on. Kernels before 6.12 have no
// slices of one's own; threads with another scheduling policy keep theirs.
void AskForPromptWakeups();

}  // namespace folkmoot
