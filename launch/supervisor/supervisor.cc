// SPDX-License-Identifier: Apache-2.0
// Main function: Supervisor::Run, one loop over everything that can happen.
#include "launch/supervisor/supervisor.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "launch/supervisor/control.h"
#include "launch/supervisor/engine_lives.h"
#include "launch/supervisor/engine_rank.h"
#include "launch/supervisor/process.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kTick{50};
constexpr milliseconds kLastWords{5'000};     // for the engine to end, when the front end has
constexpr milliseconds kFailureHeard{2'000};  // for clients to hear that the engine will not return
constexpr milliseconds kNewsTimeout{100};

// The connection of a rank or a spare process.
struct RankLine {
  FrameChannel channel;
  pid_t process = 0;
  int number = -1;       // in the job; -1: it has not said
  int rank = -1;         // -1: none
  int64_t epoch = 0;     // 0: it has not said
  bool started = false;  // by the launcher of the life under way
  bool leaving = false;

  std::string Name() const {
    return rank < 0 ? fmt::format("spare process {} (pid {})", number, process)
                    : fmt::format("rank {} (pid {})", rank, process);
  }
};

class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, const FrontEndBody& front_end, std::string directory)
      : options_(options),
        body_(front_end),
        directory_(std::move(directory)),
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
  bool Order(const RepairOrder& order);
  void EndSpares();
  void FailEngine(const std::string& reason);
  void KillRanks(const std::vector<int>* only = nullptr);
  bool EngineGone() const;
  absl::Status Proceed();
  void GiveUp();
  void Finish(int status, milliseconds patience);
  void Tell();

  const SupervisorOptions& options_;
  const FrontEndBody& body_;
  const std::string directory_;
  FileDescriptor ranks_listening_, engine_listening_, signals_;

  pid_t front_end_ = -1;
  std::optional<FrameChannel> news_;

  EngineJob job_;
  EngineLives lives_;
  Clock::time_point started_;  // the job, or its last repair
  int64_t job_epoch_ = 0;      // of the life that the job began with
  RepairOrder group_;          // who is which rank, since when
  bool left_ = false;          // ranks of the job have ended in order
  std::vector<RankLine> lines_;

  std::optional<int> exit_status_;
  Clock::time_point finish_by_;
};

absl::Status Supervisor::Open() {
  FM_ASSIGN_OR_RETURN(ranks_listening_, ListenAt(RankSocket(directory_)));
  FM_ASSIGN_OR_RETURN(engine_listening_, ListenAt(EngineSocket(directory_)));
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGHUP}) sigaddset(&mask, signal);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  signals_ = FileDescriptor(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_.open()) return Unavailable("signalfd: {}", std::strerror(errno));
  return absl::OkStatus();
}

absl::Status Supervisor::StartFrontEnd() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Unavailable("socketpair: {}", std::strerror(errno));
  }
  FileDescriptor mine(pair[0]);
  FileDescriptor theirs(pair[1]);
  FM_ASSIGN_OR_RETURN(front_end_, StartCopy([&] {
                        mine.Reset();
                        news_.reset();
                        lines_.clear();
                        ranks_listening_.Reset();
                        signals_.Reset();
                        return body_(std::move(engine_listening_), std::move(theirs));
                      }));
  news_.emplace(std::move(mine), kControlFrameBytes);
  return absl::OkStatus();
}

absl::Status Supervisor::StartEngine() {
  started_ = Clock::now();
  left_ = false;
  job_epoch_ = lives_.Begin(started_);
  group_ = {.epoch = job_epoch_,
            .members = std::vector<int32_t>(static_cast<size_t>(job_.ranks())),
            .since = std::vector<int64_t>(static_cast<size_t>(job_.ranks()), job_epoch_)};
  std::iota(group_.members.begin(), group_.members.end(), 0);
  FM_RETURN_IF_ERROR(job_.Start(job_epoch_));
  Tell();
  return absl::OkStatus();
}

void Supervisor::Tell() {
  if (news_) (void)news_->Send(Encode(lives_.news()), kNewsTimeout);  // its end is heard otherwise
}

// Ranks have ended, or must. Others take their places, or the life is over.
void Supervisor::LoseRanks(const std::vector<int>& dead, const std::string& reason) {
  KillRanks(&dead);  // first: a stopped process that goes on later must find no peers
  if (!Repair(dead, reason)) FailEngine(reason);
}

bool Supervisor::Repair(const std::vector<int>& dead, const std::string& reason) {
  std::vector<RankLine*> spares;
  for (RankLine& line : lines_) {
    if (line.number >= 0 && line.rank < 0) spares.push_back(&line);
  }
  std::sort(spares.begin(), spares.end(),
            [](const RankLine* a, const RankLine* b) { return a->number < b->number; });
  const Clock::time_point now = Clock::now();
  if (exit_status_ || left_ || !lives_.Repair(dead, spares.size(), reason, now)) return false;
  started_ = now;
  group_.epoch = lives_.epoch();
  for (size_t i = 0; i < dead.size(); ++i) {
    for (RankLine& line : lines_) {
      if (line.rank == dead[i]) line.rank = line.number = -1;  // its end will be no news
    }
    spares[i]->rank = dead[i];
    group_.members[static_cast<size_t>(dead[i])] = spares[i]->number;
    group_.since[static_cast<size_t>(dead[i])] = group_.epoch;
  }
  spdlog::warn("engine {}: {}; engine {} is the other ranks and {} spare process{}",
               group_.epoch - 1, reason, group_.epoch, dead.size(), dead.size() == 1 ? "" : "es");
  Tell();
  if (!Order(group_)) FailEngine("a rank did not hear that the engine is repaired");
  return true;
}

bool Supervisor::Order(const RepairOrder& order) {
  const std::string message = Encode(order);
  bool heard = true;
  for (RankLine& line : lines_) {
    if (line.number < 0) continue;
    line.epoch = order.epoch;
    if (line.rank >= 0) heard = line.channel.Send(message, kNewsTimeout).ok() && heard;
  }
  return heard;
}

// The ranks have ended in order: nobody will need the others.
void Supervisor::EndSpares() {
  const auto is_rank = [](const RankLine& line) { return line.rank >= 0; };
  if (left_ && std::none_of(lines_.begin(), lines_.end(), is_rank)) KillRanks();
}

// Ends the life under way; the loop goes on when nothing of it is left.
void Supervisor::FailEngine(const std::string& reason) {
  if (!lives_.Fail(reason)) return;
  spdlog::error("engine {}: {}", lives_.epoch(), reason);
  Tell();
  KillRanks();
  job_.Kill();
}

// The processes of the ranks, which may have left the launcher's group.
void Supervisor::KillRanks(const std::vector<int>* only) {
  for (const RankLine& line : lines_) {
    const bool meant =
        only == nullptr || std::find(only->begin(), only->end(), line.rank) != only->end();
    if (line.process > 0 && meant) kill(line.process, SIGKILL);
  }
}

bool Supervisor::EngineGone() const { return !job_.running() && lines_.empty(); }

absl::Status Supervisor::Proceed() {
  switch (lives_.Decide(Clock::now(), EngineGone())) {
    case EngineLives::Next::kWait:
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
  if (front_end_ > 0) kill(front_end_, SIGTERM);
}

void Supervisor::OnSignals() {
  signalfd_siginfo info = {};
  while (read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    const auto signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) continue;  // Reap looks anyway
    if (front_end_ > 0) kill(front_end_, signal == SIGHUP ? SIGTERM : signal);
  }
}

void Supervisor::Reap() {
  int status = 0;
  for (pid_t ended = 0; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended == front_end_) {
      OnFrontEndEnd(status);
    } else if (ended == job_.launcher()) {
      job_.Ended();
      const bool leaving = std::all_of(lines_.begin(), lines_.end(), [](const RankLine& line) {
        return line.rank < 0 || line.leaving;
      });
      // Beside spare processes, which are killed, its status means nothing.
      const bool well = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || job_.spares() > 0);
      const bool orderly = well && leaving && left_;
      if (!orderly && !exit_status_) FailEngine("the launcher " + DescribeExit(status));
      KillRanks();
    }
  }
}

void Supervisor::OnFrontEndEnd(int wait_status) {
  front_end_ = -1;
  news_.reset();
  if (exit_status_) return;
  if (WIFEXITED(wait_status)) return Finish(WEXITSTATUS(wait_status), kLastWords);
  spdlog::error("the front end {}: starting it and the engine again", DescribeExit(wait_status));
  FailEngine("the front end " + DescribeExit(wait_status));
  const absl::Status started = StartFrontEnd();
  if (started.ok()) return;
  spdlog::error("{}", Message(started));
  Finish(1, kLastWords);
}

void Supervisor::AcceptRanks() {
  while (true) {
    absl::StatusOr<FileDescriptor> socket = AcceptFrom(ranks_listening_.get());
    if (socket.status().code() == absl::StatusCode::kNotFound) return;
    if (!socket.ok()) {
      spdlog::warn("{}", Message(socket.status()));
      continue;
    }
    const int process = PeerProcess(socket->get());
    lines_.push_back({.channel = FrameChannel(*std::move(socket), kControlFrameBytes),
                      .process = process,
                      .started = job_.running() && ParentOf(process) == job_.launcher()});
  }
}

absl::Status Supervisor::Hear(RankLine& line, const std::string& message) {
  const Clock::time_point now = Clock::now();
  if (line.epoch == 0) {
    RankHello hello;
    FM_RETURN_IF_ERROR(Decode(message, &hello));
    if (hello.epoch != job_epoch_ || hello.ranks != job_.ranks() || hello.spares != job_.spares()) {
      return FailedPrecondition(
          "a rank of life {} with {} ranks and {} spares came to one of life {} with {} and {}",
          hello.epoch, hello.ranks, hello.spares, job_epoch_, job_.ranks(), job_.spares());
    }
    line.number = hello.process;
    line.epoch = lives_.epoch();
    if (hello.process >= job_.ranks()) return absl::OkStatus();
    line.rank = hello.process;
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
  for (size_t i = 0; i < lines_.size();) {
    RankLine& line = lines_[i];
    const absl::Status status = Read(line);
    if (status.ok()) {
      ++i;
      continue;
    }
    const bool gone = status.code() == absl::StatusCode::kUnavailable;
    const std::string what =
        gone ? line.Name() + " is gone" : fmt::format("{}: {}", line.Name(), Message(status));
    if (line.epoch == 0) {
      if (!gone) spdlog::warn("refused a process ({}): {}", line.process, Message(status));
      if (line.started) FailEngine(fmt::format("a process ({}) of it ended early", line.process));
    } else if (line.rank >= 0 && line.epoch == lives_.epoch() && !line.leaving) {
      kill(line.process, SIGKILL);  // it may speak nonsense, or be on its way out
      lost.push_back(line.rank);
      reason += (reason.empty() ? "" : "; ") + what;
    } else if (line.number >= job_.ranks() && !left_ && lives_.failure().empty()) {
      spdlog::warn("engine {}: {}", lives_.epoch(), what);
    }
    lines_.erase(lines_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (!lost.empty()) LoseRanks(lost, reason);
  EndSpares();
}

void Supervisor::Watch() {
  const Clock::time_point now = Clock::now();
  lives_.Tick(now);
  if (!job_.running() || !lives_.failure().empty() || exit_status_) return;
  const auto came = static_cast<int>(
      std::count_if(lines_.begin(), lines_.end(), [](const RankLine& l) { return l.rank >= 0; }));
  const EngineLives::Finding finding = lives_.Look(now, came);
  if (finding.came_up) {
    spdlog::info("engine {}: ready, {} ranks, {:.2f} s after its {}", lives_.epoch(), job_.ranks(),
                 std::chrono::duration<double>(now - started_).count(),
                 lives_.epoch() == job_epoch_ ? "start" : "repair began");
  }
  if (!finding.failure.empty()) {
    if (finding.fence.empty()) return FailEngine(finding.failure);
    return LoseRanks(finding.fence, finding.failure);
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
                             {.fd = ranks_listening_.get(), .events = POLLIN, .revents = 0}};
  for (const RankLine& line : lines_) {
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
    Reap();
    Watch();
    if (exit_status_) {
      const bool late = Clock::now() > finish_by_;
      if (late || (front_end_ < 0 && EngineGone())) break;
    } else {
      FM_RETURN_IF_ERROR(Proceed());
    }
  }
  KillRanks();
  if (front_end_ > 0) kill(front_end_, SIGKILL);
  return *exit_status_;
}

}  // namespace

absl::StatusOr<int> Supervise(const SupervisorOptions& options, const FrontEndBody& front_end) {
  FM_ASSIGN_OR_RETURN(const RunDirectory directory, RunDirectory::Create());
  Supervisor supervisor(options, front_end, directory.path());
  return supervisor.Run();
}

}  // namespace folkmoot
