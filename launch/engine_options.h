// SPDX-License-Identifier: Apache-2.0
// What every command that runs a model can be told, and the flags for it. Flag names are vLLM's
// where it has one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "launch/fault_flags.h"
#include "layers/models/model.h"
#include "layers/weight_loader.h"
#include "parallel/dispatcher.h"
#include "runtime/dtype.h"
#include "runtime/model_config.h"
#include "runtime/status.h"
#include "scheduler/speculation.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the name that CLI11 has
class App;
}

namespace folkmoot {

struct EngineOptions {
  std::string model;                          // a Hugging Face model directory, or a GGUF file
  std::string device = "auto";                // cpu, cuda, auto
  std::string dtype = "auto";                 // auto: weights as stored
  std::string quantization = "none";          // rounds plain weights to codes while loading
  std::string activation_precision = "full";  // full, reduced: ActivationPrecision
  std::string sum_order = "portable";         // portable, native: SumOrder
  std::string kv_cache_dtype = "auto";
  std::string load_format = "auto";    // dummy: random weights from config.json alone
  std::string gate;                    // overrides of the model's gate: "top_k=1,capacity=ceil_k"
  std::string parallelism = "expert";  // expert, tensor, auto
  std::string placement = "contiguous";
  std::string dispatcher = "auto";
  int threads = 0;            // per rank; 0: cores / ranks of this host
  std::string pin = "auto";   // bind threads to cores: auto (when the launcher bound us), on, off
  int64_t max_model_len = 0;  // 0: as config.json says
  int64_t max_num_seqs = 64;
  int64_t max_num_batched_tokens = 512;
  int64_t prefill_chunk = 0;     // 0: max_num_batched_tokens
  int64_t kv_cache_blocks = 0;   // per rank; 0: as many as max_num_seqs sequences can use
  int64_t state_snapshots = -1;  // per rank, of recurrent state; -1: by memory
  int64_t timeout_ms = 60000;    // of every wait between ranks
  int spares = 0;                // processes of the job that can take the place of dead ranks
  uint64_t dummy_seed = 0;
  // Guesses of the next tokens (scheduler/speculation.h).
  std::optional<int64_t> speculative_tokens;  // unset: 4 when a method or model is given, else 0
  std::string speculative_method;             // ngram, draft; empty: draft when a model is given
  std::string speculative_model;              // a model directory
  int64_t prompt_lookup_min = 2;
  int64_t prompt_lookup_max = 4;
  // On a GPU.
  double gpu_memory_utilization = 0.9;
  bool allow_shared_gpu = false;
  bool batch_invariant = false;
  bool enforce_eager = false;
  bool wgmma_attention = false;
  FaultFlags faults;
  const NcclApi* nccl = nullptr;             // not a flag: what tests use in place of the library
  ColumnsKind columns = ColumnsKind::kAuto;  // not a flag: how tensor-parallel ranks exchange
};

constexpr int64_t kKvBlockSize = 16;

// Adds MODEL and the common flags to a command.
void AddEngineFlags(CLI::App& app, EngineOptions* options);

// The flag for EngineOptions::dispatcher alone.
void AddDispatcherFlag(CLI::App& app, std::string* dispatcher);

// Checks what can be checked without the model; an error is one of usage.
absl::Status CheckEngineOptions(const EngineOptions& options);

// The meaning of the string options. CheckEngineOptions has accepted them.
std::optional<DType> WeightDType(const EngineOptions& options);   // nullopt: as stored
std::optional<uint64_t> DummySeed(const EngineOptions& options);  // nullopt: weights of files
ProductRules RulesOf(const EngineOptions& options);
WeightOptions WeightOptionsOf(const EngineOptions& options);
DType CacheDType(const EngineOptions& options);
DispatcherKind DispatcherOf(const EngineOptions& options);
SpeculationOptions SpeculationOf(const EngineOptions& options);
bool HasDraftModel(const EngineOptions& options);

// The model's published gate with the user's overrides.
absl::StatusOr<GateConfig> GateOf(const EngineOptions& options, const ModelConfig& config);

// With speculation: may tokens be guessed where the model has this gate? Names its class if not.
absl::Status CheckGuessing(const EngineOptions& options, const GateConfig& gate);

// The context: --max-model-len or config.json's, whichever is smaller. An error when the flag
// exceeds the model's.
absl::StatusOr<int64_t> ContextOf(const EngineOptions& options, const ModelConfig& config);

}  // namespace folkmoot
