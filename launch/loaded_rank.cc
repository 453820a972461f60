// SPDX-License-Identifier: Apache-2.0
// LoadedRank::Load: open, agree, read.
#include "launch/loaded_rank.h"

#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>

#include "launch/agreement.h"
#include "launch/version.h"

namespace folkmoot {
namespace {

// What is known of a model before its weights are read.
struct Opened {
  ModelConfig config;
  GateConfig gate;
  int64_t context = 0;
  std::unique_ptr<Checkpoint> checkpoint;  // null for dummy weights
  ExpertPlacement placement = ExpertPlacement::Contiguous(0, 1);
};

absl::Status Open(const EngineOptions& options, int ranks, Opened* out) {
  FM_RETURN_IF_ERROR(CheckEngineOptions(options));
  FM_ASSIGN_OR_RETURN(out->config, LoadModelConfig(options.model));
  FM_ASSIGN_OR_RETURN(out->gate, GateOf(options, out->config));
  FM_ASSIGN_OR_RETURN(out->context, ContextOf(options, out->config));
  FM_ASSIGN_OR_RETURN(
      out->placement,
      ExpertPlacement::Parse(options.placement, static_cast<int>(out->config.moe.experts), ranks));
  if (options.load_format != "dummy") {
    FM_ASSIGN_OR_RETURN(out->checkpoint, Checkpoint::Open(options.model));
  }
  return absl::OkStatus();
}

std::string FileHash(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

// Tells apart weights of the same shapes, as of two trainings, without reading them: a hash of the
// first page of at most 64 tensors.
std::string SampleHash(const Checkpoint& checkpoint) {
  constexpr size_t kSamples = 64;
  constexpr int64_t kPage = 4096;
  const std::vector<std::string_view> names = checkpoint.Names();
  const size_t stride = std::max<size_t>(1, names.size() / kSamples);
  uint64_t hash = 0;
  for (size_t i = 0; i < names.size(); i += stride) {
    const TensorInfo& tensor = *checkpoint.Find(names[i]);
    const auto bytes = static_cast<size_t>(std::min(tensor.bytes, kPage));
    hash = XXH3_64bits_withSeed(tensor.data, bytes, hash);
  }
  return fmt::format("{:016x}", hash);
}

AgreementFields Fields(const EngineOptions& options, const Opened& opened) {
  AgreementFields fields = {{"version", BuildVersion()},
                            {"program file", ProgramHash()},
                            {"--load-format", options.load_format},
                            {"--dtype", options.dtype},
                            {"--max-num-seqs", std::to_string(options.max_num_seqs)},
                            {"--moe-a2a-backend", options.dispatcher}};
  fields.emplace_back("model files",
                      opened.checkpoint == nullptr
                          ? std::string("dummy")
                          : fmt::format("{:016x}", opened.checkpoint->Fingerprint()));
  if (opened.checkpoint != nullptr) {
    fields.emplace_back("weights", SampleHash(*opened.checkpoint));
  }
  fields.emplace_back("config.json", FileHash(options.model + "/config.json"));
  fields.emplace_back("gate", opened.config.moe.experts > 0 ? ToJson(opened.gate) : "none");
  fields.emplace_back("context", std::to_string(opened.context));
  std::string placement;
  for (int e = 0; e < opened.placement.experts(); ++e) {
    placement += fmt::format("{}{}", e == 0 ? "" : ",", opened.placement.rank_of(e));
  }
  fields.emplace_back("expert placement", placement);
  return fields;
}

SchedulerOptions SchedulerOf(const EngineOptions& options, const Opened& opened, int ranks,
                             int64_t bytes_per_block) {
  SchedulerOptions scheduler;
  scheduler.ranks = ranks;
  scheduler.vocab = opened.config.vocab;
  scheduler.max_model_len = opened.context;
  scheduler.max_sequences = options.max_num_seqs;
  scheduler.max_batched_tokens = options.max_num_batched_tokens;
  scheduler.prefill_chunk =
      options.prefill_chunk > 0 ? options.prefill_chunk : options.max_num_batched_tokens;
  scheduler.block_size = kKvBlockSize;
  scheduler.blocks_per_rank = options.kv_cache_blocks;
  if (scheduler.blocks_per_rank == 0) {  // pages are mapped lazily: only what is used costs memory
    const int64_t per_sequence = (opened.context + kKvBlockSize - 1) / kKvBlockSize;
    const int64_t memory = sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE) / std::max(1, ranks);
    scheduler.blocks_per_rank = std::clamp<int64_t>(memory / bytes_per_block, per_sequence,
                                                    per_sequence * options.max_num_seqs);
  }
  return scheduler;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadedRank>> LoadedRank::Load(const EngineOptions& options,
                                                             Communicator& world,
                                                             ThreadBudget budget,
                                                             const LoadProgress& progress) {
  const auto begin = std::chrono::steady_clock::now();
  Opened opened;
  const absl::Status status = Open(options, world.size(), &opened);
  FM_RETURN_IF_ERROR(
      AgreeOrFail(world, status, status.ok() ? Fields(options, opened) : AgreementFields{}));

  std::unique_ptr<LoadedRank> rank(new LoadedRank(std::move(opened.placement)));
  rank->pool_ = std::make_unique<ThreadPool>(budget.threads, budget.pin);
  rank->config_ = opened.config;
  rank->checkpoint_ = std::move(opened.checkpoint);
  rank->epoch_ = 1;
  rank->loader_ =
      rank->checkpoint_ == nullptr
          ? MakeDummyLoader(options.dummy_seed, WeightDType(options).value_or(opened.config.dtype))
          : MakeCheckpointLoader(*rank->checkpoint_);
  rank->loader_->set_dtype(WeightDType(options));
  const int64_t total =
      BytesToLoad(opened.config, rank->placement_, world.rank(), opened.config.dtype);
  rank->loader_->set_progress([&](int64_t bytes) {
    rank->bytes_read_ += bytes;
    if (progress) progress(rank->bytes_read_, std::max(total, rank->bytes_read_));
  });
  const ModelOptions model_options = {.gate = opened.gate, .dispatcher = DispatcherOf(options)};
  absl::StatusOr<std::unique_ptr<Model>> model = LoadModel(
      opened.config, model_options, *rank->loader_, rank->placement_, world, *rank->pool_);
  rank->loader_->set_progress(nullptr);
  FM_RETURN_IF_ERROR(AgreeOrFail(world, model.status(), {}));
  rank->model_ = *std::move(model);

  KvCache::Shape shape = {.layers = static_cast<int64_t>(opened.config.layers.size()),
                          .block_size = kKvBlockSize,
                          .kv_heads = opened.config.kv_heads,
                          .head_dim = opened.config.head_dim};
  const int64_t bytes_per_block = shape.layers * shape.block_size * shape.kv_heads *
                                  shape.head_dim * 2 * static_cast<int64_t>(sizeof(float));
  rank->scheduler_options_ = SchedulerOf(options, opened, world.size(), bytes_per_block);
  shape.blocks = rank->scheduler_options_.blocks_per_rank;
  rank->cache_ = std::make_unique<KvCache>(shape);
  rank->runner_ = std::make_unique<ModelRunner>(*rank->model_, *rank->cache_, *rank->pool_, world);
  rank->load_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return rank;
}

}  // namespace folkmoot
