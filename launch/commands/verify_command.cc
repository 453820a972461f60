// SPDX-License-Identifier: Apache-2.0
// folkmoot verify: runs the same prompts at several rank counts, placements, schedules and thread
// counts, and compares bit for bit. The ranks are threads of this process; they run the same
// engine, dispatcher and kernels as processes do.
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "CLI/CLI.hpp"
#include "launch/commands/commands.h"
#include "launch/gpu/gpu.h"
#include "launch/table.h"
#include "launch/terminal.h"
#include "launch/thread_ranks.h"
#include "layers/models/load_config.h"
#include "layers/models/model.h"
#include "nlohmann/json.hpp"
#include "parallel/mpi_environment.h"

namespace folkmoot {
namespace {

struct VerifyOptions {
  EngineOptions engine;
  std::vector<int> ranks = {1, 2, 3, 4};
  int64_t max_tokens = 16;
  bool json = false;
};

// One way to run the prompts. All must give the same bits.
struct Variant {
  int ranks = 1;
  bool tensor = false;  // ranks share every matrix
  std::string placement = "contiguous";
  int threads = 1;
  int64_t chunk = 0;        // 0: prefill in one piece
  bool alone = false;       // one prompt after the other
  bool prefix = false;      // again, with what the first time left in the prefix cache
  bool preempted = false;   // with so few pages that sequences must give way to each other
  bool ahead = false;       // every step is planned during the one before
  bool guesses = false;     // with guesses of which a third is wrong
  bool own_method = false;  // with guesses as the command line says
  std::string Name() const {
    std::string name = fmt::format(
        "{} rank{}, {}, {} thread{}, {}, {}", ranks, ranks == 1 ? "" : "s",
        tensor ? "tensor-parallel" : placement, threads, threads == 1 ? "" : "s",
        chunk == 0 ? "prefill in one piece" : fmt::format("prefill in chunks of {}", chunk),
        alone ? "prompts one by one" : "prompts together");
    if (prefix) name += ", prefix hits";
    if (preempted) name += ", preempted";
    if (ahead) name += ", planned ahead";
    if (guesses) name += ", with guesses";
    if (own_method) name += ", with guesses as asked for";
    return name;
  }
};

// Everything of one prompt that must not change. Prompts that come from the prefix cache are not
// computed: then only the output is there to compare.
struct Outcome {
  size_t prompt = 0;
  std::vector<float> prompt_logprobs;
  std::vector<float> logprobs;  // of the output
  std::vector<int32_t> tokens;
  std::vector<uint64_t> layer_digests;
};

struct VariantRun {
  std::vector<Outcome> outcomes;
  int64_t preemptions = 0;
  int64_t prefix_hit_tokens = 0;
  SpeculationCounts speculation;
};

// What all variants compute.
struct Workload {
  std::vector<std::vector<int32_t>> prompts;
  int64_t tight_pages = 0;  // per rank, when sequences are to be preempted
  std::string no_hits;      // why the prefix cache cannot help; empty: it must
  std::string no_guesses;   // why there are none; empty: there must be some
};

int64_t PagesOf(int64_t tokens) { return (tokens + kKvBlockSize - 1) / kKvBlockSize; }

// The first two prompts are for a rank with pages for both and one more, without which the
// scheduler would not let the second in. The second wants another page one step before the first
// does and takes that one more; when the first wants one, the second must give way. So the first
// ends one short of a full page and the second fills its pages. It is the shorter one: however
// slowly prompts are read, it begins to write no later.
std::vector<int64_t> PromptLengths(int64_t room) {
  constexpr int64_t kMostPages = 6;
  const int64_t pages = std::min(kMostPages, room / kKvBlockSize);
  const int64_t first = pages > 0 ? pages * kKvBlockSize - 1 : room - 1;
  const int64_t second = pages > 0 ? std::max<int64_t>(1, pages - 1) * kKvBlockSize : room;
  return {std::max<int64_t>(1, first), second, 1, std::min<int64_t>(room, 7)};
}

absl::StatusOr<Workload> MakeWorkload(const VerifyOptions& options, const ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const GateConfig gate, GateOf(options.engine, config));
  FM_ASSIGN_OR_RETURN(const int64_t context, ContextOf(options.engine, config));
  const int64_t room = context - options.max_tokens;
  if (room < 1) {
    return InvalidArgument("--max-tokens {}: the context of {} tokens leaves no room for a prompt",
                           options.max_tokens, context);
  }
  Workload workload;
  std::mt19937 random(20261122);  // any fixed prompts will do
  for (const int64_t length : PromptLengths(room)) {
    std::vector<int32_t>& prompt = workload.prompts.emplace_back();
    for (int64_t i = 0; i < length; ++i) {
      prompt.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(config.vocab)));
    }
  }
  const auto length = [&](size_t p) { return static_cast<int64_t>(workload.prompts[p].size()); };
  workload.tight_pages = std::max(PagesOf(length(0)) + PagesOf(length(1)) + 1,
                                  PagesOf(std::max(length(0), length(1)) + options.max_tokens));
  workload.no_guesses = WhyNotSpeculative(config);
  if (!gate.CanSpeculate()) workload.no_guesses = "the gate looks at all rows of a step";
  if (config.recurrent_layers() > 0 && options.engine.state_snapshots == 0) {
    workload.no_hits = "--state-snapshots 0 keeps no state behind pages";
  } else if (!PrefixCacheable(config, gate)) {
    workload.no_hits = "a token's values depend on more than the tokens before it";
  } else if (length(0) <= kKvBlockSize) {  // the last token of a prompt is always computed
    workload.no_hits = "no prompt is longer than a page";
  }
  return workload;
}

void Collect(const SequenceResult& result, Outcome* outcome) {
  outcome->prompt_logprobs.insert(outcome->prompt_logprobs.end(), result.target_logprobs.begin(),
                                  result.target_logprobs.end());
  if (!result.layer_digests.empty()) outcome->layer_digests = result.layer_digests;
  if (result.token < 0) return;
  outcome->tokens.push_back(result.token);
  outcome->logprobs.push_back(result.token_logprob);
}

// The prompts in the order of submission. For a preemption on every rank each needs its own two.
std::vector<size_t> Order(const Workload& workload, const Variant& variant) {
  std::vector<size_t> order;
  for (size_t p = 0; p < workload.prompts.size(); ++p) {
    const bool each = variant.preempted && !variant.tensor && p < 2;
    order.insert(order.end(), each ? static_cast<size_t>(variant.ranks) : 1, p);
  }
  return order;
}

absl::Status RunOnce(const Workload& workload, int64_t max_tokens, const Variant& variant,
                     Engine& engine, std::vector<Outcome>* outcomes) {
  std::map<int64_t, size_t> outcome_of;  // by request
  std::string error;
  outcomes->clear();
  const auto on_event = [&](const RequestEvent& event) {
    if (event.result == nullptr) return;
    if (!event.result->error.empty()) error = event.result->error;
    Collect(*event.result, &(*outcomes)[outcome_of.at(event.id)]);
  };
  for (const size_t p : Order(workload, variant)) {
    Request request;
    request.prompt = workload.prompts[p];
    request.max_tokens = max_tokens;
    // Sampled, with all that looks back at the text: a wrong bit soon shows.
    request.sampling = {.temperature = 0.8f,
                        .seed = 7,
                        .presence_penalty = 0.1f,
                        .frequency_penalty = 0.2f,
                        .repetition_penalty = 1.1f};
    request.prompt_logprobs = !variant.prefix;
    request.layer_digests = !variant.prefix;
    FM_ASSIGN_OR_RETURN(const int64_t id, engine.Submit(std::move(request)));
    outcome_of[id] = outcomes->size();
    outcomes->push_back({.prompt = p});
    if (variant.alone) FM_RETURN_IF_ERROR(engine.Drain(on_event));
  }
  FM_RETURN_IF_ERROR(engine.Drain(on_event));
  return error.empty() ? absl::OkStatus() : DataLoss("a prompt could not be computed: {}", error);
}

// Both of a rank's first two prompts must be read at once, and must not find room to grow.
void MakeTight(const Workload& workload, int ranks, EngineOptions* options) {
  const auto both = static_cast<int64_t>(workload.prompts[0].size() + workload.prompts[1].size());
  options->kv_cache_blocks = workload.tight_pages;
  options->prefill_chunk = 0;
  options->max_num_batched_tokens = std::max(options->max_num_batched_tokens, both);
  options->max_num_seqs = std::max<int64_t>(options->max_num_seqs, 2 * ranks);
}

// Guesses what the reference wrote; every third guess is another token.
void GuessFrom(const Workload& workload, const std::vector<Outcome>& reference,
               std::span<const int32_t> tokens, int64_t most, std::vector<int32_t>* guesses) {
  guesses->clear();
  for (const Outcome& outcome : reference) {
    std::vector<int32_t> text = workload.prompts[outcome.prompt];
    text.insert(text.end(), outcome.tokens.begin(), outcome.tokens.end());
    if (Recite(text, tokens, most, 3, guesses)) return;
  }
}

absl::StatusOr<VariantRun> RunVariant(const VerifyOptions& options, const Workload& workload,
                                      const Variant& variant,
                                      const std::vector<Outcome>& reference) {
  EngineOptions engine_options = options.engine;
  if (!variant.own_method) {
    engine_options.speculative_tokens = 0;
    engine_options.speculative_model.clear();
    engine_options.speculative_method.clear();
  }
  engine_options.placement = variant.placement;
  engine_options.parallelism = variant.tensor ? "tensor" : "expert";
  engine_options.prefill_chunk = variant.chunk;
  if (variant.preempted) MakeTight(workload, variant.ranks, &engine_options);
  VariantRun run;
  const auto body = [&](Engine& engine, LoadedRank&) -> absl::Status {
    for (int times = variant.prefix ? 2 : 1; times > 0; --times) {
      FM_RETURN_IF_ERROR(RunOnce(workload, options.max_tokens, variant, engine, &run.outcomes));
    }
    run.preemptions = engine.scheduler().preemptions();
    run.prefix_hit_tokens = engine.scheduler().prefix_hit_tokens();
    run.speculation = engine.scheduler().speculation();
    return absl::OkStatus();
  };
  const auto adjust = [&](SchedulerOptions& scheduler) {
    scheduler.plan_ahead = variant.ahead;
    if (!variant.guesses) return;
    scheduler.speculation.tokens = 4;
    scheduler.speculation.guesser = [&](std::span<const int32_t> tokens, int64_t most,
                                        std::vector<int32_t>* guesses) {
      GuessFrom(workload, reference, tokens, most, guesses);
    };
  };
  FM_RETURN_IF_ERROR(
      RunOnThreadRanks(engine_options, variant.ranks, variant.threads, body, adjust));
  return run;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  const auto same = [](float x, float y) {
    return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y);
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

// Empty: all bits are equal. Else what differs first, in the words of a person who looks for the
// cause. `expected`: by prompt.
std::string FirstDifference(const Variant& variant, const std::vector<Outcome>& expected,
                            const std::vector<Outcome>& actual) {
  for (const Outcome& b : actual) {
    const Outcome& a = expected[b.prompt];
    for (size_t layer = 0; layer < a.layer_digests.size() && !variant.prefix; ++layer) {
      if (layer >= b.layer_digests.size() || a.layer_digests[layer] != b.layer_digests[layer]) {
        return fmt::format("prompt {}: layer {} is the first to differ", b.prompt, layer);
      }
    }
    if (a.tokens != b.tokens) return fmt::format("prompt {}: other tokens", b.prompt);
    const bool same_prompt = variant.prefix || SameBits(a.prompt_logprobs, b.prompt_logprobs);
    if (!same_prompt || !SameBits(a.logprobs, b.logprobs)) {
      return fmt::format("prompt {}: other log-probabilities after equal layers", b.prompt);
    }
  }
  return "";
}

// Why the variant, with equal bits, shows nothing: what it is there for did not happen.
std::string ProvesNothing(const Workload& workload, const Variant& variant, const VariantRun& run) {
  if (variant.preempted && run.preemptions == 0) {
    return "nothing was preempted: a context of more tokens is needed for it";
  }
  if (variant.prefix && workload.no_hits.empty() && run.prefix_hit_tokens == 0) {
    return "no token came from the prefix cache";
  }
  const bool mixed =
      run.speculation.accepted > 0 && run.speculation.accepted < run.speculation.drafted;
  if (variant.guesses && workload.no_guesses.empty() && !mixed) {
    return "there were not both right and wrong guesses";
  }
  return "";
}

std::string Remark(const Workload& workload, const Variant& variant, const VariantRun& run) {
  if (variant.prefix && !workload.no_hits.empty()) {
    return fmt::format(" (prefix hits are not applicable: {})", workload.no_hits);
  }
  if (variant.prefix) return fmt::format(" ({} cached tokens)", run.prefix_hit_tokens);
  if (variant.preempted) return fmt::format(" ({} preemptions)", run.preemptions);
  if (variant.guesses && !workload.no_guesses.empty()) {
    return fmt::format(" (guesses are not applicable: {})", workload.no_guesses);
  }
  if (variant.guesses || variant.own_method) {
    return fmt::format(" ({} of {} guesses right)", run.speculation.accepted,
                       run.speculation.drafted);
  }
  return "";
}

std::vector<Variant> MakeVariants(const std::vector<int>& ranks, bool own_method, bool tensor) {
  std::vector<Variant> variants;
  for (const int n : ranks) variants.push_back({.ranks = n});
  const int most = *std::max_element(ranks.begin(), ranks.end());
  variants.push_back({.ranks = most, .placement = "round_robin"});
  variants.push_back({.ranks = ranks.front(), .threads = 2});
  variants.push_back({.ranks = ranks.front(), .alone = true});
  for (const int64_t chunk : {1, 7, 64}) variants.push_back({.ranks = most, .chunk = chunk});
  const std::set<int> ends = {ranks.front(), most};
  for (const int n : ends) variants.push_back({.ranks = n, .prefix = true});
  for (const int n : ends) variants.push_back({.ranks = n, .preempted = true});
  variants.push_back({.ranks = most, .ahead = true});
  for (const int n : ends) variants.push_back({.ranks = n, .guesses = true});
  if (own_method) variants.push_back({.ranks = most, .own_method = true});
  if (!tensor) return variants;
  for (const int n : ranks) {
    if (n > 1) variants.push_back({.ranks = n, .tensor = true});
  }
  if (most == 1) return variants;
  variants.push_back({.ranks = most, .tensor = true, .threads = 2, .chunk = 7});
  variants.push_back({.ranks = most, .tensor = true, .prefix = true});
  variants.push_back({.ranks = most, .tensor = true, .preempted = true});
  variants.push_back({.ranks = most, .tensor = true, .ahead = true});
  variants.push_back({.ranks = most, .tensor = true, .guesses = true});
  return variants;
}

// On GPUs the promise is that of --batch-invariant, and each rank needs a GPU of its own. Returns
// whether they are used.
bool PrepareForGpus(VerifyOptions* options) {
  const absl::StatusOr<std::vector<cuda::DeviceInfo>> gpus = ListGpus();
  if (options->engine.device == "cpu" || !gpus.ok() || gpus->empty()) return false;
  options->engine.batch_invariant = true;
  // NCCL knows nothing of the simulator.
  const auto most = GpuBuild().backend == "simulator" ? 1 : static_cast<int>(gpus->size());
  std::erase_if(options->ranks, [&](int ranks) { return ranks > most; });
  if (options->ranks.empty()) options->ranks = {1};
  fmt::print(stderr, "verify: on GPUs, with --batch-invariant, up to {} ranks\n", most);
  return true;
}

absl::Status Verify(VerifyOptions options) {
  if (LaunchedByMpi()) {
    return UsageError("verify makes its own ranks: run it without mpirun");
  }
  FM_RETURN_IF_ERROR(CheckEngineOptions(options.engine));
  FM_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.engine.model));
  const bool on_gpu = WhyCpuOnly(config).empty() && PrepareForGpus(&options);
  const bool tensor = !on_gpu && WhyNotTensorParallel(config).empty();
  FM_ASSIGN_OR_RETURN(const Workload workload, MakeWorkload(options, config));
  const Terminal terminal = DetectTerminal(STDOUT_FILENO);
  Table table({{"variant"}, {"result"}});
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::vector<Outcome> reference;
  size_t differing = 0;
  size_t empty = 0;
  const bool own_method = SpeculationOf(options.engine).tokens > 0;
  for (const Variant& variant : MakeVariants(options.ranks, own_method, tensor)) {
    fmt::print(stderr, "verify: {}\n", variant.Name());
    FM_ASSIGN_OR_RETURN(VariantRun run, RunVariant(options, workload, variant, reference));
    const bool first = reference.empty();
    const std::string difference = first ? "" : FirstDifference(variant, reference, run.outcomes);
    const std::string nothing = ProvesNothing(workload, variant, run);
    if (first) reference = std::move(run.outcomes);
    differing += difference.empty() ? 0 : 1;
    empty += nothing.empty() ? 0 : 1;
    std::string result = first ? "reference" : difference.empty() ? "same bits" : difference;
    result += nothing.empty() ? Remark(workload, variant, run) : ", but " + nothing;
    table.AddRow({variant.Name(), result});
    rows.push_back({{"variant", variant.Name()}, {"same", difference.empty()}, {"result", result}});
  }
  if (options.json) {
    fmt::print("{}\n",
               nlohmann::ordered_json({{"same", differing == 0}, {"variants", rows}}).dump());
  } else {
    fmt::print("{}", table.Render(terminal));
  }
  if (differing > 0) {
    return DataLoss("{} of {} variants differ from the reference", differing, rows.size());
  }
  if (empty == 0) return absl::OkStatus();
  return FailedPrecondition("{} of {} variants did not happen as named: they prove nothing", empty,
                            rows.size());
}

}  // namespace

Command MakeVerifyCommand(CLI::App& app) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "prove that ranks, placement, threads, batching, chunking, prefix hits, preemption and "
      "guesses do not change a bit");
  AddEngineFlags(*command, &options->engine);
  command->add_option("--ranks", options->ranks, "rank counts to compare: 1,2,3,4")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  // With fewer than four no sequence grows enough to be preempted.
  command->add_option("--max-tokens", options->max_tokens, "tokens to generate per prompt")
      ->check(CLI::Range(int64_t{4}, int64_t{1} << 30));
  command->add_flag("--json", options->json, "print one JSON object");
  return {.app = command, .run = [options] { return Verify(*options); }};
}

}  // namespace folkmoot
