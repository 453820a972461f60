// SPDX-License-Identifier: Apache-2.0
#include "launch/opened_model.h"

#include <string_view>

#include "launch/gpu/gpu.h"
#include "launch/parallelism.h"
#include "launch/version.h"
#include "layers/models/load_config.h"
#include "runtime/machine_probe.h"

namespace folkmoot {
namespace {

// What flags cannot ask of a packed model; where they leave the choice of the device, it is the
// CPU's.
absl::Status CheckPacked(const EngineOptions& options, OpenedModel* out) {
  const std::string& path = out->weights->path();
  if (out->gpu && options.device == "auto") out->gpu.reset();
  if (out->gpu) {
    return FailedPrecondition(
        "{}: packed for the CPU; use --device cpu, or the model that it was made from", path);
  }
  if (options.dtype != "auto" || options.quantization != "none") {
    return FailedPrecondition(
        "{}: packed weights stay as they are; give --dtype and --quantization to `folkmoot pack`",
        path);
  }
  return absl::OkStatus();
}

absl::Status CheckGpuKernels(const EngineOptions& options, OpenedModel* out) {
  const std::string_view why = WhyCpuOnly(out->config);
  if (!out->gpu || why.empty()) return absl::OkStatus();
  if (options.device == "auto") {
    out->gpu.reset();
    return absl::OkStatus();
  }
  return InvalidArgument("{} has {}, for which there are no GPU kernels; use --device cpu",
                         out->config.architecture, why);
}

}  // namespace

absl::StatusOr<OpenedModel> OpenModel(const EngineOptions& options, int ranks,
                                      std::optional<cuda::DeviceInfo> gpu) {
  OpenedModel opened;
  opened.gpu = std::move(gpu);
  FM_ASSIGN_OR_RETURN(opened.config, LoadModelConfig(options.model));
  FM_RETURN_IF_ERROR(CheckGpuKernels(options, &opened));
  FM_ASSIGN_OR_RETURN(opened.gate, GateOf(options, opened.config));
  FM_RETURN_IF_ERROR(CheckGuessing(options, opened.gate));
  if (const std::string_view why = WhyNotSpeculative(opened.config);
      !why.empty() && SpeculationOf(options).tokens > 0) {
    return InvalidArgument(
        "--speculative-tokens is {}, but nobody guesses for {}: {}; leave out the flags of "
        "speculation",
        SpeculationOf(options).tokens, opened.config.architecture, why);
  }
  FM_ASSIGN_OR_RETURN(opened.context, ContextOf(options, opened.config));
  FM_ASSIGN_OR_RETURN(opened.placement,
                      ExpertPlacement::Parse(options.placement,
                                             static_cast<int>(opened.config.moe.experts), ranks));
  FM_ASSIGN_OR_RETURN(opened.weights, WeightSource::Open(options.model, DummySeed(options)));
  if (opened.weights->packed()) FM_RETURN_IF_ERROR(CheckPacked(options, &opened));
  // Now the device is certain.
  FM_RETURN_IF_ERROR(CheckParallelism(options, opened.gpu.has_value()));
  if (!opened.gpu || !HasDraftModel(options)) return opened;
  return InvalidArgument(
      "--speculative-model runs on the CPU only: use --speculative-method ngram, or --device cpu");
}

AgreementFields FieldsOf(const EngineOptions& options, const OpenedModel& opened) {
  AgreementFields fields = {
      {"version", BuildVersion()},
      {"program file", ProgramHash()},
      {"--batch-invariant", options.batch_invariant ? "yes" : "no"},
      {"--wgmma-attention", options.wgmma_attention ? "yes" : "no"},
      {"--allow-shared-gpu", options.allow_shared_gpu ? "yes" : "no"},
      {"--max-num-batched-tokens", std::to_string(options.max_num_batched_tokens)},
      {"--load-format", options.load_format},
      {"--dtype", options.dtype},
      {"--quantization", options.quantization},
      {"--activation-precision", options.activation_precision},
      {"--sum-order", options.sum_order == "native" ? fmt::format("native ({})", NativeSumOrder())
                                                    : options.sum_order},
      {"--kv-cache-dtype", options.kv_cache_dtype},
      {"--max-num-seqs", std::to_string(options.max_num_seqs)},
      {"--moe-a2a-backend", options.dispatcher},
      {"--parallelism", options.parallelism},
      {"--speculative-model", HasDraftModel(options) ? "yes" : "no"}};
  opened.weights->AddFields("", fields);
  fields.emplace_back("gate", opened.config.moe.experts > 0 ? ToJson(opened.gate) : "none");
  fields.emplace_back("context", std::to_string(opened.context));
  std::string placement;
  for (int e = 0; e < opened.placement.experts(); ++e) {
    placement += fmt::format("{}{}", e == 0 ? "" : ",", opened.placement.rank_of(e));
  }
  fields.emplace_back("expert placement", placement);
  return fields;
}

SchedulerOptions SchedulerOf(const EngineOptions& options, const OpenedModel& opened, int ranks,
                             const CachePages& pages) {
  SchedulerOptions scheduler;
  scheduler.ranks = ranks;
  scheduler.vocab = opened.config.vocab;
  scheduler.max_model_len = opened.context;
  scheduler.max_sequences = options.max_num_seqs;
  scheduler.max_batched_tokens = options.max_num_batched_tokens;
  scheduler.prefill_chunk =
      options.prefill_chunk > 0 ? options.prefill_chunk : options.max_num_batched_tokens;
  scheduler.block_size = pages.block_size;
  scheduler.blocks_per_rank = pages.blocks;
  scheduler.slots_per_rank = pages.slots;
  scheduler.snapshots_per_rank = pages.snapshots;
  scheduler.prefix_caching = opened.config.recurrent_layers() == 0 || pages.snapshots > 0;
  scheduler.speculation = SpeculationOf(options);
  return scheduler;
}

}  // namespace folkmoot
