// SPDX-License-Identifier: Apache-2.0
// Of ModelConfig (model_config.h): what mixes the tokens of its layers, attention of all kinds and
// what has a state in its place.
#pragma once

#include <cstdint>

#include "runtime/ops/gemm.h"

namespace folkmoot {

// Multi-head latent attention (DeepSeek-V2, section 2.1): keys and values of a token are made from
// one vector of kv_rank numbers, and all heads share one rotated key.
struct LatentConfig {
  int64_t q_rank = 0;  // 0: q comes from the hidden state in one step
  int64_t kv_rank = 0;
  int64_t nope_dim = 0;  // of q and k per head that do not turn
  int64_t rope_dim = 0;
  int64_t value_dim = 0;
  // Of the norms of low-rank vectors, whatever rms_norm_eps is, where none says else.
  float norm_eps = 1e-6f;
  float q_scale = 1.0f;  // of the normalised low-rank vectors (LongCat)
  float kv_scale = 1.0f;
  // What heads give is multiplied with sigmoids of outputs behind their queries, all of which are
  // made of the low-rank vector after its norm and before it (A.X-K2).
  bool gated = false;
  // The key that all heads share is normalised before it turns (dots3.note).
  bool key_norm = false;
  // Layers without rotation have no shared key: what would turn in others is made by head, too
  // (Mistral Large 4). Else they have what the others have.
  bool whole_without_rope = false;
};

// Sparse attention: a query sees the top_k keys that score best by heads of an indexer, of which as
// many numbers turn as of those of attention (DeepSeek-V3.2; layers/lightning_indexer.h).
struct IndexerConfig {
  int64_t top_k = 0;  // 0: attention is not sparse
  int64_t heads = 0;
  int64_t head_dim = 0;     // also of its one key per token
  bool neighbours = false;  // see RopeConfig
  bool turns_last = false;  // the last numbers of a head turn, not the first (Hunyuan 4)
  // Queries are made of the hidden state, behind a LayerNorm of its own, not of the latent of those
  // of attention (Mistral Large 4).
  bool of_hidden = false;
  float norm_eps = 1e-6f;  // of its norms, whatever rms_norm_eps is, where none says else
  // Each head chooses for one head of keys, and blocks of so many keys, top_k in all, of which the
  // last local_blocks are always some (MiniMax-M3; layers/block_indexer.h). 0: keys one by one.
  int64_t block = 0;
  int64_t local_blocks = 0;
  // So many tokens, one behind the other, have one key, and are chosen together, top_k in all, a
  // multiple; those behind the last full pool are seen beside them (GLM-5.3-Flash). 0: each token
  // has its own. Of attention that is not latent, the mean of theirs alone (Qwen4-Exp;
  // layers/mean_indexer.h).
  int64_t pool = 0;

  // Keys that a query sees at most; one with as many before it sees all.
  int64_t most() const { return pool > 0 ? top_k + pool - 1 : top_k; }
};

// DeepSeek-V4's attention (layers/compressed_attention.h): a token has one row of head_dim numbers,
// key and value of all heads; windows of the past become entries, which are such rows, too
// (LayerConfig::compression). What heads give goes through two matrices, the first of which is one
// for each group of heads.
struct CompressedConfig {
  int64_t q_rank = 0;
  int64_t output_groups = 0;
  int64_t output_rank = 0;  // of a group
  IndexerConfig indexer;    // of layers with overlapping windows
};

// What keeps a state of fixed size per sequence in place of keys and values: linear attention by
// the gated delta rule (Qwen3-Next; runtime/ops/delta_rule.h), the state space of Mamba-2 (Granite
// 4, Nemotron-H; runtime/ops/state_space.h), a convolution of few rows alone (LFM2;
// runtime/ops/short_convolution.h), the selective scan of Mamba (Jamba;
// runtime/ops/selective_scan.h), or linear attention that forgets at a fixed pace (MiniMax-01;
// runtime/ops/lightning_attention.h). Of convolved attention it stands beside them: q and k of all
// layers with Mixer::kAttention go through two convolutions (ZAYA1; layers/convolved_projection.h);
// of residual convolutions, too: k, v, and what attention and FFN give go through one each
// (Inkling; layers/residual_convolution.h).
enum class Recurrence : uint8_t {
  kDeltaRule,
  kStateSpace,
  kShortConvolution,
  kSelectiveScan,
  kLightning,
  kConvolvedAttention,
  kResidualConvolutions
};

struct RecurrentConfig {
  Recurrence kind = Recurrence::kDeltaRule;
  int64_t kernel = 0;       // rows that the causal convolution sees
  int64_t head_kernel = 0;  // of convolved attention: and the second one, within each head
  // A state space has key_heads groups of B and C, and value_heads heads, with a state of key_dim
  // by value_dim numbers each. A short convolution has no heads, a selective scan one of value_dim
  // channels with key_dim numbers each, lightning attention as many of each, of the same size.
  int64_t key_heads = 0;
  int64_t value_heads = 0;
  int64_t key_dim = 0;  // of a head
  int64_t value_dim = 0;
  int64_t step_rank = 0;  // numbers that the steps of a selective scan are made from
  // Residual convolutions divide what they give by the root of the number of terms in it (Inkling
  // 2).
  bool scaled = false;
  bool kernel_bias = false;   // of the convolution
  bool bias = false;          // of the projections in and out
  bool key_decays = false;    // of a delta rule, one for each number of a key (Kimi)
  bool sigmoid_gate = false;  // of the norm behind a delta rule; else silu (Qwen4-Exp)
  // Of their logarithms, which are this times a sigmoid (GLM-5.3-Flash); 0: there is none, and they
  // follow a softplus.
  float decay_bound = 0.0f;
  // Behind the convolution, of which a short one has none, or of q, k and v of lightning attention.
  Activation activation = Activation::kSilu;

  int64_t values() const { return value_heads * value_dim; }
};

// What heads give is multiplied with sigmoids: of a matrix of their own (Trinity), or of outputs
// that stand behind the queries of each head in theirs (Qwen3-Next).
enum class AttentionGate : uint8_t { kNone, kOwn, kBehindQueries };

// q of layers without rotation is multiplied with a number of its position, by
// x = (position + ahead) / floor:
//   kSteps   1 + scale * ln(1 + floor(x)): of those without a window (Llama 4), and of latent
//            attention (Mistral 4)
//   kSmooth  1 + scale * ln(max(1, x)): of those without a window (Inkling)
//   kPower   (1 + x)^scale: of all of them (Beam)
enum class TemperatureRule : uint8_t { kSteps, kSmooth, kPower };
struct TemperatureConfig {
  float scale = 0.0f;  // 0: it is not
  float floor = 1.0f;
  int64_t ahead = 1;
  TemperatureRule rule = TemperatureRule::kSteps;
};

// Attention scores have a term for the distance of the key, which each query mixes out of learned
// profiles over distances below `extent`, or below the window of its layer (Inkling;
// AttentionParams::profiles).
struct RelativeConfig {
  int64_t profiles = 0;  // 0: there is no such term
  int64_t extent = 0;
};

// Attention whose q, k and v come from rows of their own, where the layer has such, and whose heads
// of q and k, and what mixes profiles, are not normalised but made shorter where they are longer
// than this (Inkling 2; layers/clipped_attention.h).
struct ClipConfig {
  float heads = 0.0f;  // 0: attention is of another kind
  float mixes = 0.0f;
};

}  // namespace folkmoot
