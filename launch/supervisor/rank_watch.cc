// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_watch.h"

#include <algorithm>
#include <utility>

namespace folkmoot {
namespace {

// Below this share of one processor a rank counts as not using it.
constexpr double kBusyShare = 0.05;

double Seconds(RankWatch::Time::duration time) {
  return std::chrono::duration<double>(time).count();
}

// Of the exchange that the rank is in; valid as long as the beat.
WaitLabel LabelOf(const RankBeat& beat) {
  return {.phase = beat.phase.c_str(), .layer = beat.layer, .step = beat.step};
}

}  // namespace

void RankWatch::Reset(int ranks, int64_t epoch) {
  epoch_ = epoch;
  ranks_.assign(static_cast<size_t>(ranks), {});
}

void RankWatch::Continue(int64_t epoch, Time now) {
  epoch_ = epoch;
  for (size_t r = 0; r < ranks_.size(); ++r) OnHello(static_cast<int>(r), now);
}

void RankWatch::OnHello(int rank, Time now) {
  Rank& known = ranks_.at(static_cast<size_t>(rank));
  known = {.known = true, .beat = {}, .heard = now, .got_on = now, .cpu_since = now, .cpu = 0};
}

void RankWatch::OnBeat(int rank, const RankBeat& beat, Time now) {
  Rank& known = ranks_.at(static_cast<size_t>(rank));
  const Time heard = std::exchange(known.heard, now);
  if (beat.epoch != epoch_) return;
  const bool moved = beat.progress != known.beat.progress || beat.steps != known.beat.steps ||
                     beat.state != known.beat.state;
  if (moved) known.got_on = now;
  const double since = std::max(1e-3, Seconds(now - heard));
  if (moved || beat.cpu_seconds - known.cpu > kBusyShare * since) known.cpu_since = now;
  known.cpu = beat.cpu_seconds;
  known.beat = beat;
}

void RankWatch::Forgive(Time now) {
  for (Rank& rank : ranks_) rank.heard = rank.got_on = rank.cpu_since = now;
}

bool RankWatch::up() const {
  return !ranks_.empty() && std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) {
    return rank.known && rank.beat.state != RankActivity::kLoading;
  });
}

std::optional<RankWatch::Time> RankWatch::loading() const {
  std::optional<Time> latest;
  for (const Rank& rank : ranks_) {
    if (rank.beat.epoch != epoch_) return std::nullopt;
    const bool loads =
        rank.known && !rank.beat.waiting && rank.beat.state == RankActivity::kLoading;
    if (loads) latest = std::max({latest.value_or(Time()), rank.got_on, rank.cpu_since});
  }
  return latest;
}

int64_t RankWatch::steps() const { return ranks_.empty() ? 0 : ranks_.front().beat.steps; }

RankWatch::Verdict RankWatch::Silent(Time now) const {
  Verdict verdict;
  Time::duration longest{0};
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const Time::duration silence = now - ranks_[r].heard;
    if (!ranks_[r].known || silence < limits_.silence) continue;
    verdict.fence.push_back(static_cast<int>(r));
    longest = std::max(longest, silence);
  }
  if (verdict.fence.empty()) return verdict;
  const bool one = verdict.fence.size() == 1;
  verdict.reason = fmt::format("{} {} not given a sign of life for {:.1f} s",
                               FormatRanks(verdict.fence), one ? "has" : "have", Seconds(longest));
  return verdict;
}

// "rank 3 has not entered layer 17 combine of step 9041; ranks 0-2 wait since 2.1 s"
std::string RankWatch::Stall(const std::vector<int>& missing, Time now) const {
  std::vector<int> waiting;
  const Rank* first = nullptr;
  Time since = now;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const Rank& rank = ranks_[r];
    if (!rank.beat.waiting || rank.beat.state == RankActivity::kIdle) continue;
    waiting.push_back(static_cast<int>(r));
    if (first == nullptr) first = &rank;
    since = std::min(since, rank.got_on);
  }
  const std::string who =
      fmt::format("{} {}", FormatRanks(missing), missing.size() == 1 ? "has" : "have");
  if (first == nullptr) {
    const Rank& rank = ranks_[static_cast<size_t>(missing[0])];
    return fmt::format("{} come no further than {} for {:.1f} s", who,
                       WaitPlace(LabelOf(rank.beat)), Seconds(now - rank.got_on));
  }
  return fmt::format("{} not entered {}; {} {} since {:.1f} s", who,
                     WaitPlace(LabelOf(first->beat)), FormatRanks(waiting),
                     waiting.size() == 1 ? "waits" : "wait", Seconds(now - since));
}

// Loading, not waiting, and no further.
RankWatch::Verdict RankWatch::StuckLoading(Time now) const {
  Verdict verdict;
  Time::duration longest{0};
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const Rank& rank = ranks_[r];
    if (!rank.known || rank.beat.waiting || rank.beat.state != RankActivity::kLoading) continue;
    const bool idle = now - rank.cpu_since >= limits_.idle_load;
    if (now - rank.got_on < (idle ? limits_.idle_load : limits_.busy_load)) continue;
    verdict.fence.push_back(static_cast<int>(r));
    longest = std::max(longest, now - rank.got_on);
  }
  if (verdict.fence.empty()) return verdict;
  verdict.reason = fmt::format(
      "{} {} come no further with loading the model for {:.0f} s: do its files lie on a disk that "
      "does not answer?",
      FormatRanks(verdict.fence), verdict.fence.size() == 1 ? "has" : "have", Seconds(longest));
  return verdict;
}

// In a step, not waiting, and no further.
RankWatch::Verdict RankWatch::Wedged(Time now) const {
  Verdict verdict;
  std::vector<int> slow;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const Rank& rank = ranks_[r];
    if (rank.beat.waiting || rank.beat.state != RankActivity::kStep) continue;
    if (now - rank.got_on >= limits_.report) slow.push_back(static_cast<int>(r));
    const bool wedged =
        (now - rank.got_on >= limits_.idle_cpu && now - rank.cpu_since >= limits_.idle_cpu) ||
        now - rank.got_on >= limits_.busy_cpu;
    if (wedged) verdict.fence.push_back(static_cast<int>(r));
  }
  if (!slow.empty()) verdict.stall = Stall(slow, now);
  if (!verdict.fence.empty()) verdict.reason = Stall(verdict.fence, now);
  return verdict;
}

RankWatch::Verdict RankWatch::Deadlocked(Time now) const {
  Time last{};
  for (const Rank& rank : ranks_) {
    if (!rank.beat.waiting || rank.beat.state != RankActivity::kStep) return {};
    if (now - rank.heard >= limits_.report) return {};  // nobody knows what it does: Silent
    last = std::max(last, rank.got_on);
  }
  if (now - last < limits_.report) return {};
  Verdict verdict;
  verdict.stall = "all ranks wait for each other:";
  for (size_t r = 0; r < ranks_.size(); ++r) {
    verdict.stall += fmt::format("{} {}", r == 0 ? "" : ";",
                                 WaitName(static_cast<int>(r), LabelOf(ranks_[r].beat)));
  }
  if (now - last < limits_.deadlock) return verdict;
  for (size_t r = 0; r < ranks_.size(); ++r) verdict.fence.push_back(static_cast<int>(r));
  verdict.reason = verdict.stall;
  return verdict;
}

RankWatch::Verdict RankWatch::Check(Time now) const {
  Verdict silent = Silent(now);
  if (!silent.fence.empty()) return silent;
  if (!up()) return StuckLoading(now);
  // While rank 0 has nothing to do, the others rightly wait for it.
  if (ranks_.front().beat.state == RankActivity::kIdle) return {};
  Verdict wedged = Wedged(now);
  if (!wedged.fence.empty() || !wedged.stall.empty() || ranks_.size() == 1) return wedged;
  return Deadlocked(now);
}

}  // namespace folkmoot
