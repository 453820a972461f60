// SPDX-License-Identifier: Apache-2.0
// folkmoot generate: prints the text as it comes, then a small table; or one JSON object with
// --json.
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <thread>

#include "CLI/CLI.hpp"
#include "launch/api/common/text_rules.h"
#include "launch/commands/commands.h"
#include "launch/generation_config.h"
#include "launch/launcher.h"
#include "launch/parallelism.h"
#include "launch/receipt.h"
#include "launch/source_prompt.h"
#include "launch/table.h"
#include "launch/terminal.h"
#include "nlohmann/json.hpp"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

using Clock = std::chrono::steady_clock;

struct GenerateOptions {
  EngineOptions engine;
  std::string prompt;
  std::string prompt_file;
  std::vector<int32_t> prompt_ids;
  int64_t max_tokens = 128;
  std::optional<float> temperature, top_p, min_p;
  std::optional<int32_t> top_k;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  SourceOptions source;  // of models with an encoder, for which the prompt is the source
  int32_t num_beams = 0;
  double length_penalty = 1.0;
  std::string early_stopping = "false";
  bool ignore_eos = false;
  bool json = false;
};

// What one run of `generate` knows and measures.
struct Generation {
  std::unique_ptr<Tokenizer> tokenizer;  // null: prompt ids only, and no tokenizer in the directory
  Request request;
  std::optional<ChoiceText> decoder;
  std::string text;  // all that was written
  Receipt receipt;
  std::vector<int32_t> output_ids;
  FinishReason finish = FinishReason::kNone;
  std::string error;
  bool speculates = false;
  int64_t drafted = 0;   // tokens guessed
  int64_t accepted = 0;  // and guessed right
  Clock::time_point start, first, last;
};

absl::StatusOr<std::string> ReadPrompt(const GenerateOptions& options) {
  if (options.prompt_file.empty()) return options.prompt;
  std::ifstream file(options.prompt_file, std::ios::binary);
  if (!file) return NotFound("--prompt-file {}: cannot be opened", options.prompt_file);
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

void FillSampling(const GenerateOptions& options, const GenerationConfig& defaults,
                  SamplingParams* sampling) {
  sampling->temperature =
      options.temperature.value_or(defaults.do_sample ? defaults.temperature : 0.0f);
  sampling->top_p = options.top_p.value_or(defaults.top_p);
  sampling->top_k = options.top_k.value_or(defaults.top_k);
  sampling->min_p = options.min_p.value_or(0.0f);
  sampling->seed = options.seed;
}

// Of a model with an encoder, the prompt is what it reads.
absl::Status MakeSource(const GenerateOptions& options, const LoadedRank& rank, Generation* run) {
  if (!rank.config().has_encoder()) {
    const bool named = !options.source.source_language.empty() ||
                       !options.source.target_language.empty() || options.source.forced_bos;
    if (!named) return absl::OkStatus();
    return UsageError(
        "--source-language, --target-language and --forced-bos-token-id need a model with an "
        "encoder");
  }
  FM_ASSIGN_OR_RETURN(SourcePrompt prompt, MakeSourcePrompt(rank.config(), run->tokenizer.get(),
                                                            options.source, run->request.prompt));
  run->request.prompt = std::move(prompt.tokens);
  run->request.source = prompt.source;
  run->request.beams.begun = prompt.begun;
  return absl::OkStatus();
}

void FillBeams(const GenerateOptions& options, BeamParams* beams) {
  beams->width = options.num_beams;
  beams->length_penalty = options.length_penalty;
  if (options.early_stopping == "true") beams->early_stopping = EarlyStopping::kYes;
  if (options.early_stopping == "never") beams->early_stopping = EarlyStopping::kNever;
}

absl::Status Prepare(const GenerateOptions& options, const LoadedRank& rank, Generation* run) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::OfModel(options.engine.model);
  if (tokenizer.ok()) {
    run->tokenizer = *std::move(tokenizer);
  } else if (!absl::IsNotFound(tokenizer.status()) || options.prompt_ids.empty() ||
             !options.stop.empty()) {
    return tokenizer.status();
  }
  run->request.prompt = options.prompt_ids;
  if (options.prompt_ids.empty()) {
    FM_ASSIGN_OR_RETURN(const std::string prompt, ReadPrompt(options));
    FM_ASSIGN_OR_RETURN(run->request.prompt, run->tokenizer->Encode(prompt));
  }
  FM_RETURN_IF_ERROR(MakeSource(options, rank, run));
  FillBeams(options, &run->request.beams);
  FM_ASSIGN_OR_RETURN(const GenerationConfig defaults, LoadGenerationConfig(options.engine.model));
  FillSampling(options, defaults, &run->request.sampling);
  run->request.max_tokens = options.max_tokens;
  if (!options.ignore_eos) {
    run->request.stop_ids = rank.config().eos_ids;
    if (run->request.stop_ids.empty() && run->tokenizer && run->tokenizer->eos_id()) {
      run->request.stop_ids = {*run->tokenizer->eos_id()};
    }
  }
  run->decoder.emplace(run->tokenizer.get(),
                       TextRules{.stops = std::make_shared<StopStrings>(options.stop)});
  return absl::OkStatus();
}

// Handles one event; returns true when a stop string ended the text.
bool OnEvent(const GenerateOptions& options, const RequestEvent& event, Generation* run) {
  run->receipt.Add(*event.result);
  run->finish = event.finish;
  run->drafted += event.drafted;
  run->accepted += event.accepted ? 1 : 0;
  run->error = event.result->error;
  if (event.result->token < 0) return false;
  run->last = Clock::now();
  if (run->output_ids.empty()) run->first = run->last;
  run->output_ids.push_back(event.result->token);
  const bool special = event.finish == FinishReason::kStop;  // an end token is not text
  const std::string piece =
      special ? run->decoder->Finish() : run->decoder->Push(event.result->token);
  run->text += piece;
  if (!options.json) {
    fmt::print("{}", piece);
    std::fflush(stdout);
  }
  return run->decoder->stopped_by() != nullptr;
}

absl::Status Run(const GenerateOptions& options, Engine& engine, Generation* run) {
  run->start = run->first = run->last = Clock::now();
  FM_ASSIGN_OR_RETURN(const int64_t id, engine.Submit(run->request));
  bool stopped = false;
  while (!engine.idle()) {
    FM_RETURN_IF_ERROR(engine.Step(
        [&](const RequestEvent& event) { stopped = stopped || OnEvent(options, event, run); }));
    if (stopped) {
      engine.Abort(id);
      run->finish = FinishReason::kStop;
    }
  }
  const std::string rest = run->decoder->Finish();
  run->text += rest;
  if (!options.json) fmt::print("{}\n", rest);
  std::fflush(stdout);
  if (run->finish == FinishReason::kError) return DataLoss("generation failed: {}", run->error);
  return absl::OkStatus();
}

void PrintJson(const Generation& run) {
  nlohmann::ordered_json out;
  out["text"] = run.text;
  out["token_ids"] = run.output_ids;
  out["finish_reason"] = FinishReasonName(run.finish);
  const size_t prompt = run.request.prompt.size();
  out["usage"] = {{"prompt_tokens", prompt},
                  {"completion_tokens", run.output_ids.size()},
                  {"total_tokens", prompt + run.output_ids.size()}};
  out["moe"] = run.receipt.ToJson();
  if (run.speculates) {
    out["speculation"] = {{"drafted", run.drafted}, {"accepted", run.accepted}};
  }
  fmt::print("{}\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void PrintSummary(Engine& engine, const LoadedRank& rank, const Generation& run) {
  // mpirun forwards stdout and stderr on separate ways: let the text arrive before the table.
  if (rank.ranks() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const Terminal terminal = DetectTerminal(STDERR_FILENO);
  const auto seconds = [](Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  };
  const double first = seconds(run.start, run.first);
  const auto decoded = static_cast<double>(run.output_ids.size()) - 1;
  KeyValues table;
  if (rank.ranks() > 1) {
    table.Add("ranks", fmt::format("{}, {}-parallel", rank.ranks(),
                                   ParallelismName(rank.tensor_parallel())));
  }
  table.Add("load time", FormatSeconds(rank.load_seconds()));
  table.Add("time to first token", FormatSeconds(first));
  table.Add("prefill", FormatRate(static_cast<double>(run.request.prompt.size()), first, "tokens"));
  table.Add("decode", FormatRate(decoded, seconds(run.first, run.last), "tokens"));
  if (run.speculates) {
    const double share =
        run.drafted == 0 ? 0 : static_cast<double>(run.accepted) / static_cast<double>(run.drafted);
    table.Add("guesses accepted", fmt::format("{} of {} ({:.0f} %)", FormatCount(run.accepted),
                                              FormatCount(run.drafted), 100 * share));
  }
  if (rank.config().moe.experts > 0) {
    table.Add("choices rejected", FormatCount(run.receipt.rejected()));
    table.Add("choices overflowed", FormatCount(run.receipt.overflow()));
  }
  fmt::print(stderr, "\n{}", table.Render(terminal));
  if (rank.config().moe.experts > 0) {
    fmt::print(stderr, "\ntokens per expert, all layers\n{}",
               RenderExpertLoad(LoadOf(engine.expert_counts(), rank.placement()), terminal));
  }
}

absl::Status Generate(const GenerateOptions& options) {
  const int sources = (options.prompt.empty() ? 0 : 1) + (options.prompt_file.empty() ? 0 : 1) +
                      (options.prompt_ids.empty() ? 0 : 1);
  if (sources != 1) {
    return UsageError(
        "give a prompt that is not empty with one of --prompt, --prompt-file, --prompt-ids");
  }
  return RunWithEngine(options.engine, [&](Engine& engine, LoadedRank& rank) -> absl::Status {
    Generation run;
    run.speculates = engine.scheduler().speculates();
    FM_RETURN_IF_ERROR(Prepare(options, rank, &run));
    if (!options.json && run.tokenizer) fmt::print("{}", options.prompt);
    FM_RETURN_IF_ERROR(Run(options, engine, &run));
    if (options.json) {
      PrintJson(run);
    } else {
      PrintSummary(engine, rank, run);
    }
    return absl::OkStatus();
  });
}

}  // namespace

Command MakeGenerateCommand(CLI::App& app) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "continue a prompt");
  AddEngineFlags(*command, &options->engine);
  command->add_option("--prompt", options->prompt, "text to continue");
  command->add_option("--prompt-file", options->prompt_file, "file with the text to continue");
  command->add_option("--prompt-ids", options->prompt_ids, "token ids to continue: 1,2,3")
      ->delimiter(',');
  command->add_option("--max-tokens", options->max_tokens, "most tokens to generate")
      ->check(CLI::PositiveNumber);
  command->add_option("--temperature", options->temperature, "0: greedy")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-p", options->top_p, "keep the best tokens of this total probability")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--top-k", options->top_k, "keep the best K tokens; 0 or -1: all")
      ->check(CLI::Range(-1, 1 << 30));
  command->add_option("--min-p", options->min_p, "keep tokens of at least this share of the best")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--seed", options->seed, "of the sampler; the same seed gives the same text");
  command->add_option("--num-beams", options->num_beams, "beam search with so many beams")
      ->check(CLI::Range(1, 64));
  command->add_option("--length-penalty", options->length_penalty,
                      "of beams: log-probability / length^penalty decides");
  command
      ->add_option("--early-stopping", options->early_stopping,
                   "of beams: true: with as many outputs as beams; false, never: when no better "
                   "one is in sight")
      ->check(CLI::IsMember({"true", "false", "never"}));
  command->add_option("--source-language", options->source.source_language,
                      "token of the prompt's language (eng_Latn), for models that translate");
  command->add_option("--target-language", options->source.target_language,
                      "token with which the output begins (fra_Latn)");
  command->add_option("--forced-bos-token-id", options->source.forced_bos, "the same by its id");
  command->add_option("--stop", options->stop, "end at this text (repeatable)");
  command->add_flag("--ignore-eos", options->ignore_eos, "go on after an end token");
  command->add_flag("--json", options->json, "print one JSON object");
  return {.app = command, .run = [options] { return Generate(*options); }};
}

}  // namespace folkmoot
