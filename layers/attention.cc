// SPDX-License-Identifier: Apache-2.0
#include "layers/attention.h"

#include <cmath>

#include "runtime/ops/norm.h"

namespace folkmoot {

absl::StatusOr<Attention> Attention::Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, int64_t layer,
                                          const std::string& prefix) {
  Attention a;
  const int64_t q_width = config.heads * config.head_dim;
  const int64_t kv_width = config.kv_heads * config.head_dim;
  a.head_dim_ = config.head_dim;
  a.kv_heads_ = config.kv_heads;
  a.norm_eps_ = config.rms_norm_eps;
  a.params_ = {.layer = layer,
               .heads = config.heads,
               .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim))),
               .window = config.layers[static_cast<size_t>(layer)].sliding_window};
  const auto load = [&](const char* name, int64_t n, int64_t k, bool bias, PackedMatrix* weight,
                        std::vector<float>* bias_out) -> absl::Status {
    FM_ASSIGN_OR_RETURN(*weight,
                        loader.Pack(pool, {.name = prefix + name + ".weight", .n = n, .k = k}));
    if (!bias) return absl::OkStatus();
    FM_ASSIGN_OR_RETURN(*bias_out, loader.Vector(prefix + name + ".bias", n));
    return absl::OkStatus();
  };
  FM_RETURN_IF_ERROR(load("q_proj", q_width, config.hidden, config.qkv_bias, &a.q_, &a.q_bias_));
  FM_RETURN_IF_ERROR(load("k_proj", kv_width, config.hidden, config.qkv_bias, &a.k_, &a.k_bias_));
  FM_RETURN_IF_ERROR(load("v_proj", kv_width, config.hidden, config.qkv_bias, &a.v_, &a.v_bias_));
  FM_RETURN_IF_ERROR(load("o_proj", config.hidden, q_width, config.output_bias, &a.o_, &a.o_bias_));
  if (config.qk_norm) {
    FM_ASSIGN_OR_RETURN(a.q_norm_, loader.Vector(prefix + "q_norm.weight", config.head_dim));
    FM_ASSIGN_OR_RETURN(a.k_norm_, loader.Vector(prefix + "k_norm.weight", config.head_dim));
  }
  return a;
}

void Attention::Forward(LayerContext& ctx, const ForwardBatch& batch,
                        std::span<const AttentionSequence> sequences, const RopeRows& rope,
                        KvCache& cache, ConstMatrix x, Matrix out) const {
  const int64_t tokens = batch.tokens();
  const Workspace::Position mark = ctx.workspace.Mark();
  Matrix q = ctx.workspace.GetMatrix(tokens, params_.heads * head_dim_);
  Matrix k = ctx.workspace.GetMatrix(tokens, kv_heads_ * head_dim_);
  Matrix v = ctx.workspace.GetMatrix(tokens, kv_heads_ * head_dim_);
  Gemm(ctx.pool, x, q_, q_bias_, ctx.workspace, q);
  Gemm(ctx.pool, x, k_, k_bias_, ctx.workspace, k);
  Gemm(ctx.pool, x, v_, v_bias_, ctx.workspace, v);
  if (!q_norm_.empty()) {
    HeadRmsNorm(ctx.pool, head_dim_, q_norm_, norm_eps_, q);
    HeadRmsNorm(ctx.pool, head_dim_, k_norm_, norm_eps_, k);
  }
  ApplyRope(ctx.pool, rope.cos, rope.sin, head_dim_, q);
  ApplyRope(ctx.pool, rope.cos, rope.sin, head_dim_, k);
  StoreKv(ctx.pool, params_.layer, sequences, k, v, cache);
  Matrix attended = ctx.workspace.GetMatrix(tokens, params_.heads * head_dim_);
  PagedAttention(ctx.pool, params_, sequences, q, cache, ctx.workspace, attended);
  Gemm(ctx.pool, attended, o_, o_bias_, ctx.workspace, out);
  ctx.workspace.Release(mark);
}

}  // namespace folkmoot
