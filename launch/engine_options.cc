// SPDX-License-Identifier: Apache-2.0
#include "launch/engine_options.h"

#include <map>

#include "CLI/CLI.hpp"
#include "launch/command.h"
#include "launch/gpu/gpu.h"
#include "runtime/quant/round_to_nearest.h"

namespace folkmoot {
namespace {

const std::map<std::string, DispatcherKind>& Dispatchers() {
  static const auto* const kKinds =
      new std::map<std::string, DispatcherKind>{{"auto", DispatcherKind::kAuto},
                                                {"local", DispatcherKind::kLocal},
                                                {"all-to-all", DispatcherKind::kAllToAll},
                                                {"allgather", DispatcherKind::kAllGather}};
  return *kKinds;
}

void AddSpeculationFlags(CLI::App& app, EngineOptions* options) {
  app.add_option("--speculative-tokens,--num-speculative-tokens", options->speculative_tokens,
                 "guess up to N next tokens and verify them in one step; 0: none; with a method or "
                 "model 4 by default")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 10));
  app.add_option("--speculative-method", options->speculative_method,
                 "ngram: what followed the same words before; draft: a small model")
      ->check(CLI::IsMember({"ngram", "draft"}));
  app.add_option("--speculative-model", options->speculative_model,
                 "directory of a small model with the same vocabulary, for the draft method");
  app.add_option("--prompt-lookup-max", options->prompt_lookup_max,
                 "ngram: look for as many of the last tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 10));
  app.add_option("--prompt-lookup-min", options->prompt_lookup_min,
                 "ngram: or for fewer, down to so many")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 10));
}

absl::Status CheckSpeculation(const EngineOptions& options) {
  if (options.prompt_lookup_min > options.prompt_lookup_max) {
    return UsageError(fmt::format("--prompt-lookup-min {} is more than --prompt-lookup-max {}",
                                  options.prompt_lookup_min, options.prompt_lookup_max));
  }
  if (options.speculative_method == "draft" && options.speculative_model.empty()) {
    return UsageError("--speculative-method draft: name the small model with --speculative-model");
  }
  if (options.speculative_method == "ngram" && !options.speculative_model.empty()) {
    return UsageError("--speculative-model is for --speculative-method draft, not for ngram");
  }
  return absl::OkStatus();
}

}  // namespace

void AddDispatcherFlag(CLI::App& app, std::string* dispatcher) {
  app.add_option("--moe-a2a-backend,--all2all-backend", *dispatcher,
                 "how tokens travel to experts: auto, local, all-to-all, allgather")
      ->check(CLI::IsMember({"auto", "local", "all-to-all", "allgather"}));
}

void AddEngineFlags(CLI::App& app, EngineOptions* options) {
  app.add_option("MODEL,--model", options->model, "Hugging Face model directory, or a GGUF file")
      ->required();
  app.add_option("--device", options->device,
                 "where to compute; auto: on a GPU where there is one that can be used")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--dtype", options->dtype, "type of the weights in memory; auto: as stored")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}));
  app.add_option("--quantization", options->quantization,
                 "round plain weights to codes while loading (CPU): q8_0, q4_0, mxfp4, fp8; "
                 "routers and embeddings stay")
      ->check(CLI::IsMember({"none", "q8_0", "q4_0", "mxfp4", "fp8"}));
  app.add_option(
         "--activation-precision", options->activation_precision,
         "how activations meet weights on the CPU. reduced: bfloat16 beside BF16 weights, 8 "
         "bits beside quantised ones, faster with AVX-512 of Ice Lake, Zen 4 and later (bfloat16: "
         "AVX512_BF16); full: "
         "float32, 16 bits")
      ->check(CLI::IsMember({"full", "reduced"}));
  app.add_option(
         "--sum-order", options->sum_order,
         "how products with BF16 weights add up on the CPU. portable: the same bits on every "
         "processor; native: in the order of AMX tile registers where there are any, faster for "
         "long prompts and large batches; the bits stay the same for any ranks, batch and "
         "threads, but are those of processors with AMX")
      ->check(CLI::IsMember({"portable", "native"}));
  app.add_option(
         "--kv-cache-dtype", options->kv_cache_dtype,
         "how keys and values are kept on the CPU; auto: float32. GPUs keep the model's type")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "int8"}));
  app.add_option("--load-format", options->load_format,
                 "dummy: random weights from config.json alone, for benchmarks")
      ->check(CLI::IsMember({"auto", "safetensors", "dummy"}));
  app.add_option("--gate", options->gate,
                 "another gate: KEY=VALUE[,KEY=VALUE...], see docs/gates.md");
  app.add_option("--parallelism", options->parallelism,
                 "how ranks share the model: expert (whole experts, each rank its own sequences), "
                 "tensor (a part of every matrix, all ranks the same sequences), auto")
      ->check(CLI::IsMember({"expert", "tensor", "auto"}));
  app.add_option("--expert-placement-strategy,--expert-placement", options->placement,
                 "contiguous, round_robin, or a JSON file [rank of expert 0, ...]");
  AddDispatcherFlag(app, &options->dispatcher);
  app.add_option("--threads", options->threads, "compute threads per rank; 0: cores / ranks")
      ->check(CLI::Range(0, 1024));
  app.add_option("--pin-threads", options->pin,
                 "bind each compute thread to a core; auto: when this process was bound to its own")
      ->check(CLI::IsMember({"auto", "on", "off"}));
  app.add_option("--max-model-len", options->max_model_len,
                 "longest prompt and output together; 0: as config.json says")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-num-seqs", options->max_num_seqs, "sequences computed at once")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-num-batched-tokens", options->max_num_batched_tokens,
                 "tokens per rank and step")
      ->check(CLI::PositiveNumber);
  app.add_option("--prefill-chunk", options->prefill_chunk,
                 "prompt tokens of one sequence per step; 0: as many as fit")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--kv-cache-blocks", options->kv_cache_blocks,
                 "KV cache pages of 16 tokens per rank; 0: enough for --max-num-seqs")
      ->check(CLI::NonNegativeNumber);
  app.add_option(
         "--state-snapshots", options->state_snapshots,
         "copies of recurrent state per rank for the prefix cache; 0: no such cache; -1: in "
         "a quarter of its memory, at most 4 for each of --max-num-seqs")
      ->check(CLI::Range(-1, 1 << 20));
  AddSpeculationFlags(app, options);
  app.add_option("--timeout-ms", options->timeout_ms,
                 "deadline of every wait between ranks, in milliseconds")
      ->check(CLI::PositiveNumber);
  app.add_option("--dummy-seed", options->dummy_seed, "seed of --load-format dummy");
  app.add_option("--gpu-memory-utilization", options->gpu_memory_utilization,
                 "part of each GPU's memory that may be taken, weights and KV cache together")
      ->check(CLI::Range(0.01, 1.0));
  app.add_flag("--allow-shared-gpu", options->allow_shared_gpu,
               "let several ranks of a host use one GPU: slow, for tests");
  app.add_flag("--batch-invariant", options->batch_invariant,
               "on GPUs: only kernels whose results do not depend on the other rows of a step");
  app.add_flag(
      "--wgmma-attention", options->wgmma_attention,
      "on a Hopper GPU: prompts by an attention kernel that is faster by design, but has not "
      "been seen on hardware yet");
  app.add_flag("--enforce-eager", options->enforce_eager,
               "on GPUs: start every kernel of a decode step by itself instead of as one graph");
  AddFaultFlags(app, &options->faults);
}

absl::Status CheckEngineOptions(const EngineOptions& options) {
  if (options.device == "cuda" && GpuBuild().backend == "none") {
    return UsageError(Message(Annotate(ListGpus().status(), "--device cuda")));
  }
  if (options.device == "cuda" && options.kv_cache_dtype != "auto") {
    return UsageError(fmt::format(
        "--kv-cache-dtype {}: GPUs keep keys and values in the type of the model; use auto",
        options.kv_cache_dtype));
  }
  if (options.device == "cuda" && options.activation_precision != "full") {
    return UsageError(
        "--activation-precision reduced: only the CPU knows a difference; use --device cpu");
  }
  if (options.device == "cuda" && options.sum_order != "portable") {
    return UsageError("--sum-order native: only the CPU knows a difference; use --device cpu");
  }
  if (options.device == "cuda" && options.quantization != "none") {
    return UsageError(
        fmt::format("--quantization {}: quantised weights run on the CPU only; use --device cpu",
                    options.quantization));
  }
  FM_RETURN_IF_ERROR(ReadFaults(options.faults).status());
  return CheckSpeculation(options);
}

SpeculationOptions SpeculationOf(const EngineOptions& options) {
  const bool drafts = !options.speculative_model.empty();
  SpeculationOptions speculation;
  speculation.method = drafts ? SpeculationMethod::kDraftModel : SpeculationMethod::kPromptLookup;
  const bool asked = drafts || !options.speculative_method.empty();
  speculation.tokens = options.speculative_tokens.value_or(asked ? 4 : 0);
  speculation.lookup_min = options.prompt_lookup_min;
  speculation.lookup_max = options.prompt_lookup_max;
  return speculation;
}

std::optional<uint64_t> DummySeed(const EngineOptions& options) {
  if (options.load_format != "dummy") return std::nullopt;
  return options.dummy_seed;
}

ProductRules RulesOf(const EngineOptions& options) {
  return {.activations = options.activation_precision == "reduced" ? ActivationPrecision::kReduced
                                                                   : ActivationPrecision::kFull,
          .order = options.sum_order == "native" ? SumOrder::kNative : SumOrder::kPortable};
}

WeightOptions WeightOptionsOf(const EngineOptions& options) {
  return {.dtype = WeightDType(options),
          .rounding = CodeSpecNamed(options.quantization),
          .rules = RulesOf(options)};
}

std::optional<DType> WeightDType(const EngineOptions& options) {
  if (options.dtype == "float32") return DType::kF32;
  if (options.dtype == "bfloat16") return DType::kBF16;
  if (options.dtype == "float16") return DType::kF16;
  return std::nullopt;
}

DType CacheDType(const EngineOptions& options) {
  if (options.kv_cache_dtype == "bfloat16") return DType::kBF16;
  return options.kv_cache_dtype == "int8" ? DType::kI8 : DType::kF32;
}

DispatcherKind DispatcherOf(const EngineOptions& options) {
  return Dispatchers().at(options.dispatcher);
}

absl::StatusOr<GateConfig> GateOf(const EngineOptions& options, const ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(GateConfig gate, DefaultGate(config));
  if (options.gate.empty()) return gate;
  if (config.moe.experts == 0) {
    return InvalidArgument("--gate {}: {} is a dense model and has no gate", options.gate,
                           config.architecture);
  }
  const GateConfig published = gate;
  FM_RETURN_IF_ERROR(Annotate(ApplyOverrides(options.gate, &gate), "--gate"));
  // A preset says how to route; whether there is a shared expert is the checkpoint's business
  // unless asked for by name.
  if (options.gate.find("shared=") == std::string::npos) gate.shared = published.shared;
  if (options.gate.find("shared_gate=") == std::string::npos) {
    gate.shared_gate = published.shared_gate;
  }
  FM_RETURN_IF_ERROR(Annotate(gate.Validate(), "--gate"));
  return gate;
}

bool HasDraftModel(const EngineOptions& options) {
  const SpeculationOptions speculation = SpeculationOf(options);
  return speculation.tokens > 0 && speculation.method == SpeculationMethod::kDraftModel;
}

absl::Status CheckGuessing(const EngineOptions& options, const GateConfig& gate) {
  if (SpeculationOf(options).tokens == 0 || gate.CanSpeculate()) return absl::OkStatus();
  return InvalidArgument(
      "speculation: this gate's routing is of class '{}': what a token gets depends on the other "
      "rows of its step, and guesses would change it. Leave --speculative-tokens out, or choose a "
      "gate with group=sequence_chunk and priority=token_major",
      Name(gate.invariance().kind));
}

absl::StatusOr<int64_t> ContextOf(const EngineOptions& options, const ModelConfig& config) {
  // Dynamic NTK stretches itself to any length; its factor says how far it was meant to go.
  const bool dynamic = config.rope.type == RopeType::kDynamic;
  const auto meant = static_cast<int64_t>(static_cast<double>(config.max_positions) *
                                          (dynamic ? config.rope.factor : 1.0));
  if (options.max_model_len == 0) return meant;
  if (options.max_model_len > meant && !dynamic) {
    return InvalidArgument(
        "--max-model-len {}: the model's context is {} tokens (max_position_embeddings)",
        options.max_model_len, config.max_positions);
  }
  return options.max_model_len;
}

}  // namespace folkmoot
