// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_entrance.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <tuple>
#include <utility>

#include "launch/supervisor/engine_rank.h"
#include "launch/supervisor/handoff.h"
#include "launch/supervisor/tcp_socket.h"

namespace folkmoot {

absl::StatusOr<RankEntrance> RankEntrance::Open(const std::string& directory,
                                                const std::string& control_host, int control_port) {
  RankEntrance entrance;
  if (control_host.empty()) {
    FM_ASSIGN_OR_RETURN(entrance.listening_, ListenAt(RankSocket(directory)));
    FM_ASSIGN_OR_RETURN(entrance.front_end_source_, ListenAt(EngineSocket(directory)));
    return entrance;
  }
  FM_ASSIGN_OR_RETURN(FileDescriptor listening, ListenOnTcp(control_host, control_port));
  FM_ASSIGN_OR_RETURN(std::tie(entrance.handoff_, entrance.front_end_source_), MakeHandoff());
  entrance.control_ = LocalAddress(listening.get());
  entrance.admission_.emplace(std::move(listening));
  return entrance;
}

std::string RankEntrance::BeginLife(int64_t epoch) {
  if (!admission_) return "";
  const Token token = RandomToken();
  admission_->Expect(token, epoch);
  return TokenText(token);
}

void RankEntrance::EndLife() {
  if (plans_.open()) shutdown(plans_.get(), SHUT_RDWR);
  plans_.Reset();
}

void RankEntrance::AppendTo(std::vector<pollfd>* fds) const {
  if (admission_) return admission_->AppendTo(fds);
  fds->push_back({.fd = listening_.get(), .events = POLLIN, .revents = 0});
}

std::vector<RankEntrance::Arrival> RankEntrance::Arrivals(Admission::Time now) {
  std::vector<Arrival> arrivals;
  while (!admission_) {
    absl::StatusOr<FileDescriptor> socket = AcceptFrom(listening_.get());
    if (socket.status().code() == absl::StatusCode::kNotFound) return arrivals;
    if (!socket.ok()) {
      spdlog::warn("{}", Message(socket.status()));
      continue;
    }
    const int process = PeerProcess(socket->get());
    arrivals.push_back({.socket = *std::move(socket), .process = process});
  }
  for (Admission::Guest& guest : admission_->Admit(now)) {
    if (guest.purpose == Purpose::kBeats) {
      arrivals.push_back({.socket = std::move(guest.socket), .process = 0});
      continue;
    }
    const absl::Status handed = HandOff(handoff_.get(), guest.socket.get());
    if (!handed.ok()) spdlog::warn("rank 0: {}", Message(handed));
    plans_ = std::move(guest.socket);
  }
  return arrivals;
}

FileDescriptor RankEntrance::BecomeFrontEnds() {
  FileDescriptor source = std::move(front_end_source_);
  *this = RankEntrance();
  return source;
}

}  // namespace folkmoot
