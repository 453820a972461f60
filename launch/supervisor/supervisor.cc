// SPDX-License-Identifier: Apache-2.0
// Main function: Supervisor::Run, one loop over everything that can happen.
#include "launch/supervisor/supervisor.h"

#include <fmt/ranges.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "launch/supervisor/control.h"
#include "launch/supervisor/engine_lives.h"
#include "launch/supervisor/front_end_child.h"
#include "launch/supervisor/front_end_process.h"
#include "launch/supervisor/listening_sockets.h"
#include "launch/supervisor/process.h"
#include "launch/supervisor/rank_entrance.h"
#include "launch/supervisor/rank_lines.h"
#include "launch/supervisor/refusal_log.h"
#include "launch/supervisor/run_directory.h"
#include "launch/supervisor/tcp_socket.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kTick{50};
constexpr milliseconds kLastWords{5'000};     // for the engine to end, when the front end has
constexpr milliseconds kFailureHeard{2'000};  // for clients to hear that the engine will not return
// For a launcher that was asked to end, and for ranks on other hosts to hear that they must.
constexpr milliseconds kFarEnd{5'000};
constexpr milliseconds kHearOrder{100};  // for a rank to hear of a repair

class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, const FrontEndBody& front_end, std::string directory)
      : options_(options),
        body_(front_end),
        directory_(std::move(directory)),
        front_end_(options.front_end_limits),
        job_(options.engine, directory_),
        lives_(options.engine.ranks, options.limits) {}

  absl::StatusOr<int> Run();

 private:
  absl::Status Open();
  absl::Status StartFrontEnd();
  absl::Status StartEngine();

  void Wait();
  void OnSignals();
  void Reap();
  void OnFrontEndEnd(int wait_status);
  void AcceptRanks();
  void ReadRanks();
  absl::Status Read(RankLine& line);
  absl::Status Hear(RankLine& line, const std::string& message);
  void Watch();

  void LoseRanks(const std::vector<int>& dead, const std::string& reason);
  bool Repair(const std::vector<int>& dead, const std::string& reason);
  void EndSpares();
  void FailEngine(const std::string& reason);
  void AbandonEngine();
  void EndLeftovers();
  std::string WhereNobodyCame() const;
  bool EngineGone() const;
  absl::Status Proceed();
  void GiveUp();
  void Finish(int status, milliseconds patience);
  void Tell();

  const SupervisorOptions& options_;
  const FrontEndBody& body_;
  const std::string directory_;
  std::optional<RankEntrance> entrance_;
  FileDescriptor signals_;

  FrontEndChild front_end_;
  bool stopping_ = false;  // somebody has asked us to

  EngineJob job_;
  EngineLives lives_;
  Clock::time_point started_;  // the job, or its last repair
  Clock::time_point failed_;   // the life under way, if it has
  bool left_ = false;          // ranks of the job have ended in order
  RankLines lines_;
  RefusalLog refusals_;             // of processes of this host
  std::vector<std::string> hosts_;  // of the ranks that have come in this life: name, address

  std::optional<int> exit_status_;
  Clock::time_point finish_by_;
};

absl::Status Supervisor::Open() {
  FM_ASSIGN_OR_RETURN(entrance_,
                      RankEntrance::Open(directory_, options_.control_host, options_.control_port));
  if (entrance_->across_hosts()) {
    spdlog::info("ranks find the supervisor at {}", entrance_->control());
  }
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGHUP}) sigaddset(&mask, signal);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  signals_ = FileDescriptor(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_.open()) return Unavailable("signalfd: {}", std::strerror(errno));
  return absl::OkStatus();
}

absl::Status Supervisor::StartFrontEnd() {
  lives_.OnFrontEndStart();
  return front_end_.Start([&](FileDescriptor news, int64_t life) {
    lines_.all().clear();
    signals_.Reset();
    return body_({.engine = entrance_->BecomeFrontEnds(), .news = std::move(news), .life = life});
  });
}

absl::Status Supervisor::StartEngine() {
  started_ = Clock::now();
  left_ = false;
  hosts_.clear();
  const int64_t epoch = lives_.Begin(started_);
  lines_.Begin(job_.ranks(), epoch);
  FM_RETURN_IF_ERROR(job_.Start(epoch, entrance_->control(), entrance_->BeginLife(epoch)));
  Tell();
  return absl::OkStatus();
}

void Supervisor::Tell() { front_end_.Tell(lives_.news()); }

// Ranks have ended, or must. Others take their places, or the life is over.
void Supervisor::LoseRanks(const std::vector<int>& dead, const std::string& reason) {
  lines_.Kill(dead);  // first: a stopped process that goes on later must find no peers
  if (!Repair(dead, reason)) FailEngine(reason);
}

bool Supervisor::Repair(const std::vector<int>& dead, const std::string& reason) {
  const Clock::time_point now = Clock::now();
  if (exit_status_ || left_ || !lives_.Repair(dead, lines_.spares(), reason, now)) return false;
  started_ = now;
  spdlog::warn("engine {}: {}; engine {} is the other ranks and {} spare process{}",
               lives_.epoch() - 1, reason, lives_.epoch(), dead.size(),
               dead.size() == 1 ? "" : "es");
  Tell();
  lines_.Replace(dead, lives_.epoch());
  if (!lines_.Announce(kHearOrder)) FailEngine("a rank did not hear that the engine is repaired");
  return true;
}

// The ranks have ended in order: nobody will need the others.
void Supervisor::EndSpares() {
  if (left_ && lines_.ranks() == 0) lines_.KillAll();
}

// Ends the life under way; the loop goes on when nothing of it is left.
void Supervisor::FailEngine(const std::string& reason) {
  if (!lives_.Fail(reason)) return;
  spdlog::error("engine {}: {}", lives_.epoch(), reason);
  Tell();
  failed_ = Clock::now();
  lines_.KillAll();
  entrance_->EndLife();
  job_.Kill();
}

// What is left of a life some time after its end.
//
// A host that is out of reach confirms nothing. Its ranks belong to a life whose token and peers
// are gone: they can do no harm, and end when the kernel there gives their connections up.
void Supervisor::EndLeftovers() {
  if (lives_.failure().empty() || Clock::now() - failed_ < kFarEnd) return;
  job_.Kill();
  for (const std::string& name : lines_.ForgetFar()) {
    spdlog::warn("{} has not ended within {} s: its host must end it", name,
                 kFarEnd.count() / 1000);
  }
}

// Of a life that fails, behind the reason.
std::string Supervisor::WhereNobodyCame() const {
  const bool all = hosts_.size() == 2 * static_cast<size_t>(job_.ranks());
  return all ? "" : MissingHosts(job_.hosts(), hosts_);
}

bool Supervisor::EngineGone() const { return !job_.running() && lines_.all().empty(); }

absl::Status Supervisor::Proceed() {
  switch (lives_.Decide(Clock::now(), EngineGone())) {
    case EngineLives::Next::kWait:
      break;
    case EngineLives::Next::kAbandon:
      AbandonEngine();
      break;
    case EngineLives::Next::kPause:
      spdlog::warn("engine {}: starts in {} ms; requests wait and go on", lives_.epoch() + 1,
                   lives_.pause().count());
      break;
    case EngineLives::Next::kStart:
      return StartEngine();
    case EngineLives::Next::kGiveUp:
      GiveUp();
  }
  return absl::OkStatus();
}

// What was killed and does not end stands in the kernel, and holds what it holds. The next life
// does not wait for it.
void Supervisor::AbandonEngine() {
  std::vector<std::string> who = lines_.Names();
  if (job_.running()) who.emplace_back("the launcher");
  spdlog::error(
      "engine {}: {} does not end {} s after SIGKILL: does a disk or a driver not answer? The next "
      "engine starts beside it",
      lives_.epoch(), fmt::join(who, ", "), EngineLives::kDying.count() / 1000);
  lines_.all().clear();
  job_.Ended();
}

void Supervisor::GiveUp() {
  const bool at_once = lives_.epoch() == 1;
  Tell();
  if (at_once) {
    spdlog::error("the engine could not start: {}", lives_.failure());
  } else {
    spdlog::error("the engine has failed {} times in a row and is given up: {}",
                  RestartPolicy::kMostFailures, lives_.failure());
  }
  if (at_once || options_.exit_on_engine_failure) Finish(1, kFailureHeard);
}

// The server ends with `status`, at the latest after `patience`.
void Supervisor::Finish(int status, milliseconds patience) {
  if (exit_status_) return;
  exit_status_ = status;
  finish_by_ = Clock::now() + patience;
  front_end_.Signal(SIGTERM);
}

void Supervisor::OnSignals() {
  signalfd_siginfo info = {};
  while (read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    const auto signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) continue;  // Reap looks anyway
    stopping_ = true;
    front_end_.Signal(signal == SIGHUP ? SIGTERM : signal);
  }
}

void Supervisor::Reap() {
  int status = 0;
  for (pid_t ended = 0; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended == front_end_.process()) {
      OnFrontEndEnd(status);
    } else if (ended == job_.launcher()) {
      job_.Ended();
      // Beside spare processes, which are killed, its status means nothing.
      const bool well = job_.spares() > 0 ? left_ : WEXITSTATUS(status) == 0;
      if (!(WIFEXITED(status) && well && lines_.leaving()) && !exit_status_) {
        FailEngine("the launcher " + DescribeExit(status) + WhereNobodyCame());
      }
      lines_.KillAll();
    }
  }
}

void Supervisor::OnFrontEndEnd(int wait_status) {
  front_end_.Ended();
  entrance_->FrontEndEnded();
  if (exit_status_) return;
  const bool lost = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == kLostSupervisor;
  if (WIFEXITED(wait_status) && !lost) return Finish(WEXITSTATUS(wait_status), kLastWords);
  if (stopping_) {
    spdlog::error("the front end {} while it was to end: its requests are lost",
                  DescribeExit(wait_status));
    return Finish(1, kLastWords);
  }
  spdlog::error("the front end {}: starting it and the engine again", DescribeExit(wait_status));
  FailEngine("the front end " + DescribeExit(wait_status));
  const absl::Status started = StartFrontEnd();
  if (started.ok()) return Tell();
  spdlog::error("{}", Message(started));
  Finish(1, kLastWords);
}

void Supervisor::AcceptRanks() {
  for (RankEntrance::Arrival& arrival : entrance_->Arrivals(Clock::now())) {
    const bool started =
        job_.spares() > 0 && job_.running() && ParentOf(arrival.process) == job_.launcher();
    lines_.all().push_back({.channel = FrameChannel(std::move(arrival.socket), kControlFrameBytes),
                            .process = arrival.process,
                            .started = started});
  }
}

absl::Status Supervisor::Hear(RankLine& line, const std::string& message) {
  const Clock::time_point now = Clock::now();
  if (line.epoch == 0) {
    RankHello hello;
    FM_RETURN_IF_ERROR(Decode(message, &hello));
    const int64_t life = lines_.first_epoch();
    if (hello.epoch != life || hello.ranks != job_.ranks() || hello.spares != job_.spares()) {
      return FailedPrecondition(
          "a rank of life {} with {} ranks and {} spares came to one of life {} with {} and {}",
          hello.epoch, hello.ranks, hello.spares, life, job_.ranks(), job_.spares());
    }
    line.number = hello.number;
    line.epoch = lives_.epoch();
    if (hello.number >= job_.ranks()) return absl::OkStatus();
    line.rank = hello.number;
    line.SetPlace(hello, entrance_->across_hosts());
    const std::string address = PeerAddress(line.channel.fd());
    hosts_.insert(hosts_.end(), {hello.host, address.substr(0, address.rfind(':'))});
    lives_.OnHello(line.rank, now);
    return absl::OkStatus();
  }
  RankBeat beat;
  FM_RETURN_IF_ERROR(Decode(message, &beat));
  if (line.rank < 0 || line.epoch != lives_.epoch()) return absl::OkStatus();
  line.leaving = beat.state == RankActivity::kLeaving;
  left_ = left_ || line.leaving;
  lives_.OnBeat(line.rank, beat, now);
  return absl::OkStatus();
}

// What the rank has said. An error: it is gone, or speaks nonsense.
absl::Status Supervisor::Read(RankLine& line) {
  while (true) {
    FM_ASSIGN_OR_RETURN(const std::optional<std::string> message, line.channel.Poll());
    if (!message) return absl::OkStatus();
    FM_RETURN_IF_ERROR(Hear(line, *message));
  }
}

void Supervisor::ReadRanks() {
  std::vector<int> lost;
  std::string reason;
  std::vector<RankLine>& lines = lines_.all();
  for (size_t i = 0; i < lines.size();) {
    RankLine& line = lines[i];
    const absl::Status status = Read(line);
    if (status.ok()) {
      ++i;
      continue;
    }
    const bool gone = status.code() == absl::StatusCode::kUnavailable;
    const std::string what =
        gone ? line.Name() + " is gone" : fmt::format("{}: {}", line.Name(), Message(status));
    if (line.epoch == 0) {
      const std::string who = fmt::format("a process ({})", line.process);
      if (!gone) refusals_.Say(who, Message(status), Clock::now());
      if (line.started) FailEngine(fmt::format("a process ({}) of it ended early", line.process));
    } else if (line.rank >= 0 && line.epoch == lives_.epoch() && !line.leaving) {
      line.Kill();  // it may speak nonsense, or be on its way out
      lost.push_back(line.rank);
      reason += (reason.empty() ? "" : "; ") + what;
    } else if (line.number >= job_.ranks() && !left_ && lives_.failure().empty()) {
      spdlog::warn("engine {}: {}", lives_.epoch(), what);
    }
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (!lost.empty()) LoseRanks(lost, reason);
  EndSpares();
}

void Supervisor::Watch() {
  const Clock::time_point now = Clock::now();
  lives_.Tick(now);
  if (!job_.running() || !lives_.failure().empty() || exit_status_) return;
  const EngineLives::Finding finding = lives_.Look(now, lines_.ranks());
  if (finding.came_up) {
    const bool repaired = lives_.epoch() != lines_.first_epoch();
    spdlog::info("engine {}: ready, {} ranks, {:.{}f} s after its {}", lives_.epoch(), job_.ranks(),
                 std::chrono::duration<double>(now - started_).count(), repaired ? 2 : 1,
                 repaired ? "repair began" : "start");
    // Across hosts MPI's ports are needed.
    if (lives_.epoch() == 1 && !entrance_->across_hosts()) {
      WarnOfListeners({.supervisor = getpid(), .front_end = front_end_.process()});
    }
  }
  if (!finding.failure.empty()) {
    const std::string failure = finding.failure + WhereNobodyCame();
    return finding.fence.empty() ? FailEngine(failure) : LoseRanks(finding.fence, failure);
  }
  if (!finding.news) return;
  const EngineNews& news = lives_.news();
  if (news.state == EngineState::kStalled) {
    spdlog::warn("engine {}: {}", lives_.epoch(), news.reason);
  }
  Tell();
}

void Supervisor::Wait() {
  std::vector<pollfd> fds = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                             {.fd = front_end_.fd(), .events = POLLIN, .revents = 0}};
  entrance_->AppendTo(&fds);
  for (const RankLine& line : lines_.all()) {
    fds.push_back({.fd = line.channel.fd(), .events = POLLIN, .revents = 0});
  }
  poll(fds.data(), fds.size(), static_cast<int>(kTick.count()));
}

absl::StatusOr<int> Supervisor::Run() {
  FM_RETURN_IF_ERROR(Open());
  FM_RETURN_IF_ERROR(StartFrontEnd());
  FM_RETURN_IF_ERROR(StartEngine());
  while (true) {
    Wait();
    OnSignals();
    AcceptRanks();
    ReadRanks();
    front_end_.Read(
        [&](const FrontEndBeat& beat) { lives_.OnFrontEnd(beat.steps, beat.culprits); });
    EndLeftovers();
    Reap();
    Watch();
    if (!exit_status_) front_end_.Watch(Clock::now());
    if (exit_status_) {
      const bool late = Clock::now() > finish_by_;
      if (late || (!front_end_.running() && EngineGone())) break;
    } else {
      FM_RETURN_IF_ERROR(Proceed());
    }
  }
  lines_.KillAll();
  front_end_.Signal(SIGKILL);
  return *exit_status_;
}

}  // namespace

absl::StatusOr<int> Supervise(const SupervisorOptions& options, const FrontEndBody& front_end) {
  FM_ASSIGN_OR_RETURN(const RunDirectory directory, RunDirectory::Create());
  Supervisor supervisor(options, front_end, directory.path());
  return supervisor.Run();
}

}  // namespace folkmoot
