// SPDX-License-Identifier: Apache-2.0
// DecoderModel::Forward is the whole model on one screen; the rest loads it.
#include "layers/models/decoder.h"

#include <unistd.h>

#include <algorithm>

#include "layers/column_splits.h"
#include "parallel/local_dispatcher.h"
#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<Matrix> DecoderModel::Forward(LayerContext& ctx, const ForwardBatch& batch) {
  FM_CHECK(cache_.has_value());
  ctx.workspace.Reset();
  const int64_t tokens = batch.tokens();
  attention_sequences_.clear();
  for (const BatchSequence& s : batch.sequences) {
    attention_sequences_.push_back(
        {.first_row = s.first_row, .rows = s.rows, .start = s.start, .blocks = s.blocks});
  }
  const bool watched = ctx.observer != nullptr && ctx.observer->WantsLayerOutput();
  const RopeRows rope = FillRope(ctx, batch);
  Matrix hidden = ctx.workspace.GetMatrix(tokens, config_.hidden);  // the residual stream
  Matrix normed = ctx.workspace.GetMatrix(tokens, config_.hidden);
  if (embedding_.codes) {
    EmbeddingLookup(ctx.pool, *embedding_.codes, batch.token_ids, ctx.workspace, hidden);
  } else {
    EmbeddingLookup(ctx.pool, embedding_.plain, batch.token_ids, hidden);
  }
  if (config_.embedding_multiplier != 1.0f) Scale(ctx.pool, config_.embedding_multiplier, hidden);
  RmsNorm(ctx.pool, hidden, blocks_.front().input_norm, config_.rms_norm_eps, normed);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    FM_ASSIGN_OR_RETURN(const Matrix attended,
                        block.attention->Forward(ctx, attention_sequences_, rope, *cache_, normed));
    AddRmsNorm(ctx.pool, attended, config_.residual_multiplier, block.ffn_norm,
               config_.rms_norm_eps, hidden, normed);
    FM_ASSIGN_OR_RETURN(const Matrix fed,
                        block.moe ? block.moe->Forward(ctx, batch, normed)
                                  : block.dense->Forward(ctx, normed, static_cast<int>(i)));
    const std::vector<float>& next =
        i + 1 < blocks_.size() ? blocks_[i + 1].input_norm : final_norm_;
    AddRmsNorm(ctx.pool, fed, config_.residual_multiplier, next, config_.rms_norm_eps, hidden,
               normed);
    if (watched) ctx.observer->OnLayerOutput(static_cast<int>(i), hidden);
  }
  return Logits(ctx, batch, normed);
}

RopeRows DecoderModel::FillRope(LayerContext& ctx, const ForwardBatch& batch) const {
  const Matrix cos = ctx.workspace.GetMatrix(batch.tokens(), rope_.rotary_dim() / 2);
  const Matrix sin = ctx.workspace.GetMatrix(batch.tokens(), rope_.rotary_dim() / 2);
  rope_.Fill(batch.positions, batch.rope_lengths, cos, sin);
  return {cos, sin};
}

absl::StatusOr<Matrix> DecoderModel::Logits(LayerContext& ctx, const ForwardBatch& batch,
                                            ConstMatrix normed) const {
  const auto rows = static_cast<int64_t>(batch.logit_rows.size());
  const Matrix wanted = ctx.workspace.GetMatrix(rows, config_.hidden);
  for (int64_t r = 0; r < rows; ++r) {
    const std::span<const float> row = normed.RowSpan(batch.logit_rows[static_cast<size_t>(r)]);
    std::copy(row.begin(), row.end(), wanted.Row(r));
  }
  const Matrix logits = columns_->Take(rows, vocab_);
  const Matrix mine = columns_->Mine(logits, vocab_);
  Gemm(ctx.pool, wanted, head_, {}, ctx.workspace, mine);
  if (config_.logits_scaling != 1.0f) Scale(ctx.pool, 1.0f / config_.logits_scaling, mine);
  FM_RETURN_IF_ERROR(columns_->Gather({.phase = "logits gather", .step = ctx.step}));
  return logits;
}

DecoderModel::DecoderModel(const ModelConfig& config, const ModelOptions& options)
    : config_(config),
      cache_dtype_(options.cache_dtype),
      gates_(config_, options.gate),
      rope_(config.rope, config.head_dim, config.max_positions) {}

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
    const ColumnSplit output = OutputSplit(config.hidden, columns.size());
    model->dispatcher_ = std::make_unique<LocalDispatcher>(placement, output.begin(columns.rank()));
  } else if (config.moe.experts > 0) {
    FM_ASSIGN_OR_RETURN(model->dispatcher_, MakeDispatcher(options.dispatcher, experts, placement));
  }
  model->blocks_.resize(config.layers.size());
  for (size_t i = 0; i < config.layers.size(); ++i) {
    FM_RETURN_IF_ERROR(
        model->LoadBlock(family, loader, static_cast<int64_t>(i), placement, experts.rank(), pool));
  }
  FM_RETURN_IF_ERROR(model->LoadEnds(loader, pool));
  return model;
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
        std::max({config_.heads * config_.head_dim, config_.hidden, hidden, config_.vocab});
    constexpr int64_t kSlack = 1024;  // two matrices are aligned
    FM_ASSIGN_OR_RETURN(
        columns_, MakeColumnExchange(options.tensor.exchange, *options.tensor.ranks,
                                     options.limits.rows * widest + kSlack, options.tensor.spin));
  }
  vocab_ = OutputSplit(config_.vocab, columns_->size());
  return absl::OkStatus();
}

KvCache::Shape DecoderModel::CacheShape(const CachePages& pages, int64_t kv_heads) const {
  return {.layers = static_cast<int64_t>(config_.layers.size()),
          .blocks = pages.blocks,
          .block_size = pages.block_size,
          .kv_heads = kv_heads,
          .head_dim = config_.head_dim,
          .dtype = cache_dtype_};
}

// Of the rank that holds the most heads.
int64_t DecoderModel::CacheBytesPerBlock(int64_t block_size) const {
  return KvCache::BytesPerBlock(CacheShape({.blocks = 1, .block_size = block_size},
                                           KvHeadSplit(config_, columns_->size()).widest()));
}

// Half of the machine, shared among the ranks.
absl::StatusOr<CacheRoom> DecoderModel::CacheMemory() const {
  return CacheRoom{sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE) / ranks_, true};
}

absl::Status DecoderModel::MakeCache(const CachePages& pages) {
  cache_.emplace(CacheShape(pages, KvHeadSplit(config_, columns_->size()).width(columns_->rank())));
  return absl::OkStatus();
}

CachePages DecoderModel::cache_pages() const {
  if (!cache_) return {};
  return {.blocks = cache_->shape().blocks, .block_size = cache_->shape().block_size};
}

absl::Status DecoderModel::LoadBlock(const Family& family, WeightLoader& loader, int64_t index,
                                     const ExpertPlacement& placement, int rank, ThreadPool& pool) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  Block& block = blocks_[static_cast<size_t>(index)];
  FM_ASSIGN_OR_RETURN(block.input_norm,
                      loader.Vector(prefix + "input_layernorm.weight", config_.hidden));
  FM_ASSIGN_OR_RETURN(block.ffn_norm,
                      loader.Vector(prefix + "post_attention_layernorm.weight", config_.hidden));
  FM_ASSIGN_OR_RETURN(block.attention, Attention::Load(pool, loader, config_, index,
                                                       prefix + "self_attn.", *columns_));
  if (!config_.layers[static_cast<size_t>(index)].moe) {
    const std::string mlp = prefix + "mlp.";
    FM_ASSIGN_OR_RETURN(
        block.dense,
        DenseFfn::Load(pool, loader, TensorsOf(mlp, config_.hidden, config_.intermediate),
                       config_.activation, config_.mlp_bias ? mlp : "", *columns_));
    return absl::OkStatus();
  }
  const MoeNames names = MoeNamesOf(
      family, [&](const std::string& name) { return loader.Has(name); }, prefix);
  FM_ASSIGN_OR_RETURN(block.moe,
                      MoeLayer::Load(pool, loader, config_, names, placement, rank, *columns_));
  block.moe->Bind(static_cast<int>(index), static_cast<int>(moe_layers_), *gates_.own(),
                  *dispatcher_);
  ++moe_layers_;
  return absl::OkStatus();
}

absl::Status DecoderModel::LoadEnds(WeightLoader& loader, ThreadPool& pool) {
  const TensorRef embedding = {
      .name = "model.embed_tokens.weight", .n = config_.vocab, .k = config_.hidden};
  FM_ASSIGN_OR_RETURN(embedding_, loader.Table(embedding));
  FM_ASSIGN_OR_RETURN(final_norm_, loader.Vector("model.norm.weight", config_.hidden));
  TensorRef head = embedding;
  if (!config_.tied_embeddings) head.name = "lm_head.weight";
  const int rank = columns_->rank();
  FM_ASSIGN_OR_RETURN(head_, loader.Pack(pool, head.Rows(vocab_.begin(rank), vocab_.width(rank))));
  return absl::OkStatus();
}

}  // namespace folkmoot
