// SPDX-License-Identifier: Apache-2.0
// A language model on one rank: this rank's dense weights (a full copy) and its share of the
// experts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "layers/forward_batch.h"
#include "layers/gates/gate.h"
#include "layers/gates/gate_config.h"
#include "layers/layer_context.h"
#include "layers/weight_loader.h"
#include "parallel/dispatcher.h"
#include "parallel/expert_placement.h"
#include "runtime/model_config.h"

namespace folkmoot {

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const GateConfig& gate_config() const = 0;
  virtual int64_t moe_layers() const = 0;
  // Of the experts: the same number on ranks that hold the same placement.
  virtual uint64_t placement_version() const = 0;

  // The model's own gate for "" (null when it has no MoE layers), or one changed for some requests
  // by OverrideGate, made when it is first asked for. Not thread-safe.
  virtual absl::StatusOr<std::shared_ptr<const Gate>> GateFor(const std::string& overrides) = 0;

  // Computes the batch and writes the logits of batch.logit_rows to a matrix [rows, V] of
  // ctx.workspace, which the call resets first. Collective over ctx.experts, also for an empty
  // batch. `cache` has config().layers.size() layers. Allocates nothing once warm.
  virtual absl::StatusOr<Matrix> Forward(LayerContext& ctx, const ForwardBatch& batch,
                                         KvCache& cache) = 0;
};

struct ModelOptions {
  GateConfig gate;  // DefaultGate(config) with the user's overrides
  DispatcherKind dispatcher = DispatcherKind::kAuto;
};

// The gate that the model was trained with, as its family and config.json say.
absl::StatusOr<GateConfig> DefaultGate(const ModelConfig& config);

// `base`, the gate that a model runs with, changed for some requests: "top_k=1,capacity=ceil_k".
// What the weights are bound to (experts, shared expert, where the weight is applied) must stay.
absl::StatusOr<GateConfig> OverrideGate(const ModelConfig& config, const GateConfig& base,
                                        std::string_view overrides);

// May requests share keys and values of equal prefixes? Not when routing depends on more than the
// prefix, nor when rotary angles depend on how long the prompt is.
bool PrefixCacheable(const ModelConfig& config, const GateConfig& gate);

// Loads this rank's part. `experts` and `placement` must outlive the model; the loader's checkpoint
// too, since embedding tables are read in place. Errors name tensor and file.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const ModelConfig& config,
                                                 const ModelOptions& options, WeightLoader& loader,
                                                 const ExpertPlacement& placement,
                                                 Communicator& experts, ThreadPool& pool);

// Bytes of weights that this rank will read, for a progress bar; from shapes alone.
int64_t BytesToLoad(const ModelConfig& config, const ExpertPlacement& placement, int rank,
                    DType dtype);

}  // namespace folkmoot
