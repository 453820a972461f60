// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/supervisor_line.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "launch/agreement.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTokenTime{20'000};
constexpr milliseconds kEntrance{20'000};

absl::StatusOr<Token> TokenFromInput() {
  FM_ASSIGN_OR_RETURN(const std::string line,
                      ReadLine(STDIN_FILENO, 2 * sizeof(Token), kTokenTime));
  return ParseToken(line);
}

}  // namespace

absl::StatusOr<std::string> ReadLine(int fd, size_t most, milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  std::string line;
  while (line.size() <= most) {
    const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
    pollfd wait = {.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = poll(&wait, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return DeadlineExceeded("nothing within {} ms", timeout.count());
    char byte = 0;  // one by one: what follows the line is not ours
    if (read(fd, &byte, 1) != 1) return Unavailable("it ended after {} bytes", line.size());
    if (byte == '\n') return line;
    line += byte;
  }
  return DataLoss("no line ends within {} bytes", most);
}

absl::StatusOr<SupervisorLine> SupervisorLine::Find(const EngineRankOptions& life,
                                                    Communicator& world) {
  SupervisorLine line(life);
  if (life.control.empty()) return line;
  absl::Status known;
  if (world.rank() == 0) {
    const absl::StatusOr<Token> token = TokenFromInput();
    known = Annotate(token.status(), "the token of the engine, on the standard input of rank 0");
    if (token.ok()) line.token_ = *token;
  }
  FM_RETURN_IF_ERROR(AgreeOrFail(world, known, {}));
  FM_RETURN_IF_ERROR(Broadcast(world, /*root=*/0, std::as_writable_bytes(std::span(line.token_)),
                               {.phase = "token"}));
  return line;
}

absl::StatusOr<FileDescriptor> SupervisorLine::ForBeats() const {
  if (life_->control.empty()) return ConnectTo(RankSocket(life_->directory));
  return EnterAt(life_->control, token_, Purpose::kBeats, life_->epoch, kEntrance);
}

absl::StatusOr<FileDescriptor> SupervisorLine::ForPlans() const {
  if (life_->control.empty()) return ConnectTo(EngineSocket(life_->directory));
  return EnterAt(life_->control, token_, Purpose::kPlans, life_->epoch, kEntrance);
}

}  // namespace folkmoot
