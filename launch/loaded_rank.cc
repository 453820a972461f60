// SPDX-License-Identifier: Apache-2.0
// LoadedRank::Load: open, agree, read.
#include "launch/loaded_rank.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>

#include "launch/agreement.h"
#include "launch/gpu/choose_gpu.h"
#include "launch/gpu/gpu.h"
#include "launch/parallelism.h"
#include "launch/version.h"
#include "layers/models/load_config.h"
#include "layers/models/tensor_list.h"
#include "parallel/thread_communicator.h"

namespace folkmoot {
namespace {

// What is known of a model before its weights are read.
struct Opened {
  ModelConfig config;
  GateConfig gate;
  int64_t context = 0;
  std::optional<WeightSource> weights;
  ExpertPlacement placement = ExpertPlacement::Contiguous(0, 1);
  std::optional<cuda::DeviceInfo> gpu;  // nullopt: the CPU
};

// What flags cannot ask of a packed model; where they leave the choice of the device, it is the
// CPU's.
absl::Status CheckPacked(const EngineOptions& options, Opened* out) {
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

absl::Status CheckGpuKernels(const EngineOptions& options, Opened* out) {
  const std::string_view why = WhyCpuOnly(out->config);
  if (!out->gpu || why.empty()) return absl::OkStatus();
  if (options.device == "auto") {
    out->gpu.reset();
    return absl::OkStatus();
  }
  return InvalidArgument("{} has {}, for which there are no GPU kernels; use --device cpu",
                         out->config.architecture, why);
}

absl::Status Open(const EngineOptions& options, int rank, int ranks, Opened* out) {
  FM_RETURN_IF_ERROR(CheckEngineOptions(options));
  FM_ASSIGN_OR_RETURN(out->gpu, ChooseGpu(options, rank));
  FM_ASSIGN_OR_RETURN(out->config, LoadModelConfig(options.model));
  FM_RETURN_IF_ERROR(CheckGpuKernels(options, out));
  FM_ASSIGN_OR_RETURN(out->gate, GateOf(options, out->config));
  FM_RETURN_IF_ERROR(CheckGuessing(options, out->gate));
  if (out->config.has_encoder() && SpeculationOf(options).tokens > 0) {
    return InvalidArgument(
        "--speculative-tokens is {}, but nobody guesses for a model with an encoder: leave out the "
        "flags of speculation",
        SpeculationOf(options).tokens);
  }
  FM_ASSIGN_OR_RETURN(out->context, ContextOf(options, out->config));
  FM_ASSIGN_OR_RETURN(
      out->placement,
      ExpertPlacement::Parse(options.placement, static_cast<int>(out->config.moe.experts), ranks));
  FM_ASSIGN_OR_RETURN(out->weights, WeightSource::Open(options.model, DummySeed(options)));
  if (out->weights->packed()) FM_RETURN_IF_ERROR(CheckPacked(options, out));
  // Now the device is certain.
  FM_RETURN_IF_ERROR(CheckParallelism(options, out->gpu.has_value()));
  if (!out->gpu || !HasDraftModel(options)) return absl::OkStatus();
  return InvalidArgument(
      "--speculative-model runs on the CPU only: use --speculative-method ngram, or --device cpu");
}

AgreementFields Fields(const EngineOptions& options, const Opened& opened) {
  AgreementFields fields = {
      {"version", BuildVersion()},
      {"program file", ProgramHash()},
      {"--device", opened.gpu ? "cuda" : "cpu"},
      {"--batch-invariant", options.batch_invariant ? "yes" : "no"},
      {"--wgmma-attention", options.wgmma_attention ? "yes" : "no"},
      {"--allow-shared-gpu", options.allow_shared_gpu ? "yes" : "no"},
      {"--max-num-batched-tokens", std::to_string(options.max_num_batched_tokens)},
      {"--load-format", options.load_format},
      {"--dtype", options.dtype},
      {"--quantization", options.quantization},
      {"--activation-precision", options.activation_precision},
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

ModelOptions ModelOptionsOf(const EngineOptions& options, const Opened& opened) {
  ModelOptions model;
  model.gate = opened.gate;
  model.dispatcher = DispatcherOf(options);
  model.cache_dtype = CacheDType(options);
  model.limits.rows = options.max_num_batched_tokens;
  model.limits.sequences = std::min(options.max_num_seqs, options.max_num_batched_tokens);
  model.limits.length = opened.context;
  model.gpu.device = opened.gpu ? opened.gpu->index : 0;
  model.gpu.memory_utilization = options.gpu_memory_utilization;
  model.gpu.batch_invariant = options.batch_invariant;
  model.gpu.wgmma_attention = options.wgmma_attention;
  model.gpu.record = !options.enforce_eager;
  model.gpu.allow_shared = options.allow_shared_gpu;
  model.gpu.nccl = options.nccl;
  return model;
}

// The fewest pages that any rank has room for, at most as many as max_num_seqs sequences can use.
// Collective.
absl::StatusOr<int64_t> BlocksPerRank(const EngineOptions& options, int64_t context,
                                      const Model& model, const DraftModel* draft,
                                      Communicator& world) {
  const int64_t per_sequence = (context + kKvBlockSize - 1) / kKvBlockSize;
  const int64_t bytes = model.CacheBytesPerBlock(kKvBlockSize) +
                        (draft == nullptr ? 0 : draft->CacheBytesPerBlock(kKvBlockSize));
  absl::Status status;
  int64_t room = 0;
  if (absl::StatusOr<CacheRoom> memory = model.CacheMemory(); memory.ok()) {
    room = memory->bytes / bytes;
    if (memory->lazy) room = std::max(room, per_sequence);
  } else {
    status = memory.status();
  }
  if (status.ok() && options.kv_cache_blocks == 0 && room < per_sequence) {
    status = ResourceExhausted(
        "a sequence of {} tokens needs {} MB of keys and values, but there is room for {} MB: "
        "lower --max-model-len, or make room with --max-num-batched-tokens or --dtype",
        context, per_sequence * bytes >> 20, room * bytes >> 20);
  }
  FM_RETURN_IF_ERROR(AgreeOrFail(world, status, {}));
  std::vector<int64_t> rooms(static_cast<size_t>(world.size()));
  FM_RETURN_IF_ERROR(AllGather(world, std::as_bytes(std::span(&room, 1)),
                               std::as_writable_bytes(std::span(rooms)), {.phase = "start-up"}));
  if (options.kv_cache_blocks > 0) return options.kv_cache_blocks;
  return std::min(*std::min_element(rooms.begin(), rooms.end()),
                  per_sequence * options.max_num_seqs);
}

SchedulerOptions SchedulerOf(const EngineOptions& options, const Opened& opened, int ranks,
                             int64_t blocks) {
  SchedulerOptions scheduler;
  scheduler.ranks = ranks;
  scheduler.vocab = opened.config.vocab;
  scheduler.max_model_len = opened.context;
  scheduler.max_sequences = options.max_num_seqs;
  scheduler.max_batched_tokens = options.max_num_batched_tokens;
  scheduler.prefill_chunk =
      options.prefill_chunk > 0 ? options.prefill_chunk : options.max_num_batched_tokens;
  scheduler.block_size = kKvBlockSize;
  scheduler.blocks_per_rank = blocks;
  scheduler.speculation = SpeculationOf(options);
  return scheduler;
}

}  // namespace

absl::Status LoadedRank::LoadWeights(const EngineOptions& options, ModelOptions model,
                                     Communicator& world, const LoadProgress& progress) {
  loader_ = weights_->MakeLoader(config_, WeightOptionsOf(options));
  stored_codes_ = weights_->stored_codes(config_);
  const std::pair<int, int> slice =
      tensor_parallel_ ? std::pair(world.rank(), world.size()) : std::pair(0, 1);
  const int placed = tensor_parallel_ ? 0 : world.rank();
  const ListedPart part = {.placement = config_.moe.experts > 0 ? &placement_ : nullptr,
                           .expert_rank = placed,
                           .rank = slice.first,
                           .ranks = slice.second};
  FM_ASSIGN_OR_RETURN(const int64_t weights, WeightsToLoad(config_, part));
  int64_t total = weights * DTypeBytes(config_.dtype);
  if (stored_codes_ && !WeightDType(options)) {
    total = static_cast<int64_t>(static_cast<double>(weights) * stored_codes_->bytes_per_weight);
  }
  loader_->set_progress([&](int64_t bytes) {
    bytes_read_ += bytes;
    if (progress) progress(bytes_read_, std::max(total, bytes_read_));
  });
  const auto load = gpu_ ? &LoadGpuModel : &LoadModel;
  absl::StatusOr<std::unique_ptr<Model>> loaded =
      load(config_, model, *loader_, placement_, tensor_parallel_ ? *alone_ : world, *pool_);
  loader_->set_progress(nullptr);
  FM_RETURN_IF_ERROR(AgreeOrFail(world, loaded.status(), {}));
  model_ = *std::move(loaded);
  return absl::OkStatus();
}

absl::Status LoadedRank::LoadDraft(const EngineOptions& options, int64_t context,
                                   Communicator& world) {
  DraftModelOptions draft;
  draft.directory = options.speculative_model;
  draft.cache_dtype = CacheDType(options);
  draft.weights = WeightOptionsOf(options);
  draft.dummy_seed = DummySeed(options);
  draft.context = context;
  absl::StatusOr<std::unique_ptr<DraftModel>> loaded =
      DraftModel::Load(draft, config_, options.model, *pool_);
  AgreementFields fields;
  if (loaded.ok()) (*loaded)->weights().AddFields("--speculative-model: ", fields);
  FM_RETURN_IF_ERROR(AgreeOrFail(world, loaded.status(), fields));
  draft_ = *std::move(loaded);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LoadedRank>> LoadedRank::Load(const EngineOptions& options,
                                                             Communicator& world,
                                                             ThreadBudget budget,
                                                             const LoadProgress& progress) {
  const auto begin = std::chrono::steady_clock::now();
  Opened opened;
  const absl::Status status = Open(options, world.rank(), world.size(), &opened);
  FM_RETURN_IF_ERROR(
      AgreeOrFail(world, status, status.ok() ? Fields(options, opened) : AgreementFields{}));
  FM_RETURN_IF_ERROR(CheckGpuSharing(options, world, opened.gpu));

  FM_ASSIGN_OR_RETURN(
      const Parallelism parallelism,
      ChooseParallelism(options, opened.config, opened.gpu.has_value(), budget.threads, world));
  if (parallelism.tensor) {
    opened.placement = ExpertPlacement::Contiguous(opened.placement.experts(), 1);
  }

  std::unique_ptr<LoadedRank> rank(new LoadedRank(std::move(opened.placement)));
  rank->pool_ = std::make_unique<ThreadPool>(budget.threads, budget.pin);
  rank->config_ = opened.config;
  rank->gpu_ = opened.gpu;
  rank->weights_ = std::move(opened.weights);
  rank->epoch_ = 1;
  rank->ranks_ = world.size();
  rank->tensor_parallel_ = parallelism.tensor;
  rank->alone_ = std::move(MakeThreadCommunicators(1).front());
  ModelOptions model_options = ModelOptionsOf(options, opened);
  if (parallelism.tensor) {
    model_options.tensor = {.ranks = &world, .exchange = options.columns, .spin = parallelism.spin};
  }
  FM_RETURN_IF_ERROR(rank->LoadWeights(options, std::move(model_options), world, progress));

  if (HasDraftModel(options)) FM_RETURN_IF_ERROR(rank->LoadDraft(options, opened.context, world));

  FM_ASSIGN_OR_RETURN(const int64_t blocks, BlocksPerRank(options, opened.context, *rank->model_,
                                                          rank->draft_.get(), world));
  rank->scheduler_options_ = SchedulerOf(options, opened, rank->placement_.ranks(), blocks);
  const CachePages pages = {.blocks = blocks, .block_size = kKvBlockSize};
  absl::Status made = rank->model_->MakeCache(pages);
  if (made.ok() && rank->draft_ != nullptr) made = rank->draft_->MakeCache(pages);
  FM_RETURN_IF_ERROR(AgreeOrFail(world, made, {}));
  rank->runner_ = std::make_unique<ModelRunner>(
      *rank->model_, *rank->pool_, parallelism.tensor ? *rank->alone_ : world, rank->draft_.get());
  rank->load_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return rank;
}

}  // namespace folkmoot
