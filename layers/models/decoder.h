// SPDX-License-Identifier: Apache-2.0
// The decoder stack that Llama, Qwen, Mixtral and their kin share: pre-norm blocks of attention and
// a feed-forward network, dense or mixture of experts.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "layers/dense_ffn.h"
#include "layers/models/family.h"
#include "layers/models/model.h"
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
  const GateConfig& gate_config() const override { return gate_config_; }
  int64_t moe_layers() const override { return moe_layers_; }
  uint64_t placement_version() const override { return placement_version_; }
  absl::StatusOr<std::shared_ptr<const Gate>> GateFor(const std::string& overrides) override;
  absl::StatusOr<Matrix> Forward(LayerContext& ctx, const ForwardBatch& batch,
                                 KvCache& cache) override;

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
  RopeRows FillRope(LayerContext& ctx, const ForwardBatch& batch) const;
  Matrix Logits(LayerContext& ctx, const ForwardBatch& batch, ConstMatrix normed) const;

  ModelConfig config_;
  GateConfig gate_config_;
  int64_t moe_layers_ = 0;
  Rope rope_;
  uint64_t placement_version_ = 0;
  std::shared_ptr<const Gate> gate_;
  std::map<std::string, std::shared_ptr<const Gate>> other_gates_;  // by overrides
  std::unique_ptr<Dispatcher> dispatcher_;
  WeightView embedding_;  // read in place
  std::vector<Block> blocks_;
  std::vector<float> final_norm_;
  PackedMatrix head_;  // [V, H]
  std::vector<AttentionSequence> attention_sequences_;
};

}  // namespace folkmoot
