// SPDX-License-Identifier: Apache-2.0
// The decoder stack that all families without an encoder share: blocks of attention and a
// feed-forward network, dense, mixture of experts, or both, with norms before, behind, or both.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "layers/dense_ffn.h"
#include "layers/hyper_connection.h"
#include "layers/learned_residual.h"
#include "layers/message_gate.h"
#include "layers/models/family.h"
#include "layers/models/layer_inputs.h"
#include "layers/models/model.h"
#include "layers/models/model_gates.h"
#include "layers/models/ngram_inputs.h"
#include "layers/moe_layer.h"
#include "layers/norm.h"
#include "layers/residual_convolution.h"
#include "runtime/rope.h"

namespace folkmoot {

class DecoderModel : public Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Load(const Family& family,
                                                     const ModelConfig& config,
                                                     const ModelOptions& options,
                                                     WeightLoader& loader,
                                                     const ExpertPlacement& placement,
                                                     Communicator& experts, ThreadPool& pool);
  // Asks `loader` for all that Load would, as rank `rank` of `ranks` that share every matrix.
  static absl::Status List(const ModelConfig& config, WeightLoader& loader,
                           const ExpertPlacement& placement, int expert_rank, int rank, int ranks);

  const ModelConfig& config() const override { return config_; }
  const GateConfig& gate_config() const override { return gates_.base(); }
  int64_t moe_layers() const override { return moe_layers_; }
  uint64_t placement_version() const override { return placement_version_; }
  absl::StatusOr<std::shared_ptr<const Gate>> GateFor(const std::string& overrides) override {
    return gates_.For(overrides);
  }
  int64_t CacheBytesPerBlock(int64_t block_size) const override;
  int64_t CacheBytesPerSlot() const override;
  absl::StatusOr<CacheRoom> CacheMemory() const override;
  absl::Status MakeCache(const CachePages& pages) override;
  CachePages cache_pages() const override;
  void CopyState(ThreadPool& pool, int64_t from, int64_t to) override;
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, const ForwardBatch& batch) override;
  bool KeepsHidden() const override { return true; }
  ConstMatrix hidden() const override { return hidden_; }

 private:
  // Of LayerConfig::beside: of what the dense network gives, what experts read and give, and what
  // the router reads.
  struct ExpertNorms {
    Norm dense_post, experts, experts_post, router;
  };
  struct Block {
    Norm input_norm;
    Norm ffn_norm;
    std::optional<Norm> attention_post_norm;  // of what attention gives, before it is added
    std::optional<Norm> ffn_post_norm;
    // Of what they give, in place of these norms: ModelConfig::residual_convolutions.
    std::optional<ResidualConvolution> attention_convolution, ffn_convolution;
    std::unique_ptr<Attention> attention;  // null: the block is an FFN alone, Mixer::kNone
    // One of dense and moe, or both: LayerConfig::shortcut, beside. None: LayerConfig::ffn.
    std::optional<DenseFfn> dense;
    std::optional<MoeLayer> moe;
    std::optional<ExpertNorms> beside;
    // ModelConfig::hyper: around attention, and around the FFN.
    std::optional<HyperConnection> attention_streams, ffn_streams;
    std::optional<NgramInputs> ngrams;  // LayerConfig::ngrams: join the streams before both
    // ResidualConfig::learned: of what attention gives, and of what the FFN gives.
    std::optional<LearnedResidual> attention_residual, ffn_residual;
    // ResidualConfig::sum_layers: queries of mixtures, and norms of what keys and values are made
    // of where it is not what queries are made of.
    std::vector<float> attention_query, ffn_query;
    std::optional<Norm> k_input_norm, v_input_norm;
    std::optional<MessageGates> messages;  // of LoopConfig
    // What happens to the stream behind them.
    std::optional<LayerInput> input;
    float scalar = 1.0f;

    bool feeds() const { return dense || moe; }
    bool ends() const { return input || scalar != 1.0f; }
  };
  // Of one step, [T, H] each: the residual stream, what the next part reads, and what joins later
  // (LayerConfig::shortcut); what LayerInputs made; and what routers hand on (RouterNetwork).
  struct Stream {
    Matrix hidden, normed, shortcut, inputs, carried;
  };

  // ResidualConfig::sum_layers, of one step: sums [T, n * H], of which so many have begun.
  class Sums {
   public:
    Sums(Matrix room, int64_t hidden) : room_(room), hidden_(hidden) {}
    int64_t count() const { return count_; }
    Matrix all() const { return Behind(0); }
    Matrix last() const { return Behind(count_ - 1); }
    // But for the first ones.
    Matrix Behind(int64_t first) const {
      return room_.Columns(first * hidden_, (count_ - first) * hidden_);
    }
    void Begin(ConstMatrix rows);  // one more, out of these
    void CutTo(int64_t count) { count_ = count; }

   private:
    Matrix room_;
    int64_t hidden_;
    int64_t count_ = 0;
  };
  // Of one layer with weights of its own: as which of all layers it runs, and, where it runs again,
  // the sums that the pass before left.
  struct LayerRun {
    int64_t index = 0;
    int64_t place = 0;
    Matrix left = {};  // [T, n * H]; empty: it does not
  };

  DecoderModel(const ModelConfig& config, const ModelOptions& options);
  absl::Status LoadLayers(const Family& family, WeightLoader& loader,
                          const ExpertPlacement& placement, int expert_rank, ThreadPool& pool);
  absl::Status LoadBlock(const LayerNames& names, WeightLoader& loader, int64_t index,
                         const ExpertPlacement& placement, int expert_rank, ThreadPool& pool);
  absl::Status LoadEnds(const EndNames& names, WeightLoader& loader, ThreadPool& pool);
  absl::Status LoadFrequencies(const EndNames& names, WeightLoader& loader);
  absl::Status LoadPostNorms(const LayerNames& names, WeightLoader& loader, int64_t index);
  absl::Status LoadResiduals(const LayerNames& names, WeightLoader& loader, Block& block) const;
  absl::Status LoadConvolutions(const LayerNames& names, WeightLoader& loader, int64_t index);
  absl::Status LoadMixtures(const LayerNames& names, WeightLoader& loader, int64_t index,
                            ThreadPool& pool);
  absl::StatusOr<ExpertNorms> LoadExpertNorms(const LayerNames& names, WeightLoader& loader) const;
  void BindGates(int blocks_per_layer);
  KvCache::Shape CacheShape(const CachePages& pages, int rank) const;
  KvCache::Shape IndexShape(const CachePages& pages) const;
  RowPages::Shape RowShape(const CachePages& pages) const;
  absl::Status MakeColumns(const ModelOptions& options);
  AttentionStep StepOf(LayerContext& ctx, const ForwardBatch& batch);
  std::span<const float> Temperatures(LayerContext& ctx, const ForwardBatch& batch) const;
  static std::span<const float> LogPositions(LayerContext& ctx, const ForwardBatch& batch);
  const ChosenKeys* RoomForChosen(LayerContext& ctx, const ForwardBatch& batch);
  void LookBesidePrompts(LayerContext& ctx, const ForwardBatch& batch, AttentionStep& step);
  static RopeRows FillRope(LayerContext& ctx, const ForwardBatch& batch, const Rope& rope);
  // Of what the first part of block `index` reads, or, behind the last block, the head.
  const Norm& NormBefore(size_t index) const;
  Stream Embed(LayerContext& ctx, const ForwardBatch& batch) const;
  // All blocks and the final norm, whose result is stream.normed: with one residual stream, with
  // several (decoder_streams.cc), or with one that is cut into sums (decoder_sums.cc).
  absl::Status RunBlocks(LayerContext& ctx, const ForwardBatch& batch, const AttentionStep& step,
                         const Stream& stream);
  absl::Status RunStreams(LayerContext& ctx, const ForwardBatch& batch, const AttentionStep& step,
                          const Stream& stream);
  absl::Status RunSums(LayerContext& ctx, const ForwardBatch& batch, const AttentionStep& step,
                       const Stream& stream);
  absl::Status RunLayer(LayerContext& ctx, const ForwardBatch& batch, const AttentionStep& step,
                        const LayerRun& run, const Stream& stream, Sums& sums);
  absl::Status RunLoop(LayerContext& ctx, const ForwardBatch& batch, const AttentionStep& step,
                       const Stream& stream, Sums& sums);
  void ReadSums(LayerContext& ctx, const Block& block, const Sums& sums, ConstMatrix messages,
                Matrix normed, AttentionStep& step) const;
  // The stream takes up what a part gave, and `next`, the norm of what the next part reads, is
  // applied.
  void Join(LayerContext& ctx, ConstMatrix output, const ResidualFactors& factors, const Norm& next,
            const Stream& stream) const;
  // The output of the FFN of block `index`; the shortcut gets what joins later.
  absl::StatusOr<Matrix> Feed(LayerContext& ctx, const ForwardBatch& batch, size_t index,
                              const Stream& stream);
  // Of a dense network and experts beside it.
  absl::StatusOr<Matrix> FeedBoth(LayerContext& ctx, const ForwardBatch& batch, size_t index,
                                  const Stream& stream);
  void End(LayerContext& ctx, size_t index, const Stream& stream) const;
  // Of this rank's columns of the logits.
  void ForbidUnscored(Matrix mine) const;
  absl::StatusOr<Matrix> Logits(LayerContext& ctx, const ForwardBatch& batch,
                                ConstMatrix normed) const;

  ModelConfig config_;
  DType cache_dtype_;
  ModelGates gates_;
  int64_t moe_layers_ = 0;
  int ranks_ = 1;  // that have a cache
  Rope rope_;
  std::optional<Rope> local_rope_;
  int64_t output_window_ = 0;  // ModelConfig::output_window
  std::unique_ptr<ColumnExchange> columns_;
  ColumnSplit vocab_;  // columns of the logits
  uint64_t placement_version_ = 0;
  std::unique_ptr<Dispatcher> dispatcher_;
  RowTable embedding_;
  std::optional<RowScale> embedding_scale_;  // ResidualConfig::learned
  std::optional<Norm> embedding_norm_;
  std::optional<LayerInputs> inputs_;
  std::vector<Block> blocks_;
  std::optional<HyperHead> streams_head_;  // ModelConfig::hyper
  std::vector<float> final_query_;         // [H]; ResidualConfig::sum_layers
  Norm final_norm_;
  PackedMatrix head_;             // [V of this rank, H]
  std::vector<float> head_bias_;  // [V of this rank] or empty
  std::optional<KvCache> cache_;
  std::optional<KvCache> index_keys_;          // of IndexerConfig, where tokens have them
  ChosenKeys chosen_;                          // of a step, in its workspace
  std::optional<RowPages> rows_;               // of Mixer::kCompressed, or of pools of an indexer
  std::optional<RecurrentState> state_;        // of layers that have one
  int64_t slots_ = 0;                          // of state_ that are no snapshots
  std::optional<RecurrentState> ngram_state_;  // likewise
  std::vector<AttentionSequence> attention_sequences_;
  std::vector<AttentionSequence> beyond_window_, within_window_;  // of AttentionStep
  ConstMatrix hidden_;  // of the last Forward, in its workspace
};

}  // namespace folkmoot
