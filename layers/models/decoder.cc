// SPDX-License-Identifier: Apache-2.0
// DecoderModel::Forward and RunBlocks are the whole model on one screen; decoder_load.cc loads it.
#include "layers/models/decoder.h"

#include <algorithm>
#include <cmath>

#include "layers/models/ends.h"
#include "runtime/ops/key_selection.h"
#include "runtime/ops/norm.h"

namespace folkmoot {
namespace {

// `x`, which other ranks may read too, or its norm in `memory`, or what a convolution makes of it.
ConstMatrix PostNormed(LayerContext& ctx, const std::optional<Norm>& norm, ConstMatrix x,
                       Matrix memory) {
  if (!norm) return x;
  norm->Apply(ctx, x, memory);
  return memory;
}
ConstMatrix Convolved(LayerContext& ctx, const AttentionStep& step,
                      const std::optional<ResidualConvolution>& convolution, ConstMatrix x,
                      Matrix memory) {
  if (!convolution) return x;
  convolution->Apply(ctx, step, x, memory);
  return memory;
}

// What is added to the stream of `x`, which a part gave: `x`, or its scaled form in `memory`, where
// the stream is scaled, too.
ConstMatrix Scaled(LayerContext& ctx, const std::optional<LearnedResidual>& residual, ConstMatrix x,
                   Matrix stream, Matrix memory) {
  if (!residual) return x;
  residual->stream.Apply(ctx, stream, stream);
  residual->given.Apply(ctx, x, memory);
  return memory;
}

// Of the FFN of layer `index`, or of what mixes its tokens.
ResidualFactors FactorsOf(const ModelConfig& config, size_t index, bool ffn) {
  const ResidualConfig& residual = config.residual;
  if (residual.by_depth) {
    const double part = static_cast<double>(2 * (index + 1)) + (ffn ? 1.0 : 0.0);
    return {.kept = static_cast<float>(std::sqrt((part - 1.0) / part)),
            .added = static_cast<float>(1.0 / std::sqrt(part))};
  }
  if (!residual.of_norm) return {.added = config.residual_multiplier};
  if (ffn) return residual.ffn;
  const bool recurrent = config.layers[index].mixer == Mixer::kRecurrent;
  return recurrent ? residual.recurrent : residual.attention;
}

// TemperatureConfig: of a query at `position`.
float TemperatureAt(const TemperatureConfig& temperature, int64_t position) {
  const float x = static_cast<float>(position + temperature.ahead) / temperature.floor;
  switch (temperature.rule) {
    case TemperatureRule::kSteps:
      return std::log1p(std::floor(x)) * temperature.scale + 1.0f;
    case TemperatureRule::kSmooth:
      return std::log(std::max(x, 1.0f)) * temperature.scale + 1.0f;
    case TemperatureRule::kPower:
      break;
  }
  return std::exp(std::log1p(x) * temperature.scale);
}

}  // namespace

absl::StatusOr<Matrix> DecoderModel::Forward(LayerContext& ctx, const ForwardBatch& batch) {
  FM_CHECK(cache_.has_value());
  ctx.workspace.Reset();
  const AttentionStep step = StepOf(ctx, batch);
  const Stream stream = Embed(ctx, batch);
  if (config_.residual.sum_layers > 0) {
    FM_RETURN_IF_ERROR(RunSums(ctx, batch, step, stream));
  } else {
    FM_RETURN_IF_ERROR(streams_head_ ? RunStreams(ctx, batch, step, stream)
                                     : RunBlocks(ctx, batch, step, stream));
  }
  hidden_ = stream.normed;
  return Logits(ctx, batch, stream.normed);
}

absl::Status DecoderModel::RunBlocks(LayerContext& ctx, const ForwardBatch& batch,
                                     const AttentionStep& step, const Stream& stream) {
  const bool watched = ctx.observer != nullptr && ctx.observer->WantsLayerOutput();
  const auto& [hidden, normed, shortcut, inputs, carried] = stream;
  NormBefore(0).Apply(ctx, hidden, normed);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    const Norm& next = NormBefore(i + 1);
    const Workspace::Position mark = ctx.workspace.Mark();
    if (block.attention) {
      FM_ASSIGN_OR_RETURN(const Matrix attended,
                          block.attention->Forward(ctx, step, *cache_, normed));
      if (config_.parallel_blocks) {
        Add(ctx.pool, attended, hidden);
      } else {
        ConstMatrix given = PostNormed(ctx, block.attention_post_norm, attended, normed);
        given = Convolved(ctx, step, block.attention_convolution, given, normed);
        const ConstMatrix added = Scaled(ctx, block.attention_residual, given, hidden, normed);
        Join(ctx, added, FactorsOf(config_, i, false), block.feeds() ? block.ffn_norm : next,
             stream);
      }
    }
    if (block.feeds()) {
      FM_ASSIGN_OR_RETURN(const Matrix fed, Feed(ctx, batch, i, stream));
      ConstMatrix fed_back = PostNormed(ctx, block.ffn_post_norm, fed, normed);
      fed_back = Convolved(ctx, step, block.ffn_convolution, fed_back, normed);
      fed_back = Scaled(ctx, block.ffn_residual, fed_back, hidden, normed);
      if (i > 0 && config_.layers[i - 1].shortcut) {
        Add(ctx.pool, fed_back, hidden);
        fed_back = shortcut;
      }
      if (block.ends()) {
        Add(ctx.pool, fed_back, hidden);
        End(ctx, i, stream);
        next.Apply(ctx, hidden, normed);
      } else {
        Join(ctx, fed_back, FactorsOf(config_, i, true), next, stream);
      }
    }
    if (watched) ctx.observer->OnLayerOutput(static_cast<int>(i), hidden);
    ctx.workspace.Release(mark);
  }
  return absl::OkStatus();
}

void DecoderModel::Join(LayerContext& ctx, ConstMatrix output, const ResidualFactors& factors,
                        const Norm& next, const Stream& stream) const {
  const auto& [hidden, normed, shortcut, inputs, carried] = stream;
  if (config_.residual.of_norm) {
    FM_CHECK(output.data != normed.data);  // no family has post norms, too
    for (int64_t t = 0; t < normed.rows; ++t)
      std::copy_n(normed.Row(t), normed.cols, hidden.Row(t));
  }
  if (factors.kept != 1.0f) Scale(ctx.pool, factors.kept, hidden);
  next.AddApply(ctx, output, factors.added, hidden, normed);
}

DecoderModel::Stream DecoderModel::Embed(LayerContext& ctx, const ForwardBatch& batch) const {
  Stream stream = {.hidden = ctx.workspace.GetMatrix(batch.tokens(), config_.hidden),
                   .normed = ctx.workspace.GetMatrix(batch.tokens(), config_.hidden)};
  if (config_.layers.front().shortcut) {
    stream.shortcut = ctx.workspace.GetMatrix(batch.tokens(), config_.hidden);
  }
  if (config_.moe.router_hidden > 0) {
    stream.carried = ctx.workspace.GetMatrix(batch.tokens(), config_.moe.router_hidden);
  }
  EmbedTokens(ctx, embedding_, batch.token_ids, config_.embedding_multiplier, stream.hidden);
  if (embedding_norm_) embedding_norm_->Apply(ctx, stream.hidden, stream.hidden);
  if (embedding_scale_) embedding_scale_->Apply(ctx, stream.hidden, stream.hidden);
  if (inputs_) stream.inputs = inputs_->Make(ctx, batch.token_ids, stream.hidden);
  return stream;
}

const Norm& DecoderModel::NormBefore(size_t index) const {
  if (index == blocks_.size()) return final_norm_;
  return blocks_[index].attention ? blocks_[index].input_norm : blocks_[index].ffn_norm;
}

absl::StatusOr<Matrix> DecoderModel::Feed(LayerContext& ctx, const ForwardBatch& batch,
                                          size_t index, const Stream& stream) {
  Block& block = blocks_[index];
  const Matrix normed = stream.normed;
  if (block.beside) return FeedBoth(ctx, batch, index, stream);
  if (block.moe) {
    FM_ASSIGN_OR_RETURN(const Matrix routed,
                        block.moe->Forward(ctx, batch, normed, normed, stream.carried));
    if (!block.dense) return routed;
    for (int64_t t = 0; t < routed.rows; ++t) {
      std::copy_n(routed.Row(t), routed.cols, stream.shortcut.Row(t));
    }
  }
  return block.dense->Forward(ctx, normed, static_cast<int>(index));
}

absl::StatusOr<Matrix> DecoderModel::FeedBoth(LayerContext& ctx, const ForwardBatch& batch,
                                              size_t index, const Stream& stream) {
  Block& block = blocks_[index];
  const ExpertNorms& norms = *block.beside;
  const auto scratch = [&] { return ctx.workspace.GetMatrix(batch.tokens(), config_.hidden); };
  const Matrix sum = scratch();
  FM_ASSIGN_OR_RETURN(const Matrix dense,
                      block.dense->Forward(ctx, stream.normed, static_cast<int>(index)));
  norms.dense_post.Apply(ctx, dense, sum);
  const Matrix rows = scratch();
  const Matrix routed = scratch();
  norms.experts.Apply(ctx, stream.hidden, rows);
  norms.router.Apply(ctx, stream.hidden, routed);
  FM_ASSIGN_OR_RETURN(const Matrix chosen, block.moe->Forward(ctx, batch, rows, routed));
  norms.experts_post.Apply(ctx, chosen, rows);
  Add(ctx.pool, rows, sum);
  return sum;
}

void DecoderModel::End(LayerContext& ctx, size_t index, const Stream& stream) const {
  const Block& block = blocks_[index];
  if (block.input) {
    const int64_t size = config_.layer_inputs;
    block.input->Add(ctx, stream.inputs.Columns(static_cast<int64_t>(index) * size, size),
                     stream.hidden);
  }
  Scale(ctx.pool, block.scalar, stream.hidden);
}

AttentionStep DecoderModel::StepOf(LayerContext& ctx, const ForwardBatch& batch) {
  attention_sequences_.clear();
  for (const BatchSequence& s : batch.sequences) {
    attention_sequences_.push_back({.first_row = s.first_row,
                                    .rows = s.rows,
                                    .start = s.start,
                                    .blocks = s.blocks,
                                    .slot = s.slot,
                                    .prompt = s.prompt});
  }
  AttentionStep step = {.sequences = attention_sequences_, .rope = FillRope(ctx, batch, rope_)};
  if (state_) step.state = &*state_;
  if (rows_) step.rows = &*rows_;
  if (index_keys_) step.index_keys = &*index_keys_;
  if (config_.indexers() > 0 && config_.indexer.block == 0) step.chosen = RoomForChosen(ctx, batch);
  if (output_window_ > 0) LookBesidePrompts(ctx, batch, step);
  if (local_rope_) step.local_rope = FillRope(ctx, batch, *local_rope_);
  if (config_.temperature.scale != 0) step.temperature = Temperatures(ctx, batch);
  if (config_.query_scales) step.log_positions = LogPositions(ctx, batch);
  return step;
}

std::span<const float> DecoderModel::Temperatures(LayerContext& ctx,
                                                  const ForwardBatch& batch) const {
  const std::span<float> factors = ctx.workspace.Get<float>(batch.tokens());
  for (size_t t = 0; t < factors.size(); ++t) {
    factors[t] = TemperatureAt(config_.temperature, batch.positions[t]);
  }
  return factors;
}

std::span<const float> DecoderModel::LogPositions(LayerContext& ctx, const ForwardBatch& batch) {
  const std::span<float> logs = ctx.workspace.Get<float>(batch.tokens());
  for (size_t t = 0; t < logs.size(); ++t) {
    logs[t] = std::log(static_cast<float>(int64_t{batch.positions[t]} + 1));
  }
  return logs;
}

// Null where no query of the step has more keys before it than it may see.
const ChosenKeys* DecoderModel::RoomForChosen(LayerContext& ctx, const ForwardBatch& batch) {
  const int64_t most = config_.indexer.most();
  const auto sees_all = [most](const BatchSequence& s) { return s.start + s.rows <= most; };
  if (std::all_of(batch.sequences.begin(), batch.sequences.end(), sees_all)) return nullptr;
  chosen_ = {.most = most,
             .counts = ctx.workspace.Get<int32_t>(batch.tokens()),
             .positions = ctx.workspace.Get<int32_t>(batch.tokens() * most)};
  return &chosen_;
}

// Sequences with queries from which the window hides something choose their keys, the same in all
// layers with a window; the others read theirs faster.
void DecoderModel::LookBesidePrompts(LayerContext& ctx, const ForwardBatch& batch,
                                     AttentionStep& step) {
  beyond_window_.clear();
  within_window_.clear();
  int64_t most = 0;
  for (const AttentionSequence& sequence : step.sequences) {
    const int64_t own = MostBesidePrompt(output_window_, sequence);
    (own > 0 ? beyond_window_ : within_window_).push_back(sequence);
    most = std::max(most, own);
  }
  step.beyond_window = beyond_window_;
  step.within_window = within_window_;
  if (most == 0) return;
  chosen_ = {.most = most,
             .counts = ctx.workspace.Get<int32_t>(batch.tokens()),
             .positions = ctx.workspace.Get<int32_t>(batch.tokens() * most)};
  ChooseBesidePrompt(ctx.pool, output_window_, beyond_window_, chosen_);
  step.chosen = &chosen_;
}

RopeRows DecoderModel::FillRope(LayerContext& ctx, const ForwardBatch& batch, const Rope& rope) {
  const Matrix cos = ctx.workspace.GetMatrix(batch.tokens(), rope.rotary_dim() / 2);
  const Matrix sin = ctx.workspace.GetMatrix(batch.tokens(), rope.rotary_dim() / 2);
  rope.Fill(batch.positions, batch.rope_lengths, cos, sin);
  return {cos, sin};
}

// Tokens that are never predicted get a logit that no probability survives; a number, since logits
// must be.
void DecoderModel::ForbidUnscored(Matrix mine) const {
  constexpr float kNever = -1e30f;
  const int64_t first = std::max<int64_t>(0, config_.scored_vocab - vocab_.begin(columns_->rank()));
  for (int64_t t = 0; t < mine.rows && first < mine.cols; ++t) {
    std::fill_n(mine.Row(t) + first, mine.cols - first, kNever);
  }
}

absl::StatusOr<Matrix> DecoderModel::Logits(LayerContext& ctx, const ForwardBatch& batch,
                                            ConstMatrix normed) const {
  const Matrix wanted = RowsOf(ctx, normed, batch.logit_rows);
  const Matrix logits = columns_->Take(wanted.rows, vocab_);
  const Matrix mine = columns_->Mine(logits, vocab_);
  Gemm(ctx.pool, wanted, head_, head_bias_, ctx.workspace, mine);
  if (config_.logits_scaling != 1.0f) Scale(ctx.pool, 1.0f / config_.logits_scaling, mine);
  if (config_.logits_softcap > 0) SoftCap(ctx.pool, config_.logits_softcap, mine);
  if (config_.scored_vocab > 0) ForbidUnscored(mine);
  FM_RETURN_IF_ERROR(columns_->Gather({.phase = "logits gather", .step = ctx.step}));
  return logits;
}

}  // namespace folkmoot
