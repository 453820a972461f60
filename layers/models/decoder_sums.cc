// SPDX-License-Identifier: Apache-2.0
// DecoderModel with a residual of sums (ResidualConfig::sum_layers; Inkling 2): what the parts of a
// run of layers give adds up to one sum, which begins with what the attention of the first of them
// gives; the first sum of all is the embedding. A part reads a mixture of all sums so far, the one
// that still grows among them, by learned queries (runtime/ops/sum_mixture.h). Layers that run
// again (LoopConfig) begin with the sums from before their first time, and read messages.
//
// The sums of a token stand side by side, the one that grows last, so that mixtures read them where
// they are.
#include <algorithm>

#include "layers/models/decoder.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/sum_mixture.h"

namespace folkmoot {
namespace {

void CopySum(ConstMatrix from, Matrix to) {
  for (int64_t t = 0; t < from.rows; ++t) std::copy_n(from.Row(t), from.cols, to.Row(t));
}

}  // namespace

absl::Status DecoderModel::LoadMixtures(const LayerNames& names, WeightLoader& loader,
                                        int64_t index, ThreadPool& pool) {
  Block& block = blocks_[static_cast<size_t>(index)];
  const int64_t n = config_.hidden;
  const bool dynamic = config_.layers[static_cast<size_t>(index)].dynamic;
  FM_ASSIGN_OR_RETURN(block.ffn_query, loader.Vector(names.ffn_query, n));
  if (index > 0) {  // the first layer has but the embedding to read
    FM_ASSIGN_OR_RETURN(block.attention_query, dynamic
                                                   ? loader.Vector(names.attention_query, 3 * n, n)
                                                   : loader.Vector(names.attention_query, n));
  }
  if (config_.loop.passes > 1 && config_.loop.has(index)) {
    FM_ASSIGN_OR_RETURN(block.messages, MessageGates::Load(pool, loader, config_, index, names));
  }
  if (!dynamic) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(block.k_input_norm, Norm::Load(loader, config_, names.k_input_norm, n));
  FM_ASSIGN_OR_RETURN(block.v_input_norm, Norm::Load(loader, config_, names.v_input_norm, n));
  return absl::OkStatus();
}

void DecoderModel::Sums::Begin(ConstMatrix rows) {
  ++count_;
  CopySum(rows, last());
}

// `normed` becomes what queries are made of, and `step` gets what keys and values are made of,
// where that is something else.
void DecoderModel::ReadSums(LayerContext& ctx, const Block& block, const Sums& sums,
                            ConstMatrix messages, Matrix normed, AttentionStep& step) const {
  const int64_t n = config_.hidden;
  const bool dynamic = block.k_input_norm.has_value();
  const bool apart = dynamic || messages.cols > 0;
  const Matrix mixed = ctx.workspace.GetMatrix(normed.rows, (apart ? 3 : 1) * n);
  const auto part = [&](int64_t i) { return mixed.Columns(i * n, n); };
  if (block.attention_query.empty()) {
    CopySum(sums.last(), part(0));
  } else {
    MixSums(ctx.pool, sums.all(), block.attention_query, n, ctx.workspace,
            mixed.Columns(0, std::ssize(block.attention_query)));
  }
  const int64_t made = block.attention_query.empty() || !dynamic ? 1 : 3;
  for (int64_t i = made; apart && i < 3; ++i) CopySum(part(0), part(i));
  if (messages.cols > 0) {
    block.messages->q.Apply(ctx, messages.Columns(0, n), part(0));
    block.messages->k.Apply(ctx, messages.Columns(n, n), part(1));
    block.messages->v.Apply(ctx, messages.Columns(2 * n, n), part(2));
  }
  block.input_norm.Apply(ctx, part(0), normed);
  if (!apart) return;
  (dynamic ? *block.k_input_norm : block.input_norm).Apply(ctx, part(1), part(1));
  (dynamic ? *block.v_input_norm : block.input_norm).Apply(ctx, part(2), part(2));
  step.key_rows = part(1);
  step.value_rows = part(2);
}

absl::Status DecoderModel::RunLayer(LayerContext& ctx, const ForwardBatch& batch,
                                    const AttentionStep& step, const LayerRun& run,
                                    const Stream& stream, Sums& sums) {
  const int64_t n = config_.hidden;
  Block& block = blocks_[static_cast<size_t>(run.index)];
  const Matrix normed = stream.normed;
  const Workspace::Position mark = ctx.workspace.Mark();
  Matrix messages;
  if (run.left.cols > 0) {
    messages = ctx.workspace.GetMatrix(normed.rows, std::ssize(block.messages->queries));
    MixSums(ctx.pool, run.left, block.messages->queries, n, ctx.workspace, messages);
  }
  AttentionStep own = step;
  own.again = run.place - run.index;
  ReadSums(ctx, block, sums, messages, normed, own);
  FM_ASSIGN_OR_RETURN(const Matrix attended, block.attention->Forward(ctx, own, *cache_, normed));
  block.attention_convolution->Apply(ctx, own, attended, normed);
  if (run.index % config_.residual.sum_layers == 0) {
    sums.Begin(normed);
  } else {
    Add(ctx.pool, normed, sums.last());
  }
  MixSums(ctx.pool, sums.all(), block.ffn_query, n, ctx.workspace, normed);
  if (messages.cols > 0) block.messages->ffn.Apply(ctx, messages.Columns(3 * n, n), normed);
  block.ffn_norm.Apply(ctx, normed, normed);
  // All layers have experts: their number among those is that among all.
  block.moe->set_place(static_cast<int>(run.place), static_cast<int>(run.place));
  FM_ASSIGN_OR_RETURN(const Matrix fed, Feed(ctx, batch, static_cast<size_t>(run.index), stream));
  block.ffn_convolution->Apply(ctx, own, fed, normed);
  Add(ctx.pool, normed, sums.last());
  ctx.workspace.Release(mark);
  if (ctx.observer != nullptr && ctx.observer->WantsLayerOutput()) {
    ctx.observer->OnLayerOutput(static_cast<int>(run.place), sums.last());
  }
  return absl::OkStatus();
}

// Of the layers that run again all passes. Each but the first reads what the one before left.
absl::Status DecoderModel::RunLoop(LayerContext& ctx, const ForwardBatch& batch,
                                   const AttentionStep& step, const Stream& stream, Sums& sums) {
  const LoopConfig& loop = config_.loop;
  const int64_t before = sums.count();
  LayerRun run;
  int64_t again = config_.own_layers();
  for (int64_t pass = 0; pass < loop.passes; ++pass) {
    if (pass > 0) {
      const Matrix added = sums.Behind(before);
      if (pass == 1) run.left = ctx.workspace.GetMatrix(added.rows, added.cols);
      CopySum(added, run.left);
      sums.CutTo(before);
    }
    for (run.index = loop.first; run.index < loop.end; ++run.index) {
      run.place = pass == 0 ? run.index : again++;
      FM_RETURN_IF_ERROR(RunLayer(ctx, batch, step, run, stream, sums));
    }
  }
  return absl::OkStatus();
}

absl::Status DecoderModel::RunSums(LayerContext& ctx, const ForwardBatch& batch,
                                   const AttentionStep& step, const Stream& stream) {
  const Matrix hidden = stream.hidden;
  const int64_t each = config_.residual.sum_layers;
  const int64_t layers = config_.own_layers();
  Sums sums(ctx.workspace.GetMatrix(hidden.rows, ((layers + each - 1) / each + 1) * hidden.cols),
            hidden.cols);
  sums.Begin(hidden);
  for (int64_t i = 0; i < layers; ++i) {
    if (config_.loop.passes > 1 && i == config_.loop.first) {
      FM_RETURN_IF_ERROR(RunLoop(ctx, batch, step, stream, sums));
      i = config_.loop.end;
      if (i == layers) break;
    }
    FM_RETURN_IF_ERROR(RunLayer(ctx, batch, step, {.index = i, .place = i}, stream, sums));
  }
  MixSums(ctx.pool, sums.all(), final_query_, hidden.cols, ctx.workspace, hidden);
  final_norm_.Apply(ctx, hidden, stream.normed);
  return absl::OkStatus();
}

}  // namespace folkmoot
