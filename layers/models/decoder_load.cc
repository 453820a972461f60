// SPDX-License-Identifier: Apache-2.0
// Loading a DecoderModel, and its pages.
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "layers/column_splits.h"
#include "layers/compressed_attention.h"
#include "layers/lightning_indexer.h"
#include "layers/models/decoder.h"
#include "parallel/local_dispatcher.h"

namespace folkmoot {
namespace {

// A place among ranks that share every matrix, for a model that will not run.
class NoColumns final : public ColumnExchange {
 public:
  NoColumns(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Matrix Take(int64_t, const ColumnSplit&) override { return {}; }
  absl::Status Gather(const WaitLabel&) override {
    return FailedPrecondition("a model that was listed cannot run");
  }

 private:
  int rank_;
  int size_;
};

}  // namespace

DecoderModel::DecoderModel(const ModelConfig& config, const ModelOptions& options)
    : config_(config),
      cache_dtype_(options.cache_dtype),
      gates_(config_, options.gate),
      rope_(config.rope, config.rope_dim(), config.max_positions),
      output_window_(config.output_window()) {
  if (config.local_rope) {
    local_rope_.emplace(*config.local_rope, config.rope_dim(), config.max_positions);
  }
}

absl::StatusOr<std::unique_ptr<Model>> DecoderModel::Load(const Family& family,
                                                          const ModelConfig& config,
                                                          const ModelOptions& options,
                                                          WeightLoader& loader,
                                                          const ExpertPlacement& placement,
                                                          Communicator& experts, ThreadPool& pool) {
  std::unique_ptr<DecoderModel> model(new DecoderModel(config, options));
  model->placement_version_ = placement.Fingerprint();
  FM_RETURN_IF_ERROR(model->MakeColumns(options));
  const ColumnExchange& columns = *model->columns_;
  model->ranks_ = experts.size() * columns.size();
  if (config.moe.experts > 0 && columns.size() > 1) {
    const ColumnSplit output = OutputSplit(config.expert_width(), columns.size());
    model->dispatcher_ = std::make_unique<LocalDispatcher>(placement, output.begin(columns.rank()));
  } else if (config.moe.experts > 0) {
    FM_ASSIGN_OR_RETURN(model->dispatcher_, MakeDispatcher(options.dispatcher, experts, placement));
  }
  FM_RETURN_IF_ERROR(model->LoadLayers(family, loader, placement, experts.rank(), pool));
  model->BindGates(family.blocks_per_layer);
  return model;
}

absl::Status DecoderModel::List(const ModelConfig& config, WeightLoader& loader,
                                const ExpertPlacement& placement, int expert_rank, int rank,
                                int ranks) {
  ModelOptions options;
  FM_ASSIGN_OR_RETURN(options.gate, DefaultGate(config));
  FM_ASSIGN_OR_RETURN(const Family* const family, CheckModel(config, options.gate));
  DecoderModel model(config, options);
  model.columns_ = std::make_unique<NoColumns>(rank, ranks);
  model.vocab_ = OutputSplit(config.vocab, ranks);
  ThreadPool pool(1);
  return model.LoadLayers(*family, loader, placement, expert_rank, pool);
}

// The most that a step of limits.rows rows takes between two gathers: one matrix, or the hidden
// values of routed and shared experts. A request's gate may choose as many experts as there are.
absl::Status DecoderModel::MakeColumns(const ModelOptions& options) {
  if (options.tensor.ranks == nullptr) {
    columns_ = MakeLoneColumns();
  } else {
    const int64_t hidden =
        std::max(config_.widest_intermediate(),
                 config_.moe.experts * config_.moe.intermediate + config_.moe.shared_intermediate);
    const int64_t widest =
        std::max({config_.widest_attention(), config_.hidden, hidden, config_.vocab,
                  config_.recurrent.values(), config_.moe.latent,
                  config_.compressed.output_groups * config_.compressed.output_rank});
    constexpr int64_t kSlack = 1024;  // two matrices are aligned
    FM_ASSIGN_OR_RETURN(
        columns_, MakeColumnExchange(options.tensor.exchange, *options.tensor.ranks,
                                     options.limits.rows * widest + kSlack, options.tensor.spin));
  }
  vocab_ = OutputSplit(config_.vocab, columns_->size());
  return absl::OkStatus();
}

KvCache::Shape DecoderModel::CacheShape(const CachePages& pages, int rank) const {
  std::vector<KvCache::Heads> heads;
  for (const LayerConfig& layer : config_.layers) {
    if (!ModelConfig::caches(layer)) continue;
    heads.push_back({.count = config_.latent.kv_rank > 0
                                  ? config_.cache_heads(layer)
                                  : KvHeadSplit(config_, layer, columns_->size()).width(rank),
                     .head_dim = config_.cache_key_dim(layer),
                     .value_dim = config_.cache_value_dim(layer)});
  }
  return {.layers = config_.cache_layers(),
          .blocks = pages.blocks,
          .block_size = pages.block_size,
          .dtype = cache_dtype_,
          .layer_heads = std::move(heads)};
}

// The same on all ranks.
KvCache::Shape DecoderModel::IndexShape(const CachePages& pages) const {
  return {.layers = config_.token_indexers(),
          .blocks = pages.blocks,
          .block_size = pages.block_size,
          .kv_heads = 1,
          .head_dim = config_.indexer.head_dim,
          .dtype = cache_dtype_,
          .keys_only = true};
}

// The same on all ranks.
RowPages::Shape DecoderModel::RowShape(const CachePages& pages) const {
  // No model has both.
  auto tracks = CompressedAttention::TracksOf(config_, cache_dtype_, pages.block_size);
  if (tracks.empty()) tracks = LightningIndexer::TracksOf(config_, cache_dtype_, pages.block_size);
  return {.blocks = pages.blocks, .block_size = pages.block_size, .tracks = std::move(tracks)};
}

// Of the rank that holds the most heads.
int64_t DecoderModel::CacheBytesPerBlock(int64_t block_size) const {
  const CachePages page = {.blocks = 1, .block_size = block_size};
  int64_t most = 0;
  for (int rank = 0; rank < columns_->size(); ++rank) {
    most = std::max(most, KvCache::BytesPerBlock(CacheShape(page, rank)));
  }
  if (config_.token_indexers() > 0) most += KvCache::BytesPerBlock(IndexShape(page));
  return most + RowPages::BytesPerBlock(RowShape(page));
}

int64_t DecoderModel::CacheBytesPerSlot() const {
  if (config_.recurrent_layers() == 0) return 0;
  return RecurrentState::BytesPerSlot(
             StateShape(config_, RecurrentSplit(config_, columns_->size()).widest(), 0)) +
         RecurrentState::BytesPerSlot(NgramInputs::StateShape(config_, 0));
}

// Half of the machine, shared among the ranks.
absl::StatusOr<CacheRoom> DecoderModel::CacheMemory() const {
  return CacheRoom{sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE) / ranks_, true};
}

absl::Status DecoderModel::MakeCache(const CachePages& pages) {
  const int rank = columns_->rank();
  cache_.emplace(CacheShape(pages, rank));
  if (config_.token_indexers() > 0) index_keys_.emplace(IndexShape(pages));
  const RowPages::Shape rows = RowShape(pages);
  if (!rows.tracks.empty()) rows_.emplace(rows);
  if (config_.recurrent_layers() > 0) {
    state_.emplace(StateShape(config_, RecurrentSplit(config_, columns_->size()).width(rank),
                              pages.slots + pages.snapshots));
    slots_ = pages.slots;
  }
  if (config_.ngram_layers() > 0) {
    ngram_state_.emplace(NgramInputs::StateShape(config_, pages.slots + pages.snapshots));
  }
  return absl::OkStatus();
}

CachePages DecoderModel::cache_pages() const {
  if (!cache_) return {};
  return {.blocks = cache_->shape().blocks,
          .block_size = cache_->shape().block_size,
          .slots = slots_,
          .snapshots = state_ ? state_->shape().slots - slots_ : 0};
}

void DecoderModel::CopyState(ThreadPool& pool, int64_t from, int64_t to) {
  if (state_) state_->Copy(pool, from, to);
  if (ngram_state_) ngram_state_->Copy(pool, from, to);
}

absl::Status DecoderModel::LoadLayers(const Family& family, WeightLoader& loader,
                                      const ExpertPlacement& placement, int expert_rank,
                                      ThreadPool& pool) {
  blocks_.resize(static_cast<size_t>(config_.own_layers()));
  for (int64_t i = 0; i < std::ssize(blocks_); ++i) {
    FM_RETURN_IF_ERROR(
        LoadBlock(LayerNamesOf(family, loader, i), loader, i, placement, expert_rank, pool));
  }
  const EndNames names = EndNamesOf(family, loader);
  if (config_.layer_inputs > 0) {
    FM_ASSIGN_OR_RETURN(inputs_, LayerInputs::Load(pool, loader, config_, names));
  }
  if (config_.hyper.streams > 0) {
    FM_ASSIGN_OR_RETURN(streams_head_, HyperHead::Load(pool, loader, config_, names.streams));
  }
  if (config_.learned_frequencies) FM_RETURN_IF_ERROR(LoadFrequencies(names, loader));
  return LoadEnds(names, loader, pool);
}

absl::Status DecoderModel::LoadBlock(const LayerNames& names, WeightLoader& loader, int64_t index,
                                     const ExpertPlacement& placement, int expert_rank,
                                     ThreadPool& pool) {
  Block& block = blocks_[static_cast<size_t>(index)];
  const auto norm = [&](const std::string& module) {
    return Norm::Load(loader, config_, module, config_.hidden);
  };
  const auto read_norm = [&](const std::string& module, bool may_gate) {
    if (config_.norm_gate_rank == 0 || !may_gate) return norm(module);
    return Norm::LoadGated(pool, loader, config_, module, config_.hidden);
  };
  const LayerConfig& layer = config_.layers[static_cast<size_t>(index)];
  if (config_.input_norms && layer.mixer != Mixer::kNone) {
    FM_ASSIGN_OR_RETURN(block.input_norm,
                        read_norm(layer.dynamic ? names.q_input_norm : names.input_norm, true));
  }
  if (config_.input_norms && layer.ffn && !config_.parallel_blocks) {
    FM_ASSIGN_OR_RETURN(block.ffn_norm, read_norm(names.ffn_norm, layer.moe));
  }
  FM_RETURN_IF_ERROR(LoadPostNorms(names, loader, index));
  if (layer.mixer != Mixer::kNone) {
    FM_ASSIGN_OR_RETURN(block.attention,
                        LoadAttention(pool, loader, config_, index, names, *columns_));
  }
  if (config_.hyper.streams > 0) {
    FM_ASSIGN_OR_RETURN(block.attention_streams,
                        HyperConnection::Load(pool, loader, config_, names.attention_streams));
    FM_ASSIGN_OR_RETURN(block.ffn_streams,
                        HyperConnection::Load(pool, loader, config_, names.ffn_streams));
  }
  if (layer.ngrams) {
    FM_ASSIGN_OR_RETURN(block.ngrams,
                        NgramInputs::Load(pool, loader, config_, index, names.ngrams));
  }
  FM_RETURN_IF_ERROR(LoadResiduals(names, loader, block));
  if (config_.residual_convolutions()) {
    FM_RETURN_IF_ERROR(LoadConvolutions(names, loader, index));
  }
  if (config_.residual.sum_layers > 0) {
    FM_RETURN_IF_ERROR(LoadMixtures(names, loader, index, pool));
  }
  if (config_.layer_inputs > 0) {
    FM_ASSIGN_OR_RETURN(block.input, LayerInput::Load(pool, loader, config_, names));
  }
  if (config_.layer_scalars) {
    FM_ASSIGN_OR_RETURN(const std::vector<float> scalar, loader.Vector(names.scalar, 1));
    block.scalar = scalar.front();
  }
  if (layer.beside) {
    FM_ASSIGN_OR_RETURN(block.beside, LoadExpertNorms(names, loader));
  }
  if (!layer.ffn) return absl::OkStatus();
  if (layer.moe) {
    FM_ASSIGN_OR_RETURN(block.moe, MoeLayer::Load(pool, loader, config_, layer, names.moe,
                                                  placement, expert_rank, *columns_));
    if (!layer.shortcut && !layer.beside) return absl::OkStatus();
  }
  const GatedFfnTensors tensors =
      TensorsOfDense(names, config_.hidden, config_.intermediate_of(layer));
  FM_ASSIGN_OR_RETURN(block.dense, DenseFfn::Load(pool, loader, tensors, config_.activation,
                                                  FfnLimit(config_, layer.dense_limit),
                                                  config_.mlp_bias, *columns_));
  return absl::OkStatus();
}

absl::Status DecoderModel::LoadPostNorms(const LayerNames& names, WeightLoader& loader,
                                         int64_t index) {
  Block& block = blocks_[static_cast<size_t>(index)];
  const int64_t n = config_.hidden;
  const float eps = config_.post_norm_eps.value_or(config_.rms_norm_eps);
  if (config_.post_norms) {
    FM_ASSIGN_OR_RETURN(block.attention_post_norm,
                        Norm::Load(loader, config_, names.attention_post_norm, n));
    block.attention_post_norm->set_eps(eps);
  }
  const bool moe = config_.layers[static_cast<size_t>(index)].moe;
  if (!config_.post_norms && !(config_.expert_post_norms && moe)) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(block.ffn_post_norm,
                      config_.late_norms ? Norm::LoadLate(loader, config_, names.ffn_post_norm, n)
                                         : Norm::Load(loader, config_, names.ffn_post_norm, n));
  block.ffn_post_norm->set_eps(eps);
  return absl::OkStatus();
}

absl::Status DecoderModel::LoadResiduals(const LayerNames& names, WeightLoader& loader,
                                         Block& block) const {
  if (const float temperature = config_.residual.gate_temperature; temperature > 0) {
    const auto load = [&](const ResidualNames& gate) {
      return LearnedResidual::LoadGate(loader, gate.gate, temperature, config_.hidden);
    };
    FM_ASSIGN_OR_RETURN(block.attention_residual, load(names.attention_residual));
    FM_ASSIGN_OR_RETURN(block.ffn_residual, load(names.ffn_residual));
  }
  if (!config_.residual.learned) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(block.attention_residual,
                      LearnedResidual::Load(loader, names.attention_residual, config_.hidden));
  FM_ASSIGN_OR_RETURN(block.ffn_residual,
                      LearnedResidual::Load(loader, names.ffn_residual, config_.hidden));
  return absl::OkStatus();
}

absl::Status DecoderModel::LoadConvolutions(const LayerNames& names, WeightLoader& loader,
                                            int64_t index) {
  using Place = ResidualConvolution::Place;
  Block& block = blocks_[static_cast<size_t>(index)];
  const auto load = [&](const std::string& module, Place place) {
    const ResidualConvolution::Kernels all[] = {
        {.module = module, .channels = config_.hidden, .width = config_.hidden}};
    return ResidualConvolution::Load(loader, config_, index, place, all);
  };
  FM_ASSIGN_OR_RETURN(block.attention_convolution,
                      load(names.attention_convolution, Place::kAttention));
  FM_ASSIGN_OR_RETURN(block.ffn_convolution, load(names.ffn_convolution, Place::kFfn));
  if (config_.layers[static_cast<size_t>(index)].moe) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const std::vector<float> scale, loader.Vector(names.dense_scale, 1));
  block.ffn_convolution->MultiplyInputs(scale.front());
  return absl::OkStatus();
}

absl::StatusOr<DecoderModel::ExpertNorms> DecoderModel::LoadExpertNorms(
    const LayerNames& names, WeightLoader& loader) const {
  const auto norm = [&](const std::string& module) {
    return Norm::Load(loader, config_, module, config_.hidden);
  };
  ExpertNorms norms;
  FM_ASSIGN_OR_RETURN(norms.dense_post, norm(names.dense_post_norm));
  FM_ASSIGN_OR_RETURN(norms.experts, norm(names.expert_norm));
  FM_ASSIGN_OR_RETURN(norms.experts_post, norm(names.expert_post_norm));
  FM_ASSIGN_OR_RETURN(norms.router, norm(names.router_norm));
  norms.router.MultiplyWeights(1.0f / std::sqrt(static_cast<float>(config_.hidden)));
  return norms;
}

void DecoderModel::BindGates(int blocks_per_layer) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (!blocks_[i].moe) continue;
    blocks_[i].moe->Bind(static_cast<int>(i) / blocks_per_layer, static_cast<int>(moe_layers_++),
                         *gates_.own(), config_.layers[i].top_k, *dispatcher_);
  }
  for (const LayerConfig& layer : config_.layers) moe_layers_ += layer.again >= 0 && layer.moe;
}

absl::Status DecoderModel::LoadFrequencies(const EndNames& names, WeightLoader& loader) {
  FM_ASSIGN_OR_RETURN(std::vector<float> factors,
                      loader.Vector(names.frequencies, rope_.rotary_dim() / 2));
  for (float& factor : factors) factor = std::exp(factor);
  rope_.MultiplyFrequencies(std::move(factors));
  return absl::OkStatus();
}

absl::Status DecoderModel::LoadEnds(const EndNames& names, WeightLoader& loader, ThreadPool& pool) {
  const TensorRef embedding = {.name = names.embedding, .n = config_.vocab, .k = config_.hidden};
  FM_ASSIGN_OR_RETURN(embedding_, loader.Table(embedding));
  if (config_.residual.learned) {
    FM_ASSIGN_OR_RETURN(embedding_scale_,
                        RowScale::Load(loader, names.embedding_scale, config_.hidden));
  }
  if (config_.embedding_norm) {
    FM_ASSIGN_OR_RETURN(embedding_norm_,
                        Norm::Load(loader, config_, names.embedding_norm, config_.hidden));
  }
  if (config_.hyper.gate_rank == 0) {  // else what makes one of the streams has norms
    FM_ASSIGN_OR_RETURN(final_norm_,
                        Norm::Load(loader, config_, config_.final_norm.value_or(config_.norm),
                                   names.final_norm, config_.hidden));
  }
  if (config_.residual.sum_layers > 0) {
    FM_ASSIGN_OR_RETURN(final_query_, loader.Vector(names.final_query, config_.hidden));
  }
  if (config_.final_norm_eps) final_norm_.set_eps(*config_.final_norm_eps);
  TensorRef head = embedding;
  if (!config_.tied_embeddings) head.name = names.head + ".weight";
  const int64_t begin = vocab_.begin(columns_->rank());
  const int64_t width = vocab_.width(columns_->rank());
  FM_ASSIGN_OR_RETURN(head_, loader.Pack(pool, head.Rows(begin, width)));
  if (config_.head_bias) {
    FM_ASSIGN_OR_RETURN(head_bias_,
                        loader.VectorPart(names.head + ".bias", config_.vocab, begin, width));
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
