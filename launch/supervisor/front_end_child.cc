// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/front_end_child.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "launch/supervisor/engine_lives.h"
#include "launch/supervisor/process.h"

namespace folkmoot {
namespace {

constexpr std::chrono::milliseconds kTellTimeout{100};

}  // namespace

absl::Status FrontEndChild::Start(
    const std::function<int(FileDescriptor news, int64_t life)>& body) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Unavailable("socketpair: {}", std::strerror(errno));
  }
  FileDescriptor mine(pair[0]);
  FileDescriptor theirs(pair[1]);
  ++life_;
  hangs_ = false;
  watch_.Reset(std::chrono::steady_clock::now());
  FM_ASSIGN_OR_RETURN(process_, StartCopy([&] {
                        mine.Reset();
                        line_.reset();
                        return body(std::move(theirs), life_);
                      }));
  line_.emplace(std::move(mine), kControlFrameBytes);
  return absl::OkStatus();
}

void FrontEndChild::Signal(int number) const {
  if (process_ > 0) kill(process_, number);
}

void FrontEndChild::Ended() {
  process_ = -1;
  line_.reset();
}

void FrontEndChild::Read(const std::function<void(const FrontEndBeat&)>& hear) {
  while (line_) {
    const absl::StatusOr<std::optional<std::string>> message = line_->Poll();
    if (!message.ok()) return line_.reset();
    if (!message->has_value()) return;
    FrontEndBeat beat;
    const absl::Status status = Decode(**message, &beat);
    if (!status.ok()) {
      spdlog::warn("front end: {}", Message(status));
      continue;
    }
    watch_.OnBeat(beat, std::chrono::steady_clock::now());
    hear(beat);
  }
}

void FrontEndChild::Tell(const EngineNews& news) {
  if (line_) (void)line_->Send(Encode(news), kTellTimeout);
}

void FrontEndChild::Watch(Time now) {
  if (last_look_ && now - *last_look_ > EngineLives::kStoodStill) watch_.Forgive(now);
  last_look_ = now;
  if (process_ <= 0 || hangs_) return;
  const std::string why = watch_.Check(now);
  if (why.empty()) return;
  hangs_ = true;
  spdlog::error("the front end (pid {}) hangs: {}", process_, why);
  kill(process_, SIGKILL);
}

}  // namespace folkmoot
