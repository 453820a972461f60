// SPDX-License-Identifier: Apache-2.0
// The decoder stack that Llama, Qwen, Mixtral and their kin share: pre-norm blocks of attention and
// a feed-forward network, dense or mixture of experts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "layers/dense_ffn.h"
#include "layers/models/family.h"
#include "layers/models/model.h"
#include "layers/models/model_gates.h"
#include "layers/moe_layer.h"
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
    std::vector<float> input_norm;  // [H]
    std::vector<float> ffn_norm;    // [H]
    std::optional<Attention> attention;
    std::optional<DenseFfn> dense;  // exactly one of dense and moe
    std::optional<MoeLayer> moe;
  };

  DecoderModel(const ModelConfig& config, const ModelOptions& options);
  absl::Status LoadBlock(const Family& family, WeightLoader& loader, int64_t index,
                         const ExpertPlacement& placement, int rank, ThreadPool& pool);
  absl::Status LoadEnds(WeightLoader& loader, ThreadPool& pool);
  // Of a rank that holds `kv_heads` heads.
  KvCache::Shape CacheShape(const CachePages& pages, int64_t kv_heads) const;
  absl::Status MakeColumns(const ModelOptions& options);
  RopeRows FillRope(LayerContext& ctx, const ForwardBatch& batch) const;
  absl::StatusOr<Matrix> Logits(LayerContext& ctx, const ForwardBatch& batch,
                                ConstMatrix normed) const;

  ModelConfig config_;
  DType cache_dtype_;
  ModelGates gates_;
  int64_t moe_layers_ = 0;
  int ranks_ = 1;  // that have a cache
  Rope rope_;
  std::unique_ptr<ColumnExchange> columns_;
  ColumnSplit vocab_;  // columns of the logits
  uint64_t placement_version_ = 0;
  std::unique_ptr<Dispatcher> dispatcher_;
  RowTable embedding_;
  std::vector<Block> blocks_;
  std::vector<float> final_norm_;
  PackedMatrix head_;  // [V of this rank, H]
  std::optional<KvCache> cache_;
  std::vector<AttentionSequence> attention_sequences_;
};

}  // namespace folkmoot
