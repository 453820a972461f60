// SPDX-License-Identifier: Apache-2.0
// GpuDecoder::Start is the whole model on one screen; Forward goes around it. Loading:
// gpu_decoder_load.cc.
#include "layers/gpu/gpu_decoder.h"

#include <algorithm>
#include <cmath>

#include "runtime/cuda/rows.h"

namespace folkmoot {

void StartFfn(const GpuStep& step, const GpuFfn& ffn, const cuda::MatrixRef& x, float* out) {
  const int64_t rows = step.bucket.rows;
  const cuda::MatrixRef gate_up =
      FloatMatrix(static_cast<float*>(step.work.gate_up.data), rows, 2 * ffn.intermediate);
  const cuda::MatrixRef activated = {step.work.activated.data, step.dims.dtype, rows,
                                     ffn.intermediate, ffn.intermediate};
  cuda::Gemm(step.stream, step.gemm, x, ffn.gate_up, ffn.gate_up_bias, gate_up);
  cuda::GatedActivation(step.stream, static_cast<int>(step.config.activation), gate_up, activated);
  cuda::Gemm(step.stream, step.gemm, activated, ffn.down, ffn.down_bias,
             FloatMatrix(out, rows, step.dims.hidden));
}

absl::Status GpuDecoder::Start(const GpuStep& step) {
  const int64_t rows = step.bucket.rows;
  const float eps = config_.rms_norm_eps;
  const cuda::MatrixRef normed = FirstRows(work_.normed, rows);
  cuda::Embed(*stream_, weights_.embedding, step.rows, work_.residual);
  cuda::RmsNorm(*stream_, work_.residual, weights_.layers.front().input_norm, eps, normed);
  int moe_index = 0;
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const GpuLayer& layer = weights_.layers[i];
    const float* next =
        i + 1 < weights_.layers.size() ? weights_.layers[i + 1].input_norm : weights_.final_norm;
    StartAttention(step, layer, i);
    if (layer.moe) {
      FM_RETURN_IF_ERROR(moe_->Start(step, static_cast<int>(i), moe_index++, next));
    } else {
      cuda::AddRmsNorm(*stream_, work_.delta, layer.ffn_norm, eps, work_.residual, normed);
      StartFfn(step, *layer.dense, normed, work_.delta);
      cuda::AddRmsNorm(*stream_, work_.delta, next, eps, work_.residual, normed);
    }
    FM_RETURN_IF_ERROR(WatchLayer(step, i));
  }
  StartLogits(step, 0, step.bucket.logits);
  if (step.on_device) {
    output_.CopyRoutingOut(*stream_, step.bucket.rows, sizes_.dims.top_k);
    input_.CopyCountersOut(*stream_, step.bucket);
  }
  return stream_->status();
}

void GpuDecoder::StartAttention(const GpuStep& step, const GpuLayer& layer, size_t index) {
  const int64_t rows = step.bucket.rows;
  cuda::AttentionShape shape = attention_;
  shape.window = static_cast<int>(config_.layers[index].sliding_window);
  const cuda::MatrixRef qkv = FirstRows(work_.qkv, rows);
  const cuda::MatrixRef q = FirstRows(work_.q, rows);
  const cuda::MatrixRef attended = FirstRows(work_.attended, rows);
  // What HeadNorm of upload.cc did to the weights.
  const float shrink =
      static_cast<float>(config_.head_dim) / static_cast<float>(sizes_.dims.head_dim);
  const cuda::QkNorm norm = {
      .q = layer.q_norm, .k = layer.k_norm, .eps = config_.rms_norm_eps * shrink};
  cuda::Gemm(*stream_, gemm_, FirstRows(work_.normed, rows), layer.qkv, layer.qkv_bias, qkv);
  cuda::RotateAndStore(*stream_, shape, step.rows, step.sequences, qkv, norm, q, kv_[index]);
  cuda::PagedAttention(*stream_, shape, step.rows, step.sequences, q, kv_[index],
                       work_.attention_scratch, attended);
  cuda::Gemm(*stream_, gemm_, attended, layer.o, layer.o_bias,
             FloatMatrix(work_.delta, rows, sizes_.dims.hidden));
}

void GpuDecoder::StartLogits(const GpuStep& step, int first, int count) {
  if (count == 0) return;
  const cuda::MatrixRef wanted = FirstRows(work_.wanted, count);
  cuda::GatherRows(*stream_, FirstRows(work_.normed, step.bucket.rows),
                   input_.LogitRows(step.bucket) + first, count, wanted);
  cuda::Gemm(*stream_, gemm_, wanted, weights_.head, nullptr, logits_.device(count));
}

// Only steps that somebody looks into (`folkmoot verify`) wait for each layer.
absl::Status GpuDecoder::WatchLayer(const GpuStep& step, size_t index) {
  LayerContext* ctx = step.context;
  if (ctx == nullptr || ctx->observer == nullptr || !ctx->observer->WantsLayerOutput()) {
    return absl::OkStatus();
  }
  const Workspace::Position mark = ctx->workspace.Mark();
  const Matrix hidden = ctx->workspace.GetMatrix(step.bucket.rows, config_.hidden);
  cuda::CopyToHost(*stream_, hidden.data, work_.residual,
                   hidden.rows * hidden.cols * static_cast<int64_t>(sizeof(float)));
  FM_RETURN_IF_ERROR(Wait(step));
  ctx->observer->OnLayerOutput(static_cast<int>(index), hidden);
  ctx->workspace.Release(mark);
  return absl::OkStatus();
}

absl::Status GpuDecoder::Wait(const GpuStep& step) {
  return moe_ == nullptr ? stream_->Synchronize() : moe_->Wait(step);
}

// The step as it is. A rank without rows takes part with one row of padding.
StepBucket GpuDecoder::ExactBucket(const ForwardBatch& batch) const {
  StepBucket bucket;
  bucket.rows = std::max(1, static_cast<int>(batch.tokens()));
  bucket.sequences = std::max(1, static_cast<int>(batch.sequences.size()));
  bucket.logits =
      static_cast<int>(std::min<int64_t>(std::ssize(batch.logit_rows), sizes_.logit_rows()));
  int64_t rows = 1;
  int64_t length = 1;
  for (const BatchSequence& sequence : batch.sequences) {
    rows = std::max(rows, sequence.rows);
    length = std::max(length, sequence.start + sequence.rows);
  }
  bucket.max_rows = static_cast<int>(rows);
  bucket.max_length = static_cast<int>(length);
  bucket.block_stride = static_cast<int>((length + pages_.block_size - 1) / pages_.block_size);
  return bucket;
}

// Few different ones, and the same on all ranks: lengths in powers of two from 256 tokens on.
StepBucket GpuDecoder::DecodeBucket(const ForwardBatch& batch) const {
  const auto rows = static_cast<int>(std::max(batch.widest.rows, batch.tokens()));
  StepBucket bucket;
  bucket.rows = bucket.sequences =
      std::min(BucketRows(rows), static_cast<int>(sizes_.limits.sequences));
  bucket.logits = std::min(bucket.rows, static_cast<int>(sizes_.logit_rows()));
  int64_t needed = batch.widest.length;
  for (const BatchSequence& s : batch.sequences) needed = std::max(needed, s.start + s.rows);
  int64_t length = 256;
  while (length < needed) length *= 2;
  length = std::min(length, std::max(sizes_.limits.length, needed));
  bucket.max_length = static_cast<int>(length);
  bucket.block_stride = static_cast<int>((length + pages_.block_size - 1) / pages_.block_size);
  return bucket;
}

// One row per sequence on every rank, routed on the device: the same answer on all ranks.
bool GpuDecoder::IsDecode(const ForwardBatch& batch) const {
  return batch.widest.single && std::ssize(batch.sequences) == batch.tokens() &&
         batch.logit_rows.size() <= batch.sequences.size() &&
         batch.widest.rows <= sizes_.limits.sequences && (moe_ == nullptr || moe_->OnDevice(batch));
}

GpuStep GpuDecoder::MakeStep(const StepBucket& bucket, LayerContext* ctx,
                             const ForwardBatch* batch) {
  return {.stream = *stream_,
          .gemm = gemm_,
          .config = config_,
          .dims = sizes_.dims,
          .work = work_,
          .input = input_,
          .output = output_,
          .bucket = bucket,
          .rows = input_.Rows(bucket),
          .sequences = input_.Sequences(bucket),
          .limits = sizes_.limits,
          .context = ctx,
          .batch = batch};
}

// A bucket's first step is started kernel by kernel, so that what is made at first use (plans of
// products, attributes of kernels) is not made while a graph is recorded. All ranks come to the
// same buckets in the same order.
absl::Status GpuDecoder::Replay(const GpuStep& step) {
  const auto [entry, first] = graphs_.try_emplace(step.bucket);
  std::unique_ptr<cuda::Graph>& graph = entry->second;
  if (first) {
    input_.CopyIn(*stream_, step.bucket);
    return Start(step);
  }
  if (graph == nullptr) {
    absl::Status status;
    GpuStep recorded = step;
    recorded.context = nullptr;
    recorded.batch = nullptr;
    FM_ASSIGN_OR_RETURN(graph, cuda::Graph::Record(*stream_, [&] {
                          input_.CopyIn(*stream_, step.bucket);
                          status = Start(recorded);
                        }));
    FM_RETURN_IF_ERROR(status);
  }
  graph->Launch(*stream_);
  ++recorded_steps_;
  return absl::OkStatus();
}

int64_t GpuDecoder::recorded_graphs() const {
  return std::count_if(graphs_.begin(), graphs_.end(),
                       [](const auto& entry) { return entry.second != nullptr; });
}

double GpuDecoder::kernels_per_layer() const {
  int kernels = 0;
  for (const auto& [bucket, graph] : graphs_) {
    if (graph != nullptr) kernels = std::max(kernels, graph->kernels());
  }
  return static_cast<double>(kernels) / static_cast<double>(weights_.layers.size());
}

absl::StatusOr<Matrix> GpuDecoder::Forward(LayerContext& ctx, const ForwardBatch& batch) {
  FM_CHECK(pages_.blocks > 0);
  ctx.workspace.Reset();
  chosen_.clear();
  if (batch.tokens() == 0 && ctx.experts.size() == 1) return Matrix();
  const bool watched = ctx.observer != nullptr && ctx.observer->WantsLayerOutput();
  const bool decode = IsDecode(batch);
  const StepBucket bucket = decode ? DecodeBucket(batch) : ExactBucket(batch);
  GpuStep step = MakeStep(bucket, &ctx, &batch);
  step.on_device = moe_ == nullptr || moe_->OnDevice(batch);
  step.fixed_sizes = decode;
  input_.Fill(bucket, batch, rope_);
  if (decode && gpu_.record && !watched) {
    FM_RETURN_IF_ERROR(Replay(step));
  } else {
    input_.CopyIn(*stream_, bucket);
    FM_RETURN_IF_ERROR(Start(step));
  }
  StartReading(step, 0, std::min<int64_t>(std::ssize(batch.logit_rows), sizes_.logit_rows()));
  FM_RETURN_IF_ERROR(Wait(step));
  if (step.on_device) {
    ReportRouting(ctx, bucket, batch);
    input_.ReadCounters(bucket, batch);
  }
  return TakeLogits(step);
}

void GpuDecoder::ReportRouting(LayerContext& ctx, const StepBucket& bucket,
                               const ForwardBatch& batch) {
  if (ctx.observer == nullptr) return;
  int moe_index = 0;
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    if (!weights_.layers[i].moe) continue;
    Routing routing = output_.Read(bucket.rows, sizes_.dims.top_k, moe_index++, batch.tokens());
    routing.weight_on_input = gates_.base().apply_to == ApplyTo::kInput;
    ctx.observer->OnRouting(static_cast<int>(i), routing);
  }
}

// No part of a recorded step: who chooses and who reads logits changes from step to step.
void GpuDecoder::StartReading(const GpuStep& step, int64_t first, int64_t count) {
  std::span<const TokenChoice> choices = step.batch->choices;
  if (!choices.empty()) {
    choices = choices.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  }
  logits_.StartReading(*stream_, choices, count);
}

// A step of more logits than fit at once (log-probabilities of prompts) computes the others now.
absl::StatusOr<Matrix> GpuDecoder::TakeLogits(const GpuStep& step) {
  const auto wanted = static_cast<int64_t>(step.batch->logit_rows.size());
  const int64_t most = sizes_.logit_rows();
  if (wanted <= most) {
    logits_.TakeChosen(&chosen_);
    return WantsLogits(step.batch->choices) ? logits_.host(wanted) : Matrix();
  }
  const Matrix all = step.context->workspace.GetMatrix(wanted, config_.vocab);
  for (int64_t first = 0; first < wanted; first += most) {
    const int64_t count = std::min(most, wanted - first);
    if (first > 0) {
      StartLogits(step, static_cast<int>(first), static_cast<int>(count));
      StartReading(step, first, count);
      FM_RETURN_IF_ERROR(Wait(step));
    }
    logits_.TakeChosen(&chosen_);
    const Matrix part = logits_.host(count);
    for (int64_t r = 0; r < count; ++r) {
      std::copy_n(part.Row(r), part.cols, all.Row(first + r));
    }
  }
  return all;
}

}  // namespace folkmoot
