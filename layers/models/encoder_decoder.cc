// SPDX-License-Identifier: Apache-2.0
// EncoderDecoderModel::Forward: divide the rows of the step, encode sources, decode the rest.
// Loading is in encoder_decoder_load.cc.
#include "layers/models/encoder_decoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/models/ends.h"
#include "layers/models/part_observer.h"
#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<Matrix> EncoderDecoderModel::Forward(LayerContext& ctx, const ForwardBatch& batch) {
  FM_CHECK(cache_.has_value());
  ctx.workspace.Reset();
  Divide(batch);
  if (batch.widest.sources) {
    FM_RETURN_IF_ERROR(Encode(ctx, batch.tokens()));
  } else if (ctx.observer != nullptr) {
    for (int64_t i = 0; i < config_.encoder.layers; ++i) {
      if (config_.layers[static_cast<size_t>(i)].moe) {
        ctx.observer->OnNoRouting(static_cast<int>(i));
      }
    }
  }
  FM_ASSIGN_OR_RETURN(const Matrix decoded, Run(ctx, decoder_, targets_, batch.tokens(), *cache_));
  return Logits(ctx, decoded);
}

absl::Status EncoderDecoderModel::Encode(LayerContext& ctx, int64_t total) {
  const Workspace::Position mark = ctx.workspace.Mark();
  PlaceSources();
  FM_ASSIGN_OR_RETURN(const Matrix encoded, Run(ctx, encoder_, sources_, total, *scratch_));
  for (const Block& block : decoder_.blocks) {
    block.cross->Store(ctx, sources_.cross, encoded, *cache_);
  }
  ctx.workspace.Release(mark);
  return absl::OkStatus();
}

absl::StatusOr<Matrix> EncoderDecoderModel::Run(const LayerContext& whole, Stack& stack,
                                                const Part& part, int64_t total, KvCache& cache) {
  LayerContext ctx = whole;
  std::optional<PartObserver> observer;
  if (whole.observer != nullptr) {
    ctx.observer = &observer.emplace(*whole.observer, whole.workspace, part.rows, total);
  }
  const bool watched = ctx.observer != nullptr && ctx.observer->WantsLayerOutput();
  const int64_t rows = part.batch.tokens();
  Matrix hidden = ctx.workspace.GetMatrix(rows, config_.hidden);  // the residual stream
  Matrix normed = ctx.workspace.GetMatrix(rows, config_.hidden);
  Embed(ctx, stack, part, hidden);
  stack.blocks.front().attention_norm.Apply(ctx, hidden, normed);
  for (size_t i = 0; i < stack.blocks.size(); ++i) {
    FM_RETURN_IF_ERROR(RunBlock(ctx, stack, i, part, cache, hidden, normed));
    if (watched) {
      ctx.observer->OnLayerOutput(static_cast<int>(stack.first_layer) + static_cast<int>(i),
                                  hidden);
    }
  }
  return normed;
}

// From `normed`, the norm of `hidden` for this block's attention, to that for what follows it.
absl::Status EncoderDecoderModel::RunBlock(LayerContext& ctx, Stack& stack, size_t index,
                                           const Part& part, KvCache& cache, Matrix hidden,
                                           Matrix normed) {
  Block& block = stack.blocks[index];
  const AttentionStep step = {.sequences = part.attention,
                              .position_bias = stack.position_bias,
                              .reach = config_.position_distance};
  FM_ASSIGN_OR_RETURN(const Matrix attended, block.attention->Forward(ctx, step, cache, normed));
  if (block.cross) {
    block.cross_norm.AddApply(ctx, attended, 1.0f, hidden, normed);
    const Workspace::Position mark = ctx.workspace.Mark();
    const Matrix crossed = ctx.workspace.GetMatrix(hidden.rows, hidden.cols);
    block.cross->Forward(ctx, part.cross, cache, normed, crossed);
    block.ffn_norm.AddApply(ctx, crossed, 1.0f, hidden, normed);
    ctx.workspace.Release(mark);
  } else {
    block.ffn_norm.AddApply(ctx, attended, 1.0f, hidden, normed);
  }
  const auto layer = static_cast<int>(stack.first_layer) + static_cast<int>(index);
  FM_ASSIGN_OR_RETURN(const Matrix fed, block.moe
                                            ? block.moe->Forward(ctx, part.batch, normed, normed)
                                            : block.dense->Forward(ctx, normed, layer));
  const bool last = index + 1 == stack.blocks.size();
  const Norm& next = last ? stack.final_norm : stack.blocks[index + 1].attention_norm;
  next.AddApply(ctx, fed, 1.0f, hidden, normed);
  return absl::OkStatus();
}

void EncoderDecoderModel::Part::Clear() {
  batch.Clear();
  rows.clear();
  places.clear();
  attention.clear();
  cross.clear();
}

void EncoderDecoderModel::Divide(const ForwardBatch& batch) {
  sources_.Clear();
  targets_.Clear();
  for (const BatchSequence& sequence : batch.sequences) {
    const int64_t end = sequence.start + sequence.rows;
    const int64_t border = std::clamp(sequence.source, sequence.start, end);
    AddRows(batch, sequence, sequence.start, border, &sources_);
    AddRows(batch, sequence, border, end, &targets_);
  }
  size_t at = 0;
  for (const int32_t row : batch.logit_rows) {  // both ascend
    while (targets_.rows[at] != row) ++at;
    targets_.batch.logit_rows.push_back(static_cast<int32_t>(at));
  }
  for (Part* part : {&sources_, &targets_}) {
    part->batch.gates.assign(batch.gates.begin(), batch.gates.end());
    part->batch.widest = batch.widest;
  }
}

// Positions begin .. end of the sequence.
void EncoderDecoderModel::AddRows(const ForwardBatch& batch, const BatchSequence& sequence,
                                  int64_t begin, int64_t end, Part* part) const {
  if (begin == end) return;
  const bool source = end <= sequence.source;
  BatchSequence mine = sequence;
  mine.first_row = part->batch.tokens();
  mine.rows = end - begin;
  mine.start = begin;
  const auto pages_before = [&](int64_t position) {  // that end between the first row and it
    return static_cast<size_t>(position / sequence.page_size - sequence.start / sequence.page_size);
  };
  if (!sequence.page_ends.empty()) {
    mine.page_ends =
        sequence.page_ends.subspan(pages_before(begin), pages_before(end) - pages_before(begin));
  }
  const AttentionSequence seen = {.first_row = mine.first_row,
                                  .rows = mine.rows,
                                  .start = begin,
                                  .blocks = sequence.blocks,
                                  .first_key = source ? 0 : sequence.source};
  part->attention.push_back(seen);
  part->cross.push_back(seen);
  part->cross.back().first_key = 0;
  part->cross.back().keys_end = sequence.source;
  int32_t place = source ? 0 : static_cast<int32_t>(begin - sequence.source);
  for (int64_t position = begin; position < end; ++position) {
    const auto row = static_cast<size_t>(sequence.first_row + position - sequence.start);
    const bool padding = batch.token_ids[row] == config_.pad_id;
    part->rows.push_back(static_cast<int32_t>(row));
    part->places.push_back(padding ? -1 : place);
    place += padding && source ? 0 : 1;
    part->batch.token_ids.push_back(batch.token_ids[row]);
    part->batch.positions.push_back(batch.positions[row]);
    part->batch.streams.push_back(batch.streams[row]);
  }
  part->batch.sequences.push_back(mine);
}

// Every source sees itself, all of it, in pages of the encoder's own.
void EncoderDecoderModel::PlaceSources() {
  constexpr int64_t kPage = KvCache::kGroup;
  const auto pages_of = [](const AttentionSequence& s) { return (s.rows + kPage - 1) / kPage; };
  int64_t pages = 0;
  for (const AttentionSequence& s : sources_.attention) pages += pages_of(s);
  if (!scratch_ || scratch_->shape().blocks < pages) {
    const ModelConfig& config = encoder_.config;
    scratch_.emplace(KvCache::Shape{.layers = 1,
                                    .blocks = pages,
                                    .block_size = kPage,
                                    .kv_heads = config.kv_heads,
                                    .head_dim = config.head_dim});
    scratch_blocks_.resize(static_cast<size_t>(pages));
    std::iota(scratch_blocks_.begin(), scratch_blocks_.end(), 0);
  }
  size_t first = 0;
  for (AttentionSequence& s : sources_.attention) {
    const auto count = static_cast<size_t>(pages_of(s));
    s.blocks = std::span<const int32_t>(scratch_blocks_).subspan(first, count);
    s.keys_end = s.rows;
    first += count;
  }
}

void EncoderDecoderModel::Embed(LayerContext& ctx, const Stack& stack, const Part& part,
                                Matrix hidden) const {
  EmbedTokens(ctx, stack.embedding, part.batch.token_ids, config_.embedding_multiplier, hidden);
  if (frequencies_.empty()) return;
  const size_t half = frequencies_.size();
  for (int64_t row = 0; row < hidden.rows; ++row) {
    const int32_t place = part.places[static_cast<size_t>(row)];
    if (place < 0) continue;
    const auto position = static_cast<float>(place + config_.pad_id + 1);  // as fairseq counts
    float* const x = hidden.Row(row);
    for (size_t i = 0; i < half; ++i) {
      x[i] += std::sin(position * frequencies_[i]);
      x[half + i] += std::cos(position * frequencies_[i]);
    }
  }
}

Matrix EncoderDecoderModel::Logits(LayerContext& ctx, ConstMatrix normed) const {
  const Matrix rows = RowsOf(ctx, normed, targets_.batch.logit_rows);
  const Matrix logits = ctx.workspace.GetMatrix(rows.rows, config_.vocab);
  Gemm(ctx.pool, rows, head_, {}, ctx.workspace, logits);
  if (config_.logits_scaling != 1.0f) Scale(ctx.pool, 1.0f / config_.logits_scaling, logits);
  return logits;
}

}  // namespace folkmoot
