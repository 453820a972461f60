// SPDX-License-Identifier: Apache-2.0
// Two stacks: an encoder reads the source, both ways and once, and every layer of a decoder attends
// to what it gave (T5, NLLB).
//
// A sequence is its source and then what the decoder reads and writes. In the pages of a decoder
// layer the positions of the source hold the keys and values that its cross-attention sees, those
// behind them its own. So a sequence needs nothing that other sequences do not have.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "layers/attention.h"
#include "layers/cross_attention.h"
#include "layers/dense_ffn.h"
#include "layers/models/family.h"
#include "layers/models/model.h"
#include "layers/models/model_gates.h"
#include "layers/moe_layer.h"
#include "layers/norm.h"

namespace folkmoot {

class EncoderDecoderModel : public Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Load(const Family& family,
                                                     const ModelConfig& config,
                                                     const ModelOptions& options,
                                                     WeightLoader& loader,
                                                     const ExpertPlacement& placement,
                                                     Communicator& experts, ThreadPool& pool);
  // Asks `loader` for all that Load would.
  static absl::Status List(const ModelConfig& config, WeightLoader& loader,
                           const ExpertPlacement& placement, int expert_rank);

  const ModelConfig& config() const override { return config_; }
  const GateConfig& gate_config() const override { return gates_.base(); }
  int64_t moe_layers() const override { return moe_layers_; }
  uint64_t placement_version() const override { return placement_version_; }
  absl::StatusOr<std::shared_ptr<const Gate>> GateFor(const std::string& overrides) override {
    return gates_.For(overrides);
  }
  int64_t CacheBytesPerBlock(int64_t block_size) const override;
  absl::StatusOr<CacheRoom> CacheMemory() const override;
  absl::Status MakeCache(const CachePages& pages) override;
  CachePages cache_pages() const override;
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, const ForwardBatch& batch) override;

 private:
  struct Block {
    Norm attention_norm;
    std::unique_ptr<Attention> attention;
    Norm cross_norm;
    std::optional<CrossAttention> cross;  // of the decoder
    Norm ffn_norm;
    std::optional<DenseFfn> dense;  // one of the two
    std::optional<MoeLayer> moe;
  };
  struct Stack {
    ModelConfig config;       // as if it were a model of its own
    int64_t first_layer = 0;  // in the whole model's count
    std::vector<Block> blocks;
    Norm final_norm;
    RowTable embedding;
    std::vector<float> position_bias;  // AttentionParams::position_bias, or empty
  };
  // The rows of a step that one stack computes.
  struct Part {
    ForwardBatch batch;
    std::vector<int32_t> rows;    // where they stand in the whole step
    std::vector<int32_t> places;  // in the source, or behind it; padding does not count
    std::vector<AttentionSequence> attention;
    std::vector<AttentionSequence> cross;  // of the decoder

    void Clear();
  };

  EncoderDecoderModel(const ModelConfig& config, const ModelOptions& options);
  absl::Status LoadStacks(const Family& family, WeightLoader& loader,
                          const ExpertPlacement& placement, int expert_rank, ThreadPool& pool);
  absl::Status LoadBlock(const LayerNames& names, WeightLoader& loader, int64_t index,
                         const ExpertPlacement& placement, int expert_rank, ThreadPool& pool,
                         Stack* stack);
  absl::Status LoadPositionBias(const LayerNames& first, WeightLoader& loader, Stack* stack) const;
  absl::Status LoadEnds(const EndNames& names, WeightLoader& loader, ThreadPool& pool);
  void BindGates(Stack* stack);
  KvCache::Shape CacheShape(const CachePages& pages) const;

  void Divide(const ForwardBatch& batch);
  void AddRows(const ForwardBatch& batch, const BatchSequence& sequence, int64_t begin, int64_t end,
               Part* part) const;
  void PlaceSources();
  // The residual stream's final norm [rows of the part, H]. The observer hears of all `total` rows
  // of the step.
  absl::StatusOr<Matrix> Run(const LayerContext& whole, Stack& stack, const Part& part,
                             int64_t total, KvCache& cache);
  absl::Status RunBlock(LayerContext& ctx, Stack& stack, size_t index, const Part& part,
                        KvCache& cache, Matrix hidden, Matrix normed);
  absl::Status Encode(LayerContext& ctx, int64_t total);
  void Embed(LayerContext& ctx, const Stack& stack, const Part& part, Matrix hidden) const;
  Matrix Logits(LayerContext& ctx, ConstMatrix normed) const;

  ModelConfig config_;
  DType cache_dtype_;
  ModelGates gates_;
  int64_t moe_layers_ = 0;
  int ranks_ = 1;  // that have a cache
  std::unique_ptr<ColumnExchange> columns_;
  uint64_t placement_version_ = 0;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::vector<float> frequencies_;  // of sinusoidal positions, or empty
  Stack encoder_, decoder_;
  PackedMatrix head_;  // [V, H]
  std::optional<KvCache> cache_;
  // Keys and values of one encoder layer after the other, of the sources of one step.
  std::optional<KvCache> scratch_;
  std::vector<int32_t> scratch_blocks_;
  Part sources_, targets_;
};

}  // namespace folkmoot
