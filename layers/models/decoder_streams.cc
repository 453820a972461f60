// SPDX-License-Identifier: Apache-2.0
// DecoderModel with a residual of several streams (ModelConfig::hyper; layers/hyper_connection.h).
#include <algorithm>

#include "layers/models/decoder.h"

namespace folkmoot {

absl::Status DecoderModel::RunStreams(LayerContext& ctx, const ForwardBatch& batch,
                                      const AttentionStep& step, const Stream& stream) {
  const bool watched = ctx.observer != nullptr && ctx.observer->WantsLayerOutput();
  const auto& [hidden, normed, shortcut, inputs, carried] = stream;
  const Matrix streams = ctx.workspace.GetMatrix(hidden.rows, config_.hyper.streams * hidden.cols);
  for (int64_t t = 0; t < hidden.rows; ++t) {
    for (int64_t i = 0; i < config_.hyper.streams; ++i) {
      std::copy_n(hidden.Row(t), hidden.cols, streams.Row(t) + i * hidden.cols);
    }
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const Workspace::Position mark = ctx.workspace.Mark();
    if (block.ngrams) {
      block.ngrams->Add(ctx, step.sequences, batch.token_ids, *ngram_state_, streams);
    }
    const ConstMatrix around_attention = block.attention_streams->Read(ctx, streams, normed);
    block.input_norm.Apply(ctx, normed, normed);
    FM_ASSIGN_OR_RETURN(const Matrix attended,
                        block.attention->Forward(ctx, step, *cache_, normed));
    block.attention_streams->Leave(ctx, around_attention, attended, streams);
    const ConstMatrix around_ffn = block.ffn_streams->Read(ctx, streams, normed);
    block.ffn_norm.Apply(ctx, normed, normed);
    FM_ASSIGN_OR_RETURN(const Matrix fed, Feed(ctx, batch, i, stream));
    block.ffn_streams->Leave(ctx, around_ffn, fed, streams);
    if (watched) ctx.observer->OnLayerOutput(static_cast<int>(i), streams);
    ctx.workspace.Release(mark);
  }
  streams_head_->Read(ctx, streams, hidden);
  final_norm_.Apply(ctx, hidden, normed);
  return absl::OkStatus();
}

}  // namespace folkmoot
