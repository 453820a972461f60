// SPDX-License-Identifier: Apache-2.0
#include "tests/scheduler/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace folkmoot {

SchedulerOptions RandomOptions(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto between = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
  };
  SchedulerOptions options;
  options.ranks = static_cast<int>(between(1, 3));
  options.vocab = kFakeVocab;
  options.max_model_len = between(20, 48);
  options.max_sequences = between(1, 8);
  options.max_batched_tokens = between(1, 16);
  options.prefill_chunk = between(1, 12);
  options.block_size = between(1, 5);
  options.blocks_per_rank = between(4, 60 / options.block_size + 4);
  options.prefix_caching = between(0, 3) > 0;
  options.policy = between(0, 1) > 0 ? Policy::kPriority : Policy::kFcfs;
  options.plan_ahead = between(0, 1) > 0;
  options.gate_is_cacheable = [](const std::string& gate) { return gate != kPrivateGate; };
  options.hash_seed = seed;
  options.speculation.tokens = between(0, 1) * between(1, 6);
  options.speculation.method =
      between(0, 1) > 0 ? SpeculationMethod::kPromptLookup : SpeculationMethod::kDraftModel;
  options.speculation.lookup_min = between(1, 2);
  options.speculation.lookup_max = between(2, 4);
  options.gate_can_speculate = [](const std::string& gate) { return gate != "k=1"; };
  options.slots_per_rank = between(0, 1) * between(1, 3);
  // A state cannot take guesses back.
  if (options.slots_per_rank > 0 && options.speculation.tokens == 0) {
    options.snapshots_per_rank = between(0, 1) * between(1, 6);
  }
  if (options.snapshots_per_rank == 0) options.output_window = between(0, 1) * between(1, 9);
  return options;
}

void WorkloadCounts::operator+=(const WorkloadCounts& other) {
  steps += other.steps;
  requests += other.requests;
  refused += other.refused;
  stopped += other.stopped;
  full_length += other.full_length;
  aborted += other.aborted;
  aborted_alone += other.aborted_alone;
  failed += other.failed;
  preemptions += other.preemptions;
  hit_tokens += other.hit_tokens;
  resumed_tokens += other.resumed_tokens;
  taken_back += other.taken_back;
  ahead += other.ahead;
  drafted += other.drafted;
  accepted += other.accepted;
  crashes += other.crashes;
  pages_kept += other.pages_kept;
  given_up += other.given_up;
  longest_wait = std::max(longest_wait, other.longest_wait);
}

Workload::Workload(const SchedulerOptions& options, uint64_t seed, uint64_t crashes)
    : options_(options), random_(seed), scheduler_(options), crashes_(crashes) {
  for (int r = 0; r < options.ranks; ++r) {
    ranks_.emplace_back(options);
  }
  arrivals_ = 10 + Draw(40);
  aborts_ = Draw(6);
}

void Workload::Demand(bool condition, const std::string& what) {
  if (condition || !complaint_.empty()) return;
  complaint_ = fmt::format("step {}: {}", step_, what);
}

Request Workload::RandomRequest() {
  Request request;
  // Most prompts begin like others.
  const uint64_t family = Draw(4);
  const uint64_t common = family == 0 ? 0 : Draw(24);
  for (uint64_t i = 0; i < common; ++i) {
    request.prompt.push_back(static_cast<int32_t>(Mix(family, i) % kFakeVocab));
  }
  for (uint64_t i = Draw(8) + (common == 0 ? 1 : 0); i > 0; --i) {
    request.prompt.push_back(static_cast<int32_t>(Draw(kFakeVocab)));
  }
  if (Chance(20)) request.source = static_cast<int64_t>(Draw(request.prompt.size()));
  request.max_tokens = static_cast<int64_t>(Draw(24));
  request.sampling.seed = Draw(3);
  for (uint64_t i = Draw(3); i > 0; --i) {
    request.stop_ids.push_back(static_cast<int32_t>(Draw(kFakeVocab)));
  }
  if (Chance(15)) request.n = static_cast<int32_t>(2 + Draw(3));
  request.prompt_logprobs = Chance(10);
  request.trace_routing = Chance(10);
  request.layer_digests = Chance(10);
  if (request.max_tokens == 0 && request.n == 1) request.pooling = static_cast<Pooling>(Draw(3));
  if (Chance(30))
    request.gate = std::vector<std::string>{"k=1", kFragileGate, kPrivateGate}[Draw(3)];
  request.priority = static_cast<int32_t>(Draw(4)) - 1;
  request.client = Draw(4);
  request.cache_salt = Chance(20) ? 1 : 0;
  request.prefix_cache = !Chance(10);
  if (Chance(15)) {
    const int32_t end = Chance(50) ? static_cast<int32_t>(Draw(kFakeVocab)) : -1;
    if (end >= 0) request.stop_ids.push_back(end);
    request.constraint = std::make_shared<FakeConstraint>(static_cast<int>(Draw(8)), end);
  }
  return request;
}

void Workload::Arrive() {
  Open open;
  open.request = RandomRequest();
  const absl::StatusOr<int64_t> id = scheduler_.Add(open.request);
  if (!id.ok()) {
    ++counts_.refused;
    return;
  }
  ++counts_.requests;
  open.first_sequence = next_sequence_;
  open.arrived = step_;
  open.left = open.request.n;
  for (int32_t c = 0; c < open.request.n; ++c) {
    const int64_t sequence = next_sequence_++;
    open.choices.emplace_back().expected =
        Expect(open.request, c, sequence, options_.output_window);
    for (FakeRank& rank : ranks_) rank.SetLabel(sequence, open.request.cache_salt);
  }
  open_.emplace(*id, std::move(open));
}

void Workload::AbortOne() {
  auto victim = open_.begin();
  std::advance(victim, static_cast<int64_t>(Draw(open_.size())));
  std::vector<Choice>& choices = victim->second.choices;
  if (choices.size() > 1 && Chance(60)) {
    const uint64_t choice = Draw(choices.size());
    counts_.aborted_alone += !choices[choice].ended && victim->second.left > 1 ? 1 : 0;
    choices[choice].aborted = true;
    scheduler_.Abort(victim->first, static_cast<int32_t>(choice));
  } else {
    for (Choice& choice : choices) choice.aborted = true;
    scheduler_.Abort(victim->first);
  }
  if (!Chance(50)) return;
  for (const RequestEvent& event : scheduler_.TakeEvents()) Hear(event);
}

void Workload::CheckPlan(const StepPlan& plan) {
  Demand(std::is_sorted(plan.gates.begin(), plan.gates.end()) && plan.gates[0].empty() &&
             std::adjacent_find(plan.gates.begin(), plan.gates.end()) == plan.gates.end(),
         "the list of gates");
  for (const RankPlan& rank : plan.ranks) {
    int64_t tokens = 0;
    for (const SequenceSlice& slice : rank.slices) {
      tokens += slice.rows();
      const auto start = std::find_if(rank.starts.begin(), rank.starts.end(),
                                      [&](const SequenceStart& s) { return s.id == slice.id; });
      const int64_t source = start == rank.starts.end() ? 0 : start->source;
      Demand(slice.rows() <= std::max(options_.prefill_chunk, source), "a chunk is too long");
      fingerprint_ = Mix(fingerprint_, static_cast<uint64_t>(slice.id * 64 + slice.start));
      for (const int32_t page : slice.new_blocks) {
        fingerprint_ = Mix(fingerprint_, static_cast<uint64_t>(page));
      }
    }
    for (const int64_t id : rank.finished) {
      fingerprint_ = Mix(fingerprint_, static_cast<uint64_t>(id));
    }
    Demand(tokens <= options_.max_batched_tokens, "too many tokens in a step");
  }
  Demand(scheduler_.running() <= options_.max_sequences, "too many sequences run");
}

void Workload::CheckPools() {
  int64_t running = 0;
  for (int r = 0; r < options_.ranks; ++r) {
    const KvPool& pool = scheduler_.pool(r);
    Demand(pool.free() + pool.used() + pool.cached() == options_.blocks_per_rank,
           "free + used + cached is not the total");
    if (under_way_.empty() && scheduler_.idle()) Demand(pool.used() == 0, "a page was lost");
    if (under_way_.empty()) {
      const StateSnapshots& snapshots = pool.snapshots();
      Demand(snapshots.free() + snapshots.kept() == snapshots.total(), "a snapshot was lost");
    }
    running += scheduler_.running(r);
  }
  Demand(running == scheduler_.running(), "running sequences do not add up");
  Demand(scheduler_.free_blocks() + scheduler_.used_blocks() + scheduler_.cached_blocks() ==
             scheduler_.total_blocks(),
         "blocks of all ranks do not add up");
}

void Workload::PlanOne() {
  const bool busy = !open_.empty();
  StepPlan plan = scheduler_.Schedule();
  Demand(plan.step == step_, "steps are not consecutive");
  CheckPlan(plan);
  if (plan.tokens() == 0) {
    const bool waits = under_way_.empty() && busy;
    if (waits) {  // allowed only when choices ended without a token
      const std::vector<RequestEvent> events = scheduler_.TakeEvents();
      Demand(!events.empty(), "work waits, but the plan is empty");
      for (const RequestEvent& event : events) Hear(event);
    }
    if (Chance(70)) {
      ++counts_.taken_back;
      return scheduler_.TakeBack(plan);
    }
  }
  ++step_;
  ++counts_.steps;
  counts_.ahead += under_way_.empty() ? 0 : 1;
  std::vector<StepResult> results;
  const int64_t answered = step_ - 2 - static_cast<int64_t>(under_way_.size());
  for (size_t r = 0; r < ranks_.size(); ++r) {
    results.push_back(ranks_[r].Run(plan.ranks[r], plan.gates, plan.step, answered));
    Demand(ranks_[r].complaint().empty(), ranks_[r].complaint());
  }
  under_way_.push_back(std::move(results));
  // What sequences have is used, and nothing else, but for pages that wait for an answer.
  for (int r = 0; r < options_.ranks; ++r) {
    const int64_t held = ranks_[static_cast<size_t>(r)].PagesHeld();
    const int64_t used = scheduler_.used_blocks(r);
    Demand(options_.plan_ahead ? held <= used : held == used, "used pages are not those in use");
  }
}

void Workload::AnswerOne() {
  std::vector<StepResult> results = std::move(under_way_.front());
  under_way_.pop_front();
  for (const RequestEvent& event : scheduler_.Update(std::move(results))) Hear(event);
}

// What the ranks have computed and not told is lost; half of the times all pages are, else those of
// some ranks.
void Workload::Crash() {
  ++counts_.crashes;
  under_way_.clear();
  scheduler_.Restart(/*begun=*/true);
  const bool repair = Chance(50);
  for (int r = 0; r < options_.ranks; ++r) {
    FakeRank& rank = ranks_[static_cast<size_t>(r)];
    if (repair && Chance(60)) {
      rank.KeepPages();
      counts_.pages_kept += scheduler_.cached_blocks(r);
      continue;
    }
    rank.Restart();
    scheduler_.ForgetPages(r);
    Demand(scheduler_.free_blocks(r) == options_.blocks_per_rank, "pages outlive their rank");
  }
  Demand(scheduler_.used_blocks() == 0, "pages are in use, and nobody runs");
}

void Workload::Hear(const RequestEvent& event) {
  fingerprint_ =
      Mix(fingerprint_, static_cast<uint64_t>(event.id * 8) + static_cast<uint64_t>(event.finish));
  const auto found = open_.find(event.id);
  if (found == open_.end()) return Demand(false, "an event of a request that has ended");
  Open& open = found->second;
  Choice& choice = open.choices.at(static_cast<size_t>(event.choice));
  Demand(!choice.ended, "an event of a choice that has ended");
  Demand(!event.first || !choice.first, "two first steps");
  Demand(event.result == nullptr || event.first || choice.first, "no first step");
  choice.first = choice.first || event.first;
  Demand(event.cached_tokens <= static_cast<int64_t>(open.request.prompt.size()),
         "more tokens cached than the prompt has");
  drafted_ += event.drafted;
  accepted_ += event.accepted ? 1 : 0;
  if (event.result != nullptr) {
    const SequenceResult& result = *event.result;
    if (result.token >= 0) choice.tokens.push_back(result.token);
    for (const float target : result.target_logprobs) choice.targets.push_back(target);
    for (const RoutingTrace& trace : result.routing) {
      choice.traced.insert(choice.traced.end(), trace.expert.begin(), trace.expert.end());
    }
    if (!result.layer_digests.empty()) choice.digest = result.layer_digests[0];
  }
  if (event.finish == FinishReason::kNone) {
    const bool more = choice.tokens.size() < choice.expected.tokens.size();
    return Demand(more || choice.tokens.empty() || choice.expected.finish == FinishReason::kError,
                  "a choice goes on after its last token");
  }
  choice.ended = true;
  if (event.crashed) {
    ++counts_.given_up;
    Demand(crashes_ > 0 && event.finish == FinishReason::kError, "given up without a reason");
  } else {
    CheckLast(open, choice, event.finish);
  }
  for (FakeRank& rank : ranks_) rank.DropLabel(open.first_sequence + event.choice);
  if (--open.left > 0) return;
  counts_.longest_wait = std::max(counts_.longest_wait, step_ - open.arrived);
  open_.erase(found);
}

void Workload::CheckLast(const Open& open, const Choice& choice, FinishReason finish) {
  const Expected& expected = choice.expected;
  if (finish == FinishReason::kAborted) {
    ++counts_.aborted;
    Demand(choice.aborted, "aborted by nobody");
    return Demand(
        choice.tokens.size() <= expected.tokens.size() &&
            std::equal(choice.tokens.begin(), choice.tokens.end(), expected.tokens.begin()),
        "an aborted choice has other tokens than it should");
  }
  (finish == FinishReason::kStop     ? counts_.stopped
   : finish == FinishReason::kLength ? counts_.full_length
                                     : counts_.failed)++;
  Demand(finish == expected.finish,
         fmt::format("sequence {} ended for '{}' and not for '{}'", open.first_sequence,
                     FinishReasonName(finish), FinishReasonName(expected.finish)));
  Demand(choice.tokens == expected.tokens, "a choice has other tokens than it should");
  if (finish != FinishReason::kError) CheckScores(open, choice);
}

// Each row is answered once, in order, whatever was cached, cut or computed twice.
void Workload::CheckScores(const Open& open, const Choice& choice) {
  const Request& request = open.request;
  if (choice.expected.rows == 0) return;  // its constraint allows no first token
  if (request.prompt_logprobs && &choice == &open.choices[0]) {
    Demand(choice.targets.size() == request.prompt.size() - 1, "scores are missing or doubled");
    for (size_t i = 0; i < choice.targets.size(); ++i) {
      Demand(choice.targets[i] == static_cast<float>(i + 1), "a score of another position");
    }
  }
  if (request.trace_routing) {
    const auto rows = static_cast<size_t>(choice.expected.rows);
    Demand(choice.traced.size() == rows, "traces are missing or doubled");
    for (size_t i = 0; i < choice.traced.size(); ++i) {
      Demand(choice.traced[i] == static_cast<int32_t>(i), "a trace of another position");
    }
  }
  if (request.layer_digests) {
    Demand(choice.digest == choice.expected.digest, "the digest does not cover all rows");
  }
}

bool Workload::Run(int64_t steps) {
  constexpr int64_t kBound = 6000;
  const size_t crowd = 4 + Draw(20);
  const int64_t depth = options_.plan_ahead ? 2 : 1;
  while (complaint_.empty() && (step_ < steps || !scheduler_.idle())) {
    if (step_ < steps) {
      if (open_.size() < crowd && Chance(arrivals_)) Arrive();
      if (!open_.empty() && Chance(aborts_)) AbortOne();
    }
    // With plan_ahead mostly two steps are under way.
    const int64_t under_way = scheduler_.steps_under_way();
    if (under_way < depth && !(under_way > 0 && Chance(20))) {
      PlanOne();
      if (!open_.empty() && Chance(aborts_) && step_ < steps) AbortOne();
    }
    CheckPools();
    if (crashes_ > 0 && Chance(crashes_)) Crash();
    if (scheduler_.steps_under_way() == depth || (!under_way_.empty() && Chance(50))) AnswerOne();
    CheckPools();
    if (!open_.empty()) {
      Demand(step_ - open_.begin()->second.arrived < kBound, "a request starves");
    }
    Demand(static_cast<int64_t>(under_way_.size()) == scheduler_.steps_under_way(),
           "steps under way");
  }
  counts_.preemptions = scheduler_.preemptions();
  counts_.hit_tokens = scheduler_.prefix_hit_tokens();
  if (options_.snapshots_per_rank > 0) counts_.resumed_tokens = counts_.hit_tokens;
  counts_.drafted = scheduler_.speculation().drafted;
  counts_.accepted = scheduler_.speculation().accepted;
  // Those of choices that ended before their answer came are in no event.
  Demand(drafted_ <= counts_.drafted && accepted_ == counts_.accepted, "guesses do not add up");
  if (complaint_.empty()) {
    CheckPools();
    Demand(open_.empty(), "a request has not ended");
    Demand(
        scheduler_.running() == 0 && scheduler_.waiting() == 0 && scheduler_.waiting_tokens() == 0,
        "somebody runs or waits in an idle scheduler");
  }
  return complaint_.empty();
}

}  // namespace folkmoot
