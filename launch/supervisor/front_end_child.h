// SPDX-License-Identifier: Apache-2.0
// The front end's process as its supervisor has it: started, spoken with, watched, and ended when
// it hangs. One at a time, again and again.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>

#include "launch/supervisor/control.h"
#include "launch/supervisor/frame_channel.h"
#include "launch/supervisor/front_end_watch.h"
#include "runtime/status.h"

namespace folkmoot {

class FrontEndChild {
 public:
  using Time = FrontEndWatch::Time;

  explicit FrontEndChild(const FrontEndLimits& limits) : watch_(limits) {}

  // `body` runs in the new process, with its end of the line and which life it is: 1, 2 ... It
  // returns the exit status.
  absl::Status Start(const std::function<int(FileDescriptor news, int64_t life)>& body);
  bool running() const { return process_ > 0; }
  pid_t process() const { return process_; }  // -1: none
  void Signal(int number) const;
  // It has been waited for.
  void Ended();

  int fd() const { return line_ ? line_->fd() : -1; }  // -1: nothing to hear
  // The beats that have come. A line that is broken is closed, and the process ends.
  void Read(const std::function<void(const FrontEndBeat&)>& hear);
  // Its own end is heard otherwise.
  void Tell(const EngineNews& news);
  // Kills it, once, when it hangs. Many times a second: a longer pause is our own, not its.
  void Watch(Time now);

 private:
  FrontEndWatch watch_;
  pid_t process_ = -1;
  int64_t life_ = 0;
  bool hangs_ = false;
  std::optional<FrameChannel> line_;
  std::optional<Time> last_look_;
};

}  // namespace folkmoot
