// SPDX-License-Identifier: Apache-2.0
// folkmoot verify: runs the same prompts at several rank counts, placements, schedules and thread
// counts, and compares bit for bit. The ranks are threads of this process; they run the same
// engine, dispatcher and kernels as processes do.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "CLI/CLI.hpp"
#include "launch/commands/commands.h"
#include "launch/table.h"
#include "launch/terminal.h"
#include "launch/thread_ranks.h"
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
  std::string placement = "contiguous";
  int threads = 1;
  int64_t chunk = 0;   // 0: prefill in one piece
  bool alone = false;  // one prompt after the other
  std::string Name() const {
    return fmt::format(
        "{} rank{}, {}, {} thread{}, {}, {}", ranks, ranks == 1 ? "" : "s", placement, threads,
        threads == 1 ? "" : "s",
        chunk == 0 ? "prefill in one piece" : fmt::format("prefill in chunks of {}", chunk),
        alone ? "prompts one by one" : "prompts together");
  }
};

// Everything of one prompt that must not change.
struct Outcome {
  std::vector<float> logprobs;  // of the prompt, then of the output
  std::vector<int32_t> tokens;
  std::vector<uint64_t> layer_digests;
};

std::vector<std::vector<int32_t>> MakePrompts(const ModelConfig& config, int64_t room) {
  std::mt19937 random(20261122);  // any fixed prompts will do
  std::vector<std::vector<int32_t>> prompts;
  for (const int64_t length : {1, 7, 40, 100}) {
    std::vector<int32_t>& prompt = prompts.emplace_back();
    for (int64_t i = 0; i < std::clamp<int64_t>(room, 1, length); ++i) {
      prompt.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(config.vocab)));
    }
  }
  return prompts;
}

absl::Status RunPrompts(const VerifyOptions& options, const Variant& variant, Engine& engine,
                        const LoadedRank& rank, std::vector<Outcome>* outcomes) {
  const int64_t room = rank.scheduler_options().max_model_len - options.max_tokens;
  const auto prompts = MakePrompts(rank.config(), room);
  outcomes->assign(prompts.size(), {});
  const auto on_event = [&](const RequestEvent& event) {
    Outcome& outcome = (*outcomes)[static_cast<size_t>(event.id)];
    const SequenceResult& result = *event.result;
    outcome.logprobs.insert(outcome.logprobs.end(), result.target_logprobs.begin(),
                            result.target_logprobs.end());
    outcome.layer_digests = result.layer_digests;
    if (result.token < 0) return;
    outcome.tokens.push_back(result.token);
    outcome.logprobs.push_back(result.token_logprob);
  };
  for (const std::vector<int32_t>& prompt : prompts) {
    Request request;
    request.prompt = prompt;
    request.max_tokens = options.max_tokens;
    request.sampling = {.temperature = 0.8f, .seed = 7};  // sampled: a wrong bit soon shows
    request.prompt_logprobs = true;
    request.layer_digests = true;
    FM_RETURN_IF_ERROR(engine.Submit(std::move(request)).status());
    if (variant.alone) FM_RETURN_IF_ERROR(engine.Drain(on_event));
  }
  return engine.Drain(on_event);
}

absl::StatusOr<std::vector<Outcome>> RunVariant(const VerifyOptions& options,
                                                const Variant& variant) {
  EngineOptions engine_options = options.engine;
  engine_options.placement = variant.placement;
  engine_options.prefill_chunk = variant.chunk;
  std::vector<Outcome> outcomes;
  FM_RETURN_IF_ERROR(RunOnThreadRanks(
      engine_options, variant.ranks, variant.threads, [&](Engine& engine, LoadedRank& rank) {
        return RunPrompts(options, variant, engine, rank, &outcomes);
      }));
  return outcomes;
}

// Empty: all bits are equal. Else what differs first, in the words of a person who looks for the
// cause.
std::string FirstDifference(const std::vector<Outcome>& expected,
                            const std::vector<Outcome>& actual) {
  for (size_t p = 0; p < expected.size(); ++p) {
    const Outcome& a = expected[p];
    const Outcome& b = actual[p];
    for (size_t layer = 0; layer < a.layer_digests.size(); ++layer) {
      if (a.layer_digests[layer] != b.layer_digests[layer]) {
        return fmt::format("prompt {}: layer {} is the first to differ", p, layer);
      }
    }
    if (a.tokens != b.tokens) return fmt::format("prompt {}: other tokens", p);
    if (a.logprobs.size() != b.logprobs.size() ||
        std::memcmp(a.logprobs.data(), b.logprobs.data(), a.logprobs.size() * sizeof(float)) != 0) {
      return fmt::format("prompt {}: other log-probabilities after equal layers", p);
    }
  }
  return "";
}

std::vector<Variant> MakeVariants(const std::vector<int>& ranks) {
  std::vector<Variant> variants;
  for (const int n : ranks) variants.push_back({.ranks = n});
  const int most = *std::max_element(ranks.begin(), ranks.end());
  variants.push_back({.ranks = most, .placement = "round_robin"});
  variants.push_back({.ranks = ranks.front(), .threads = 2});
  variants.push_back({.ranks = ranks.front(), .alone = true});
  for (const int64_t chunk : {1, 7, 64}) variants.push_back({.ranks = most, .chunk = chunk});
  return variants;
}

absl::Status Verify(const VerifyOptions& options) {
  if (LaunchedByMpi()) {
    return UsageError("verify makes its own ranks: run it without mpirun");
  }
  const Terminal terminal = DetectTerminal(STDOUT_FILENO);
  Table table({{"variant"}, {"result"}});
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::vector<Outcome> reference;
  size_t differing = 0;
  for (const Variant& variant : MakeVariants(options.ranks)) {
    fmt::print(stderr, "verify: {}\n", variant.Name());
    FM_ASSIGN_OR_RETURN(std::vector<Outcome> outcomes, RunVariant(options, variant));
    const bool first = reference.empty();
    const std::string difference = first ? "" : FirstDifference(reference, outcomes);
    if (first) reference = std::move(outcomes);
    differing += difference.empty() ? 0 : 1;
    const std::string result = first ? "reference" : difference.empty() ? "same bits" : difference;
    table.AddRow({variant.Name(), result});
    rows.push_back({{"variant", variant.Name()}, {"same", difference.empty()}, {"result", result}});
  }
  if (options.json) {
    fmt::print("{}\n",
               nlohmann::ordered_json({{"same", differing == 0}, {"variants", rows}}).dump());
  } else {
    fmt::print("{}", table.Render(terminal));
  }
  if (differing == 0) return absl::OkStatus();
  return DataLoss("{} of {} variants differ from the reference", differing, rows.size());
}

}  // namespace

Command MakeVerifyCommand(CLI::App& app) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify", "prove that ranks, placement, threads, batching and chunking do not change a bit");
  AddEngineFlags(*command, &options->engine);
  command->add_option("--ranks", options->ranks, "rank counts to compare: 1,2,3,4")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  command->add_option("--max-tokens", options->max_tokens, "tokens to generate per prompt")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "print one JSON object");
  return {.app = command, .run = [options] { return Verify(*options); }};
}

}  // namespace folkmoot
