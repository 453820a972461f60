// SPDX-License-Identifier: Apache-2.0
#include "launch/metrics/metrics.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "launch/metrics/expert_load.h"
#include "launch/metrics/metric_families.h"

namespace folkmoot {
namespace {

constexpr std::chrono::seconds kBalanceWindow{10};

double Seconds(SteadyTime from, SteadyTime to) {
  return std::max(0.0, std::chrono::duration<double>(to - from).count());
}

// What is known of one choice of a running request.
struct Choice {
  SteadyTime admitted;
  SteadyTime first_token;
  SteadyTime last_token;
  int64_t tokens = 0;
  bool finished = false;
  std::vector<LayerDrops> drops;  // by MoE layer, as counted so far
};

struct RunningRequest {
  SubmittedRequest info;
  std::vector<Choice> choices;
  int32_t unfinished = 0;
  bool prompt_counted = false;
};

}  // namespace

struct Metrics::Parts {
  explicit Parts(MetricsOptions given)
      : options(std::move(given)),
        families(options),
        window(options.moe.cells(), kBalanceWindow),
        drops(options.moe.layers.size()) {
    for (size_t i = 0; i < options.moe.layers.size(); ++i) moe_index[options.moe.layers[i]] = i;
  }

  void OnEvent(const OutputEvent& event);
  void CountPrompt(RunningRequest& request, int64_t cached);
  void OnToken(const RunningRequest& request, Choice& choice, SteadyTime time);
  void CountDrops(const OutputEvent& event, Choice& choice);
  void FinishChoice(const RunningRequest& request, const Choice& choice, const OutputEvent& event);
  void FinishRequest(const RunningRequest& request);
  void CountSteps(const EngineStats& stats);

  MetricsOptions options;
  MetricFamilies families;
  ExpertWindow window;
  std::vector<LayerDrops> drops;
  std::map<int, size_t> moe_index;  // layer -> MoE layer
  std::map<int64_t, RunningRequest> requests;
  EngineStats last_stats;  // of the last snapshot
};

Metrics::Metrics(MetricsOptions options) : parts_(std::make_unique<Parts>(std::move(options))) {}
Metrics::~Metrics() = default;

void Metrics::OnSubmitted(const SubmittedRequest& request) {
  RunningRequest& running = parts_->requests[request.id];
  running.info = request;
  running.unfinished = std::max(request.n, 1);
  running.choices.assign(static_cast<size_t>(running.unfinished), Choice{});
}

void Metrics::OnRefused(std::string_view reason) { parts_->families.Refused(reason).Increment(); }

void Metrics::OnEvents(const std::vector<OutputEvent>& events) {
  for (const OutputEvent& event : events) parts_->OnEvent(event);
}

void Metrics::Parts::OnEvent(const OutputEvent& event) {
  const auto found = requests.find(event.request);
  if (found == requests.end()) return;
  RunningRequest& request = found->second;
  if (event.rejected) {  // wrong in itself: it never ran
    families.Refused("invalid").Increment();
    requests.erase(found);
    return;
  }
  const auto index = static_cast<size_t>(event.choice);
  if (event.choice < 0 || index >= request.choices.size()) return;
  Choice& choice = request.choices[index];
  if (choice.finished) return;
  choice.admitted = event.admitted;
  const bool scored = event.finish == FinishReason::kStop || event.finish == FinishReason::kLength;
  if (event.result.token >= 0 || scored) CountPrompt(request, event.cached_tokens);
  if (event.result.token >= 0) OnToken(request, choice, event.time);
  CountDrops(event, choice);
  if (event.finish == FinishReason::kNone) return;
  FinishChoice(request, choice, event);
  choice.finished = true;
  if (--request.unfinished > 0) return;
  FinishRequest(request);
  requests.erase(found);
}

// Once, when the prompt has been read to its end.
void Metrics::Parts::CountPrompt(RunningRequest& request, int64_t cached) {
  if (request.prompt_counted) return;
  request.prompt_counted = true;
  const int64_t prompt = request.info.prompt_tokens;
  cached = std::clamp<int64_t>(cached, 0, prompt);
  families.prompt_tokens->Increment(static_cast<double>(prompt));
  families.prompt_tokens_cached->Increment(static_cast<double>(cached));
  families.prompt_tokens_computed->Increment(static_cast<double>(prompt - cached));
  families.prompt_tokens_from_cache->Increment(static_cast<double>(cached));
  families.prefill_kv_computed_tokens->Observe(static_cast<double>(prompt - cached));
}

void Metrics::Parts::OnToken(const RunningRequest& request, Choice& choice, SteadyTime time) {
  families.generation_tokens->Increment();
  if (choice.tokens == 0) {
    choice.first_token = time;
    families.time_to_first_token.Observe(Seconds(request.info.arrival, time));
  } else {
    families.inter_token_latency.Observe(Seconds(choice.last_token, time));
  }
  choice.last_token = time;
  ++choice.tokens;
}

// Results carry sums since the sequence's first token. The prompt's share belongs to the first
// choice alone.
void Metrics::Parts::CountDrops(const OutputEvent& event, Choice& choice) {
  if (event.result.drops.empty()) return;
  choice.drops.resize(drops.size());
  for (const DropCounts& counts : event.result.drops) {
    const auto layer = moe_index.find(counts.layer);
    if (layer == moe_index.end()) continue;
    const bool first = event.choice == 0;
    const LayerDrops now = {counts.rejected - (first ? 0 : counts.prompt_rejected),
                            counts.overflow - (first ? 0 : counts.prompt_overflow)};
    LayerDrops& before = choice.drops[layer->second];
    LayerDrops& total = drops[layer->second];
    const LayerDrops more = {std::max<int64_t>(0, now.rejected - before.rejected),
                             std::max<int64_t>(0, now.overflow - before.overflow)};
    total.rejected += more.rejected;
    total.overflow += more.overflow;
    families.rejected[layer->second]->Increment(static_cast<double>(more.rejected));
    families.overflow[layer->second]->Increment(static_cast<double>(more.overflow));
    before = now;
  }
}

void Metrics::Parts::FinishChoice(const RunningRequest& request, const Choice& choice,
                                  const OutputEvent& event) {
  families.Finished(event.finish).Increment();
  families.e2e_latency.Observe(Seconds(request.info.arrival, event.time));
  families.request_generation_tokens->Observe(static_cast<double>(choice.tokens));
  if (choice.admitted == SteadyTime{}) return;  // ended in the queue
  families.queue_time.Observe(Seconds(request.info.arrival, choice.admitted));
  if (choice.tokens == 0) return;
  const double decode = Seconds(choice.first_token, choice.last_token);
  families.prefill_time.Observe(Seconds(choice.admitted, choice.first_token));
  families.decode_time.Observe(decode);
  families.inference_time.Observe(Seconds(choice.admitted, choice.last_token));
  if (choice.tokens == 1) return;
  families.time_per_output_token.Observe(decode / static_cast<double>(choice.tokens - 1));
}

void Metrics::Parts::FinishRequest(const RunningRequest& request) {
  int64_t most = 0;
  for (const Choice& choice : request.choices) most = std::max(most, choice.tokens);
  families.request_prompt_tokens->Observe(static_cast<double>(request.info.prompt_tokens));
  families.max_num_generation_tokens->Observe(static_cast<double>(most));
  families.params_max_tokens->Observe(static_cast<double>(request.info.max_tokens));
  families.params_n->Observe(static_cast<double>(request.choices.size()));
}

void Metrics::OnSnapshot(const EngineSnapshot& snapshot) {
  Parts& p = *parts_;
  MetricFamilies& families = p.families;
  families.running->Set(static_cast<double>(snapshot.running));
  families.waiting->Set(static_cast<double>(snapshot.waiting));
  families.waiting_for_capacity->Set(static_cast<double>(snapshot.waiting));
  families.waiting_tokens->Set(static_cast<double>(snapshot.waiting_tokens));
  const int64_t total = snapshot.total_blocks;
  const int64_t free = total - snapshot.used_blocks - snapshot.cached_blocks;
  families.kv_cache_usage->Set(
      total == 0 ? 0 : static_cast<double>(snapshot.used_blocks) / static_cast<double>(total));
  families.blocks_used->Set(static_cast<double>(snapshot.used_blocks));
  families.blocks_cached->Set(static_cast<double>(snapshot.cached_blocks));
  families.blocks_free->Set(static_cast<double>(free));
  families.preemptions.Set(snapshot.preemptions);
  families.prefix_queries.Set(snapshot.prefix_query_tokens);
  families.prefix_hits.Set(snapshot.prefix_hit_tokens);
  families.drafts.Set(snapshot.speculation.drafts);
  families.draft_tokens.Set(snapshot.speculation.drafted);
  families.accepted_tokens.Set(snapshot.speculation.accepted);
  p.CountSteps(snapshot.stats);
}

void Metrics::Parts::CountSteps(const EngineStats& stats) {
  const int64_t steps = stats.steps - last_stats.steps;
  const auto tokens = static_cast<double>(stats.tokens - last_stats.tokens);
  const double seconds = stats.seconds.total - last_stats.seconds.total;
  // Exact when every step is looked at; else the mean of the steps between two looks.
  for (int64_t i = 0; i < steps; ++i) {
    families.iteration_tokens->Observe(tokens / static_cast<double>(steps));
    families.step_seconds->Observe(seconds / static_cast<double>(steps));
  }
  families.steps.Set(stats.steps);
  families.step_tokens.Set(stats.tokens);
  families.seconds_plan.Set(stats.seconds.plan);
  families.seconds_broadcast.Set(stats.seconds.broadcast);
  families.seconds_model.Set(stats.seconds.model);
  families.seconds_sample.Set(stats.seconds.sample);
  families.seconds_gather.Set(stats.seconds.gather);
  families.seconds_update.Set(stats.seconds.update);
  last_stats = stats;
}

void Metrics::OnEngineLives(const EngineLivesCount& lives) {
  parts_->families.engine_restarts.Set(lives.restarts);
  parts_->families.engine_repairs.Set(lives.repairs);
}

void Metrics::OnJournal(const JournalCounts& counts) {
  parts_->families.journal_writing->Set(counts.writing ? 1 : 0);
  parts_->families.journal_bytes.Set(counts.bytes);
  parts_->families.journal_failures.Set(counts.failures);
}

void Metrics::OnExperts(const ExpertCounts& counts, SteadyTime now) {
  const MoeLayout& moe = parts_->options.moe;
  MetricFamilies& families = parts_->families;
  const std::vector<int64_t>& totals = counts.tokens;
  const std::vector<int64_t>& lost = counts.overflow;
  if (totals.size() != moe.cells() || totals.empty()) return;
  parts_->window.Add(now, totals);
  const std::vector<int64_t> recent = parts_->window.Recent();
  const std::vector<int64_t> recent_ranks = SumByRank(moe, recent);
  const std::vector<int64_t> ranks = SumByRank(moe, totals);
  for (size_t i = 0; i < families.expert_tokens.size(); ++i) {
    families.expert_tokens[i].Set(totals[i]);
    if (i < lost.size()) families.expert_overflow[i].Set(lost[i]);
  }
  for (size_t i = 0; i < ranks.size(); ++i) families.rank_tokens[i].Set(ranks[i]);
  const auto experts = static_cast<size_t>(moe.experts);
  const auto rank_count = static_cast<size_t>(moe.ranks);
  for (size_t i = 0; i < moe.layers.size(); ++i) {
    families.balancedness[i]->Set(Balancedness(recent_ranks, i * rank_count, rank_count));
    families.expert_balancedness[i]->Set(Balancedness(recent, i * experts, experts));
  }
}

std::string Metrics::Render() const { return parts_->families.Render(); }

const std::vector<LayerDrops>& Metrics::drops() const { return parts_->drops; }

}  // namespace folkmoot
