// SPDX-License-Identifier: Apache-2.0
// A language model on one rank: this rank's dense weights (a full copy) and its share of the
// experts; or, tensor-parallel, its share of every matrix.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "layers/forward_batch.h"
#include "layers/gates/gate.h"
#include "layers/gates/gate_config.h"
#include "layers/layer_context.h"
#include "layers/weight_loader.h"
#include "parallel/column_exchange.h"
#include "parallel/dispatcher.h"
#include "parallel/expert_placement.h"
#include "runtime/model_config.h"

namespace folkmoot {

struct NcclApi;

// Pages of keys and values on one rank: `blocks` of them, each for block_size positions of one
// sequence in all layers. Where a model has recurrent state: `slots`, each for that of one
// sequence, and `snapshots` of such, for sequences that go on behind cached pages.
struct CachePages {
  int64_t blocks = 0;
  int64_t block_size = 0;
  int64_t slots = 0;
  int64_t snapshots = 0;
};

// What all pages of a rank may take: what is free now, less what the model will need besides.
struct CacheRoom {
  int64_t bytes = 0;
  bool lazy = false;  // memory is taken as it is used: a limit that one sequence may exceed
};

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

  virtual int64_t CacheBytesPerBlock(int64_t block_size) const = 0;
  // Of the recurrent state that a sequence has beside its pages; 0: none.
  virtual int64_t CacheBytesPerSlot() const { return 0; }
  virtual absl::StatusOr<CacheRoom> CacheMemory() const = 0;
  // Makes the pages and slots that Forward reads and writes. Once, before the first Forward; once
  // more empties them. ResourceExhausted when there is not enough memory.
  virtual absl::Status MakeCache(const CachePages& pages) = 0;
  virtual CachePages cache_pages() const = 0;
  // Copies the recurrent state of a slot to another. Snapshots come behind the slots.
  virtual void CopyState(ThreadPool&, int64_t /*from*/, int64_t /*to*/) {}

  // Computes the batch and returns the logits of batch.logit_rows, a matrix [rows, V] that is valid
  // until the next call. Resets ctx.workspace first. Collective over ctx.experts, also for an empty
  // batch. Allocates nothing once warm.
  virtual absl::StatusOr<Matrix> Forward(LayerContext& ctx, const ForwardBatch& batch) = 0;

  // Does Forward choose the tokens that batch.choices asks for? Then chosen() has one per logit
  // row, valid until the next Forward, and where every row was asked for, Forward returns no
  // logits.
  virtual bool ChoosesTokens() const { return false; }
  virtual std::span<const ChosenToken> chosen() const { return {}; }

  // Can hidden() be asked for? It is the residual stream of each row of the last Forward after the
  // final norm, [rows, H], valid until the next Forward.
  virtual bool KeepsHidden() const { return false; }
  virtual ConstMatrix hidden() const { return {}; }
};

// The largest step that the engine will ask for on one rank.
struct StepLimits {
  int64_t rows = 0;  // tokens
  int64_t sequences = 0;
  int64_t length = 0;  // of a sequence, the step's rows included
};

// Only read by models on a GPU.
struct GpuOptions {
  int device = 0;
  double memory_utilization = 0.9;  // the part of the GPU's memory that may be taken in all
  bool batch_invariant = false;     // a row's bits never depend on its batch
  bool wgmma_attention = false;     // cuda::AttentionShape::policy may be kFastest
  bool record = true;               // replay decode steps as graphs
  bool allow_shared = false;        // several ranks on one GPU
  const NcclApi* nccl = nullptr;    // in place of the library that is loaded: for tests
};

// Tensor parallelism: ranks that compute the same tokens, each some outputs of every matrix.
struct TensorOptions {
  Communicator* ranks = nullptr;  // null: none
  ColumnsKind exchange = ColumnsKind::kAuto;
  bool spin = false;  // every compute thread of this host has a core of its own
};

struct ModelOptions {
  GateConfig gate;  // DefaultGate(config) with the user's overrides
  DispatcherKind dispatcher = DispatcherKind::kAuto;
  DType cache_dtype = DType::kF32;  // of keys and values on the CPU: see KvCache
  StepLimits limits;                // only read by models whose buffers have a fixed size
  GpuOptions gpu;
  TensorOptions tensor;  // not on GPUs
};

// The gate that the model was trained with, as its family and config.json say.
absl::StatusOr<GateConfig> DefaultGate(const ModelConfig& config);

// `base`, the gate that a model runs with, changed for some requests: "top_k=1,capacity=ceil_k".
// What the weights are bound to (experts, shared expert, where the weight is applied) must stay.
absl::StatusOr<GateConfig> OverrideGate(const ModelConfig& config, const GateConfig& base,
                                        std::string_view overrides);

// May requests share keys and values of equal prefixes? Not when routing depends on more than the
// prefix, when rotary angles depend on how long the prompt is, nor when layers have recurrent
// state.
bool PrefixCacheable(const ModelConfig& config, const GateConfig& gate);

// What of a model has no kernels on GPUs ("clipped q, k and v"); empty: nothing.
std::string_view WhyCpuOnly(const ModelConfig& config);

// What users call layers with such a state: "linear attention".
std::string_view RecurrenceName(Recurrence kind);

// Of the recurrent state of a sequence, where one rank has all heads; 0: it has none.
int64_t StateBytesPerSequence(const ModelConfig& config);

// Why guesses for its tokens cannot be verified, or taken back; empty: they can.
std::string_view WhyNotSpeculative(const ModelConfig& config);

// Why no rank can hold a part of every matrix; empty: it can.
std::string_view WhyNotTensorParallel(const ModelConfig& config);

// Loads this rank's part. `experts`, `placement` and options.tensor.ranks must outlive the model;
// the loader's checkpoint too, since embedding tables are read in place. Under tensor parallelism
// `experts` is a group of one rank and Forward is collective over options.tensor.ranks. Errors name
// tensor and file.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const ModelConfig& config,
                                                 const ModelOptions& options, WeightLoader& loader,
                                                 const ExpertPlacement& placement,
                                                 Communicator& experts, ThreadPool& pool);

}  // namespace folkmoot
