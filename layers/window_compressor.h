// SPDX-License-Identifier: Apache-2.0
// Makes one row of every window of tokens (runtime/ops/window_pooling.h): values and gates are
// products of the hidden state; a closed window's entry is normalised by RMSNorm, and its last
// numbers turn as those of the window's first token would. DeepSeek-V4 has one for the keys and
// values of a layer and, where an indexer chooses among these, a smaller one for the indexer's
// keys. The keys of Qwen4-Exp's indexers are the means of their windows, and their first numbers
// turn.
//
// Every rank that shares matrices has all of it, as it has all rows.
#pragma once

#include <optional>
#include <vector>

#include "layers/attention.h"
#include "runtime/ops/window_pooling.h"
#include "runtime/rope.h"

namespace folkmoot {

class WindowCompressor {
 public:
  // Tracks of one compressor among those of the model's RowPages: what open windows have taken up,
  // and the entries.
  struct Tracks {
    int64_t windows = 0;
    int64_t entries = 0;
  };
  WindowCompressor() = default;
  // Entries of `width` numbers.
  static absl::StatusOr<WindowCompressor> Load(ThreadPool& pool, WeightLoader& loader,
                                               const ModelConfig& config, const LayerConfig& layer,
                                               const CompressorNames& names, int64_t width,
                                               const Tracks& tracks);
  // Means of the outputs of `values`, IndexerConfig::pool tokens each.
  static absl::StatusOr<WindowCompressor> LoadMeans(ThreadPool& pool, WeightLoader& loader,
                                                    const ModelConfig& config,
                                                    const TensorRef& values,
                                                    const std::string& norm, const Tracks& tracks);

  // Takes up this step's tokens, x [T, H], and stores the entries of the windows that they close.
  void Take(LayerContext& ctx, const AttentionStep& step, ConstMatrix x) const;

 private:
  // [entries of this step, width]: cos and sin of their windows' first tokens.
  RopeRows Angles(LayerContext& ctx, std::span<const AttentionSequence> sequences,
                  int64_t entries) const;

  int64_t rate_ = 0;
  int64_t width_ = 0;
  bool overlapping_ = false;
  RotaryPart rotary_;
  Tracks tracks_;
  float norm_eps_ = 0;
  std::optional<Rope> rope_;
  // [columns, H] of values, and of gates, unless all tokens of a window count alike.
  std::vector<PackedMatrix> projections_;
  bool gated_ = true;
  std::vector<float> bias_;  // [rate, columns]
  std::vector<float> norm_;  // [width]
};

}  // namespace folkmoot
