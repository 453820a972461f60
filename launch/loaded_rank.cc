// SPDX-License-Identifier: Apache-2.0
// LoadedRank::Load: open, agree, read.
#include "launch/loaded_rank.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>

#include "launch/gpu/choose_gpu.h"
#include "launch/gpu/gpu.h"
#include "launch/opened_model.h"
#include "launch/parallelism.h"
#include "layers/models/tensor_list.h"
#include "parallel/thread_communicator.h"
#include "runtime/memory.h"

namespace folkmoot {
namespace {

absl::Status Open(const EngineOptions& options, int rank, int ranks, OpenedModel* opened,
                  AgreementFields* fields) {
  FM_RETURN_IF_ERROR(CheckEngineOptions(options));
  FM_ASSIGN_OR_RETURN(std::optional<cuda::DeviceInfo> gpu, ChooseGpu(options, rank));
  FM_ASSIGN_OR_RETURN(*opened, OpenModel(options, ranks, std::move(gpu)));
  *fields = FieldsOf(options, *opened);
  return absl::OkStatus();
}

ModelOptions ModelOptionsOf(const EngineOptions& options, const OpenedModel& opened) {
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

// The least that any rank has. Collective.
absl::StatusOr<int64_t> FewestOf(int64_t mine, Communicator& world) {
  std::vector<int64_t> all(static_cast<size_t>(world.size()));
  FM_RETURN_IF_ERROR(AllGather(world, std::as_bytes(std::span(&mine, 1)),
                               std::as_writable_bytes(std::span(all)), {.phase = "start-up"}));
  return *std::min_element(all.begin(), all.end());
}

// Slots for as many sequences as may run at once, in half of the room at most.
int64_t SlotsIn(const EngineOptions& options, const Model& model, int64_t room) {
  const int64_t bytes = model.CacheBytesPerSlot();
  if (bytes == 0) return 0;
  return std::clamp<int64_t>(room / 2 / bytes, 1, options.max_num_seqs);
}

// Copies of states for the prefix cache, beside the slots.
int64_t SnapshotsIn(const EngineOptions& options, const Model& model, int64_t room) {
  const int64_t bytes = model.CacheBytesPerSlot();
  if (bytes == 0) return 0;
  if (options.state_snapshots >= 0) return options.state_snapshots;
  return std::min(room / 4 / bytes, 4 * options.max_num_seqs);
}

// The fewest slots, snapshots and pages that any rank has room for, at most as many as max_num_seqs
// sequences can use. Collective.
absl::StatusOr<CachePages> PagesPerRank(const EngineOptions& options, int64_t context,
                                        const Model& model, const DraftModel* draft,
                                        Communicator& world) {
  const int64_t per_sequence = (context + kKvBlockSize - 1) / kKvBlockSize;
  const int64_t bytes = model.CacheBytesPerBlock(kKvBlockSize) +
                        (draft == nullptr ? 0 : draft->CacheBytesPerBlock(kKvBlockSize));
  absl::Status status;
  int64_t room = 0;
  int64_t slots = 0;
  int64_t snapshots = 0;
  if (absl::StatusOr<CacheRoom> memory = model.CacheMemory(); memory.ok()) {
    slots = SlotsIn(options, model, memory->bytes);
    snapshots = SnapshotsIn(options, model, memory->bytes);
    const int64_t states = (slots + snapshots) * model.CacheBytesPerSlot();
    room = std::max<int64_t>(0, memory->bytes - states) / bytes;
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
  FM_ASSIGN_OR_RETURN(slots, FewestOf(slots, world));
  FM_ASSIGN_OR_RETURN(snapshots, FewestOf(snapshots, world));
  FM_ASSIGN_OR_RETURN(room, FewestOf(room, world));
  const int64_t blocks = options.kv_cache_blocks > 0
                             ? options.kv_cache_blocks
                             : std::min(room, per_sequence * options.max_num_seqs);
  return CachePages{
      .blocks = blocks, .block_size = kKvBlockSize, .slots = slots, .snapshots = snapshots};
}

}  // namespace

absl::Status LoadedRank::LoadWeights(const EngineOptions& options, ModelOptions model,
                                     Communicator& world, Communicator& peers,
                                     const LoadProgress& progress) {
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
  absl::StatusOr<std::unique_ptr<Model>> loaded = OrOutOfMemory([&] {
    return load(config_, model, *loader_, placement_, tensor_parallel_ ? *alone_ : world, *pool_);
  });
  loader_->set_progress(nullptr);
  FM_RETURN_IF_ERROR(AgreeOrFail(peers, loaded.status(), {}));
  model_ = *std::move(loaded);
  return absl::OkStatus();
}

absl::Status LoadedRank::LoadDraft(const EngineOptions& options, int64_t context,
                                   Communicator& peers) {
  DraftModelOptions draft;
  draft.directory = options.speculative_model;
  draft.cache_dtype = CacheDType(options);
  draft.weights = WeightOptionsOf(options);
  draft.dummy_seed = DummySeed(options);
  draft.context = context;
  absl::StatusOr<std::unique_ptr<DraftModel>> loaded =
      OrOutOfMemory([&] { return DraftModel::Load(draft, config_, options.model, *pool_); });
  AgreementFields fields;
  if (loaded.ok()) (*loaded)->weights().AddFields("--speculative-model: ", fields);
  FM_RETURN_IF_ERROR(AgreeOrFail(peers, loaded.status(), fields));
  draft_ = *std::move(loaded);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LoadedRank>> LoadedRank::Load(const EngineOptions& options,
                                                             Communicator& world,
                                                             ThreadBudget budget,
                                                             const LoadProgress& progress,
                                                             const CachePages& others) {
  const auto begin = std::chrono::steady_clock::now();
  OpenedModel opened;
  AgreementFields fields;
  const absl::Status status = Open(options, world.rank(), world.size(), &opened, &fields);
  std::unique_ptr<Communicator> alone = std::move(MakeThreadCommunicators(1).front());
  Communicator& peers = others.blocks > 0 ? *alone : world;
  AgreementFields agreed = fields;
  agreed.emplace_back("--device", opened.gpu ? "cuda" : "cpu");
  FM_RETURN_IF_ERROR(AgreeOrFail(peers, status, agreed));
  FM_RETURN_IF_ERROR(CheckGpuSharing(options, peers, opened.gpu));

  FM_ASSIGN_OR_RETURN(
      const Parallelism parallelism,
      ChooseParallelism(options, opened.config, opened.gpu.has_value(), budget.threads, peers));
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
  rank->alone_ = std::move(alone);
  ModelOptions model_options = ModelOptionsOf(options, opened);
  if (parallelism.tensor) {
    model_options.tensor = {.ranks = &world, .exchange = options.columns, .spin = parallelism.spin};
  }
  FM_RETURN_IF_ERROR(rank->LoadWeights(options, std::move(model_options), world, peers, progress));

  if (HasDraftModel(options)) FM_RETURN_IF_ERROR(rank->LoadDraft(options, opened.context, peers));

  CachePages pages = others;
  if (pages.blocks == 0) {
    FM_ASSIGN_OR_RETURN(
        pages, PagesPerRank(options, opened.context, *rank->model_, rank->draft_.get(), world));
  }
  rank->scheduler_options_ = SchedulerOf(options, opened, rank->placement_.ranks(), pages);
  rank->fields_ = std::move(fields);
  const absl::Status made = OrOutOfMemory([&]() -> absl::Status {
    FM_RETURN_IF_ERROR(rank->model_->MakeCache(pages));
    return rank->draft_ == nullptr ? absl::OkStatus() : rank->draft_->MakeCache(pages);
  });
  FM_RETURN_IF_ERROR(AgreeOrFail(
      peers, Annotate(made, "lower --kv-cache-blocks, --max-num-seqs or --max-model-len"), {}));
  rank->runner_ = std::make_unique<ModelRunner>(
      *rank->model_, *rank->pool_, parallelism.tensor ? *rank->alone_ : world, rank->draft_.get());
  rank->rules_ = std::make_unique<ModelRules>(rank->config_, rank->model_->gate_config(),
                                              rank->model_->KeepsHidden());
  rank->load_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return rank;
}

}  // namespace folkmoot
