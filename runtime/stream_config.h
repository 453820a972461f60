// SPDX-License-Identifier: Apache-2.0
// Of ModelConfig (model_config.h): a residual of several streams, the n-grams that join them, and
// layers that run more than once.
#pragma once

#include <cstdint>

namespace folkmoot {

// Manifold-constrained hyper-connections (mHC, arXiv 2512.24880): the residual is `streams` of them
// side by side, which each part of a layer reads and writes as learned mixtures
// (layers/hyper_connection.h).
struct HyperConfig {
  int64_t streams = 0;  // 0: the residual is one, and nothing mixes it
  // Each stream goes on as it is, and none reads another; eps belongs to what parts leave in it,
  // too (Hunyuan 4).
  bool independent = false;
  int64_t iterations = 0;  // where they are not
  double magnitude = 2.0;  // of the sigmoids by which a stream takes what parts leave
  double eps = 1e-6;
  bool mean_head = false;  // behind the last layer they become their mean (GLM-5.3-Flash)
  // Each number of each stream is gated by a network of so many hidden numbers, and parts read the
  // mean (Qwen4-Exp; layers/stream_gate.h); 0: none is.
  int64_t gate_rank = 0;
};

// Embeddings of the n-grams that end at a token, 2 to `size` tokens long (Qwen4-Exp;
// layers/models/ngram_inputs.h). Each of `heads` hashes of each length reads a row of its own part
// of a table; all rows of a token side by side are `width` numbers.
struct NgramConfig {
  int64_t size = 0;  // 0: the model has none
  int64_t heads = 0;
  int64_t width = 0;
  int64_t kernel = 0;     // rows that the convolution behind them sees, `size` apart
  int64_t least = 0;      // rows of a hash's part; it has the next prime that no other has
  int64_t multiple = 1;   // the table is padded to one
  int64_t parts = 1;      // tensors that the table is stored in
  int64_t seed = 0;       // of the hashes
  int32_t boundary = -1;  // token that no n-gram goes across, and that stands before the first

  int64_t hashes() const { return (size - 1) * heads; }
};

// Layers first .. end run `passes` times, each time from what was there before them, with keys,
// values and states of their own. From the second time on what their parts read takes up messages
// of the pass before, by gates of so many hidden numbers (Inkling 2 Loop; layers/message_gate.h).
struct LoopConfig {
  int64_t first = 0;
  int64_t end = 0;
  int64_t passes = 1;
  int64_t gate_rank = 0;

  int64_t layers() const { return end - first; }
  bool has(int64_t layer) const { return layer >= first && layer < end; }
};

}  // namespace folkmoot
