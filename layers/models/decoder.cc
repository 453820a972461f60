// SPDX-License-Identifier: Apache-2.0
// DecoderModel::Forward is the whole model on one screen; the rest loads it.
#include "layers/models/decoder.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "layers/column_splits.h"
#include "layers/models/ends.h"
#include "parallel/local_dispatcher.h"
#include "runtime/ops/norm.h"

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

// `x`, which other ranks may read too, or its norm in `memory`.
ConstMatrix PostNormed(LayerContext& ctx, const std::optional<Norm>& norm, ConstMatrix x,
                       Matrix memory) {
  if (!norm) return x;
  norm->Apply(ctx, x, memory);
  return memory;
}

}  // namespace

absl::StatusOr<Matrix> DecoderModel::Forward(LayerContext& ctx, const ForwardBatch& batch) {
  FM_CHECK(cache_.has_value());
  ctx.workspace.Reset();
  const bool watched = ctx.observer != nullptr && ctx.observer->WantsLayerOutput();
  const float factor = config_.residual_multiplier;
  const AttentionStep step = StepOf(ctx, batch);
  Matrix hidden = ctx.workspace.GetMatrix(batch.tokens(), config_.hidden);  // the residual stream
  Matrix normed = ctx.workspace.GetMatrix(batch.tokens(), config_.hidden);
  Matrix shortcut;
  if (config_.layers.front().shortcut) {
    shortcut = ctx.workspace.GetMatrix(batch.tokens(), config_.hidden);
  }
  EmbedTokens(ctx, embedding_, batch.token_ids, config_.embedding_multiplier, hidden);
  NormBefore(0).Apply(ctx, hidden, normed);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    const Norm& next = NormBefore(i + 1);
    if (block.attention) {
      FM_ASSIGN_OR_RETURN(const Matrix attended,
                          block.attention->Forward(ctx, step, *cache_, normed));
      if (config_.parallel_blocks) {
        Add(ctx.pool, attended, hidden);
      } else {
        const ConstMatrix added = PostNormed(ctx, block.attention_post_norm, attended, normed);
        (block.feeds() ? block.ffn_norm : next).AddApply(ctx, added, factor, hidden, normed);
      }
    }
    if (block.feeds()) {
      FM_ASSIGN_OR_RETURN(const Matrix fed, Feed(ctx, batch, i, normed, shortcut));
      ConstMatrix fed_back = PostNormed(ctx, block.ffn_post_norm, fed, normed);
      if (i > 0 && config_.layers[i - 1].shortcut) {
        Add(ctx.pool, fed_back, hidden);
        fed_back = shortcut;
      }
      next.AddApply(ctx, fed_back, factor, hidden, normed);
    }
    if (watched) ctx.observer->OnLayerOutput(static_cast<int>(i), hidden);
  }
  hidden_ = normed;
  return Logits(ctx, batch, normed);
}

const Norm& DecoderModel::NormBefore(size_t index) const {
  if (index == blocks_.size()) return final_norm_;
  return blocks_[index].attention ? blocks_[index].input_norm : blocks_[index].ffn_norm;
}

absl::StatusOr<Matrix> DecoderModel::Feed(LayerContext& ctx, const ForwardBatch& batch,
                                          size_t index, ConstMatrix normed, Matrix shortcut) {
  Block& block = blocks_[index];
  if (block.moe) {
    FM_ASSIGN_OR_RETURN(const Matrix routed, block.moe->Forward(ctx, batch, normed));
    if (!block.dense) return routed;
    for (int64_t t = 0; t < routed.rows; ++t) {
      std::copy_n(routed.Row(t), routed.cols, shortcut.Row(t));
    }
  }
  return block.dense->Forward(ctx, normed, static_cast<int>(index));
}

AttentionStep DecoderModel::StepOf(LayerContext& ctx, const ForwardBatch& batch) {
  attention_sequences_.clear();
  for (const BatchSequence& s : batch.sequences) {
    attention_sequences_.push_back({.first_row = s.first_row,
                                    .rows = s.rows,
                                    .start = s.start,
                                    .blocks = s.blocks,
                                    .slot = s.slot});
  }
  AttentionStep step = {.sequences = attention_sequences_, .rope = FillRope(ctx, batch, rope_)};
  if (state_) step.state = &*state_;
  if (index_keys_) {
    step.index_keys = &*index_keys_;
    step.chosen = RoomForChosen(ctx, batch);
  }
  if (local_rope_) step.local_rope = FillRope(ctx, batch, *local_rope_);
  if (config_.temperature.scale == 0) return step;
  const std::span<float> factors = ctx.workspace.Get<float>(batch.tokens());
  for (size_t t = 0; t < factors.size(); ++t) {
    const auto position = static_cast<float>(batch.positions[t] + config_.temperature.ahead);
    const float floors = position / config_.temperature.floor;
    factors[t] = std::log1p(std::floor(floors)) * config_.temperature.scale + 1.0f;
  }
  step.temperature = factors;
  return step;
}

// Null where no query of the step has more keys before it than it may see.
const ChosenKeys* DecoderModel::RoomForChosen(LayerContext& ctx, const ForwardBatch& batch) {
  const int64_t most = config_.indexer.top_k;
  const auto sees_all = [most](const BatchSequence& s) { return s.start + s.rows <= most; };
  if (std::all_of(batch.sequences.begin(), batch.sequences.end(), sees_all)) return nullptr;
  chosen_ = {.most = most,
             .counts = ctx.workspace.Get<int32_t>(batch.tokens()),
             .positions = ctx.workspace.Get<int32_t>(batch.tokens() * most)};
  return &chosen_;
}

RopeRows DecoderModel::FillRope(LayerContext& ctx, const ForwardBatch& batch, const Rope& rope) {
  const Matrix cos = ctx.workspace.GetMatrix(batch.tokens(), rope.rotary_dim() / 2);
  const Matrix sin = ctx.workspace.GetMatrix(batch.tokens(), rope.rotary_dim() / 2);
  rope.Fill(batch.positions, batch.rope_lengths, cos, sin);
  return {cos, sin};
}

absl::StatusOr<Matrix> DecoderModel::Logits(LayerContext& ctx, const ForwardBatch& batch,
                                            ConstMatrix normed) const {
  const Matrix wanted = RowsOf(ctx, normed, batch.logit_rows);
  const Matrix logits = columns_->Take(wanted.rows, vocab_);
  const Matrix mine = columns_->Mine(logits, vocab_);
  Gemm(ctx.pool, wanted, head_, head_bias_, ctx.workspace, mine);
  if (config_.logits_scaling != 1.0f) Scale(ctx.pool, 1.0f / config_.logits_scaling, mine);
  if (config_.logits_softcap > 0) SoftCap(ctx.pool, config_.logits_softcap, mine);
  FM_RETURN_IF_ERROR(columns_->Gather({.phase = "logits gather", .step = ctx.step}));
  return logits;
}

DecoderModel::DecoderModel(const ModelConfig& config, const ModelOptions& options)
    : config_(config),
      cache_dtype_(options.cache_dtype),
      gates_(config_, options.gate),
      rope_(config.rope, config.rope_dim(), config.max_positions) {
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
        std::max(config_.intermediate,
                 config_.moe.experts * config_.moe.intermediate + config_.moe.shared_intermediate);
    const int64_t widest =
        std::max({config_.most_heads() * config_.value_dim(), config_.hidden, hidden, config_.vocab,
                  config_.recurrent.values(), config_.moe.latent});
    constexpr int64_t kSlack = 1024;  // two matrices are aligned
    FM_ASSIGN_OR_RETURN(
        columns_, MakeColumnExchange(options.tensor.exchange, *options.tensor.ranks,
                                     options.limits.rows * widest + kSlack, options.tensor.spin));
  }
  vocab_ = OutputSplit(config_.vocab, columns_->size());
  return absl::OkStatus();
}

KvCache::Shape DecoderModel::CacheShape(const CachePages& pages, int rank) const {
  std::vector<int64_t> heads;
  for (const LayerConfig& layer : config_.layers) {
    if (layer.mixer != Mixer::kAttention) continue;
    heads.push_back(config_.latent.kv_rank > 0
                        ? config_.cache_heads(layer)
                        : KvHeadSplit(config_, layer, columns_->size()).width(rank));
  }
  return {.layers = config_.cache_layers(),
          .blocks = pages.blocks,
          .block_size = pages.block_size,
          .head_dim = config_.cache_key_dim(),
          .value_dim = config_.cache_value_dim(),
          .dtype = cache_dtype_,
          .layer_heads = std::move(heads)};
}

// The same on all ranks.
KvCache::Shape DecoderModel::IndexShape(const CachePages& pages) const {
  return {.layers = config_.indexers(),
          .blocks = pages.blocks,
          .block_size = pages.block_size,
          .kv_heads = 1,
          .head_dim = config_.indexer.head_dim,
          .dtype = cache_dtype_,
          .keys_only = true};
}

// Of the rank that holds the most heads.
int64_t DecoderModel::CacheBytesPerBlock(int64_t block_size) const {
  const CachePages page = {.blocks = 1, .block_size = block_size};
  int64_t most = 0;
  for (int rank = 0; rank < columns_->size(); ++rank) {
    most = std::max(most, KvCache::BytesPerBlock(CacheShape(page, rank)));
  }
  return config_.indexers() > 0 ? most + KvCache::BytesPerBlock(IndexShape(page)) : most;
}

int64_t DecoderModel::CacheBytesPerSlot() const {
  if (config_.recurrent_layers() == 0) return 0;
  return RecurrentState::BytesPerSlot(
      StateShape(config_, RecurrentSplit(config_, columns_->size()).widest(), 0));
}

// Half of the machine, shared among the ranks.
absl::StatusOr<CacheRoom> DecoderModel::CacheMemory() const {
  return CacheRoom{sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE) / ranks_, true};
}

absl::Status DecoderModel::MakeCache(const CachePages& pages) {
  const int rank = columns_->rank();
  cache_.emplace(CacheShape(pages, rank));
  if (config_.indexers() > 0) index_keys_.emplace(IndexShape(pages));
  if (config_.recurrent_layers() > 0) {
    state_.emplace(StateShape(config_, RecurrentSplit(config_, columns_->size()).width(rank),
                              pages.slots + pages.snapshots));
    slots_ = pages.slots;
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
}

absl::Status DecoderModel::LoadLayers(const Family& family, WeightLoader& loader,
                                      const ExpertPlacement& placement, int expert_rank,
                                      ThreadPool& pool) {
  blocks_.resize(config_.layers.size());
  for (int64_t i = 0; i < std::ssize(blocks_); ++i) {
    FM_RETURN_IF_ERROR(
        LoadBlock(LayerNamesOf(family, loader, i), loader, i, placement, expert_rank, pool));
  }
  return LoadEnds(family.end_names(), loader, pool);
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
    FM_ASSIGN_OR_RETURN(block.input_norm, read_norm(names.input_norm, true));
  }
  if (config_.input_norms && layer.ffn && !config_.parallel_blocks) {
    FM_ASSIGN_OR_RETURN(block.ffn_norm, read_norm(names.ffn_norm, layer.moe));
  }
  if (config_.post_norms) {
    FM_ASSIGN_OR_RETURN(block.attention_post_norm, norm(names.attention_post_norm));
  }
  if (config_.post_norms || (config_.expert_post_norms && layer.moe)) {
    FM_ASSIGN_OR_RETURN(block.ffn_post_norm, norm(names.ffn_post_norm));
  }
  if (layer.mixer != Mixer::kNone) {
    FM_ASSIGN_OR_RETURN(block.attention,
                        LoadAttention(pool, loader, config_, index, names, *columns_));
  }
  if (!layer.ffn) return absl::OkStatus();
  if (layer.moe) {
    FM_ASSIGN_OR_RETURN(block.moe, MoeLayer::Load(pool, loader, config_, layer, names.moe,
                                                  placement, expert_rank, *columns_));
    if (!layer.shortcut) return absl::OkStatus();
  }
  const GatedFfnTensors tensors = TensorsOfDense(names, config_.hidden, config_.intermediate);
  FM_ASSIGN_OR_RETURN(block.dense, DenseFfn::Load(pool, loader, tensors, config_.activation,
                                                  FfnLimit(config_, layer.dense_limit),
                                                  config_.mlp_bias, *columns_));
  return absl::OkStatus();
}

void DecoderModel::BindGates(int blocks_per_layer) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (!blocks_[i].moe) continue;
    blocks_[i].moe->Bind(static_cast<int>(i) / blocks_per_layer, static_cast<int>(moe_layers_++),
                         *gates_.own(), config_.layers[i].top_k, *dispatcher_);
  }
}

absl::Status DecoderModel::LoadEnds(const EndNames& names, WeightLoader& loader, ThreadPool& pool) {
  const TensorRef embedding = {.name = names.embedding, .n = config_.vocab, .k = config_.hidden};
  FM_ASSIGN_OR_RETURN(embedding_, loader.Table(embedding));
  FM_ASSIGN_OR_RETURN(final_norm_, Norm::Load(loader, config_, names.final_norm, config_.hidden));
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
