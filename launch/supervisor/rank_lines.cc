// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_lines.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <numeric>

#include "launch/supervisor/tcp_socket.h"

namespace folkmoot {
namespace {

bool IsSpare(const RankLine& line) { return line.number >= 0 && line.rank < 0; }

}  // namespace

std::string RankLine::Name() const {
  if (number < 0) return fmt::format("process {}", process);
  if (rank < 0) return fmt::format("spare process {} (pid {})", number, process);
  if (process > 0) return fmt::format("rank {} (pid {})", rank, process);
  return fmt::format("rank {} (pid {} on {})", rank, far_process, host);
}

void RankLine::SetPlace(const RankHello& hello, bool across_hosts) {
  host = hello.host;
  far_process = hello.process;
  // Whoever knows the token may be believed which process it is.
  const bool here = across_hosts && SameAddress(channel.fd()) && host == HostName();
  if (here) process = far_process;
}

void RankLine::Kill() const {
  if (process > 0) {
    kill(process, SIGKILL);
  } else {
    shutdown(channel.fd(), SHUT_WR);
  }
}

void RankLines::Begin(int ranks, int64_t epoch) {
  first_epoch_ = epoch;
  const auto count = static_cast<size_t>(ranks);
  group_ = {.epoch = epoch,
            .members = std::vector<int32_t>(count),
            .since = std::vector<int64_t>(count, epoch)};
  std::iota(group_.members.begin(), group_.members.end(), 0);
}

int RankLines::ranks() const {
  return static_cast<int>(std::count_if(lines_.begin(), lines_.end(),
                                        [](const RankLine& line) { return line.rank >= 0; }));
}

size_t RankLines::spares() const {
  return static_cast<size_t>(std::count_if(lines_.begin(), lines_.end(), IsSpare));
}

bool RankLines::leaving() const {
  return std::all_of(lines_.begin(), lines_.end(),
                     [](const RankLine& line) { return line.rank < 0 || line.leaving; });
}

void RankLines::Replace(const std::vector<int>& dead, int64_t epoch) {
  std::vector<RankLine*> spares;
  for (RankLine& line : lines_) {
    if (IsSpare(line)) spares.push_back(&line);
  }
  std::sort(spares.begin(), spares.end(),
            [](const RankLine* a, const RankLine* b) { return a->number < b->number; });
  group_.epoch = epoch;
  for (size_t i = 0; i < dead.size(); ++i) {
    for (RankLine& line : lines_) {
      if (line.rank == dead[i]) line.rank = line.number = -1;  // its end will be no news
    }
    spares[i]->rank = dead[i];
    group_.members[static_cast<size_t>(dead[i])] = spares[i]->number;
    group_.since[static_cast<size_t>(dead[i])] = epoch;
  }
}

bool RankLines::Announce(std::chrono::milliseconds patience) {
  const std::string message = Encode(group_);
  bool heard = true;
  for (RankLine& line : lines_) {
    if (line.number < 0) continue;
    line.epoch = group_.epoch;
    if (line.rank >= 0) heard = line.channel.Send(message, patience).ok() && heard;
  }
  return heard;
}

void RankLines::Kill(const std::vector<int>& ranks) const {
  for (const RankLine& line : lines_) {
    if (std::find(ranks.begin(), ranks.end(), line.rank) != ranks.end()) line.Kill();
  }
}

void RankLines::KillAll() const {
  for (const RankLine& line : lines_) line.Kill();
}

std::vector<std::string> RankLines::Names() const {
  std::vector<std::string> names;
  for (const RankLine& line : lines_) names.push_back(line.Name());
  return names;
}

std::vector<std::string> RankLines::ForgetFar() {
  std::vector<std::string> names;
  std::erase_if(lines_, [&names](const RankLine& line) {
    if (line.process <= 0) names.push_back(line.Name());
    return line.process <= 0;
  });
  return names;
}

}  // namespace folkmoot
