// SPDX-License-Identifier: Apache-2.0
// One configuration space for every published MoE router. The pipeline is always the same
//
//   logits -> scores -> selection -> weigh -> extra slots -> capacity -> overflow -> scale
//
// and every knob belongs to one stage; docs/gates.md explains them with their papers. Fields have
// the same names in C++, in JSON and in `--gate KEY=VALUE[,...]`; enumerators are snake_case
// strings there ("before_drop"). The default of every knob is its first value.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// Logits as the router's GEMM leaves them, or rounded to bfloat16 (after router_bias).
enum class RouterDtype : uint8_t { kFp32, kBf16 };
enum class ScoreFn : uint8_t { kSoftmax, kSigmoid, kSqrtSoftplus, kLogits };
enum class SelectOn : uint8_t { kScore, kLogit };
enum class Selection : uint8_t { kLearned, kTokenTable };
// How a group of experts is scored: its best key, the sum of its two best, or the sum of its
// top_k / topk_group best.
enum class GroupScore : uint8_t { kMax, kSumTop2, kSumTopn };
// kSparseMixer (Phi-3.5-MoE): every slot weighs by a softmax of its own, over the logits s that no
// earlier slot has and that are near to its own m: (m - s) / max(|s|, m) is at most 2 mixer_eps.
enum class WeightFrom : uint8_t { kScore, kSoftmaxSelected, kSparseMixer };
enum class Normalize : uint8_t { kNone, kBeforeDrop, kAfterDrop };
enum class NormEpsMode : uint8_t { kAdd, kClamp };
// Whether the choices of slots >= 1 are wanted. kThreshold: g > t. kRandom: u * t < g (GShard).
// kSample: the second expert is drawn from the softmax without the first (Gumbel).
enum class ExtraPolicy : uint8_t { kAll, kNone, kThreshold, kRandom, kSample };
enum class ExtraGate : uint8_t { kNormalized, kRaw };
// Places per expert for a group of S tokens; f = capacity_factor, k = top_k, E = num_experts.
enum class CapacityMode : uint8_t {
  kNone,
  kFixed,       // capacity_fixed
  kFraction,    // ceil(f S)
  kCeilK,       // ceil(k f S / E)
  kFloor,       // floor(f S / E)
  kRound,       // round(f S / E), half to even
  kKCeil,       // k ceil(S / E)
  kKFloorCeil,  // k floor(f ceil(S / E))
  kCeilKDiv,    // floor(ceil(f S) k / E)
  kKDiv,        // max(k, floor(k S / E))
};
// Which tokens share the places: all of a step over all ranks; positions [m n, (m + 1) n) of one
// sequence, n = group_size; all of a step on one rank; a source that an encoder reads, and each
// token of a decoder by itself.
enum class CapacityGroup : uint8_t { kStep, kSequenceChunk, kRank, kSequence };
enum class Priority : uint8_t { kSlotMajor, kTokenMajor, kBatchPrioritized, kWeightDesc, kRandom };
enum class Overflow : uint8_t { kResidual, kPassthrough, kReroute };
enum class ApplyTo : uint8_t { kOutput, kInput };
enum class SharedGate : uint8_t { kNone, kSigmoid, kSoftmax2 };
// What zero experts give for x: x, or nothing.
enum class ZeroOutput : uint8_t { kIdentity, kNothing };
// What keys the random draws of a token: a hash of its prefix, or the id of its sequence.
enum class RngScope : uint8_t { kPrefix, kSequenceId };

constexpr int kMaxSharedSinks = 16;

// What the routing of a token may depend on besides its own prefix; see GateConfig::invariance().
enum class InvarianceClass : uint8_t {
  kDropless,             // nothing
  kDroplessRandom,       // nothing: draws are keyed, not taken from a stream of numbers
  kSequenceChunkCausal,  // nothing: counters travel with the sequence
  kSequenceChunk,        // how its prefill was cut
  kSequence,             // its whole source, which is computed in one piece
  kStep,                 // the other tokens of the step
  kRank,                 // the number of ranks too
};
struct Invariance {
  InvarianceClass kind = InvarianceClass::kDropless;
  // Does the output of a request stay the same when this changes?
  bool rank_count = true;
  bool batch_mates = true;
  bool prefill_split = true;
};
std::string_view Name(InvarianceClass kind);

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): ordered by meaning; one per model
struct GateConfig {
  // Required: 0 is invalid.
  int num_experts = 0;
  int top_k = 0;

  // Logits and scores.
  RouterDtype router_dtype = RouterDtype::kFp32;
  std::vector<float> router_bias;  // [E] or empty; added to the logits (gpt-oss)
  ScoreFn score_fn = ScoreFn::kSoftmax;

  // Selection: equal keys go to the lower expert id.
  SelectOn select_on = SelectOn::kScore;
  std::vector<float> selection_bias;  // [E] or empty; added to the key only (DeepSeek-V3)
  Selection selection = Selection::kLearned;
  std::vector<int32_t> token_table;  // [V, top_k] expert ids by token id (DeepSeek-V4)
  int n_group = 1;                   // groups of experts, contiguous and of equal size
  int topk_group = 1;
  GroupScore group_score = GroupScore::kMax;
  double group_fill = -std::numeric_limits<double>::infinity();  // key of unselected groups

  // Weigh. The sum runs over all selected slots (before_drop) or the surviving ones (after_drop);
  // a sum of 0 gives weight 0.
  WeightFrom weight_from = WeightFrom::kScore;
  double mixer_eps = 0.01;
  Normalize normalize = Normalize::kNone;
  double norm_eps = 0.0;
  NormEpsMode norm_eps_mode = NormEpsMode::kAdd;  // sum + eps, or max(sum, eps)

  // Extra slots (>= 1).
  ExtraPolicy extra_policy = ExtraPolicy::kAll;
  double extra_threshold = 0.5;
  ExtraGate extra_gate = ExtraGate::kNormalized;
  bool rejected_consumes = false;  // a rejected choice still takes a place (GShard, Algorithm 1)

  // Capacity.
  CapacityMode capacity = CapacityMode::kNone;
  double capacity_factor = 1.0;
  int64_t capacity_fixed = 0;
  int64_t min_capacity = 0;
  int64_t capacity_multiple = 1;
  CapacityGroup group = CapacityGroup::kStep;
  int64_t group_size = 64;  // n of sequence_chunk, in positions
  Priority priority = Priority::kSlotMajor;

  Overflow overflow = Overflow::kResidual;
  double scale = 1.0;  // after normalisation
  ApplyTo apply_to = ApplyTo::kOutput;
  bool shared = false;
  SharedGate shared_gate = SharedGate::kNone;
  // Outputs of the router behind those of the experts: of so many shared experts, which every token
  // has. Their scores are part of the sum that weights are divided by, and weigh them (Inkling).
  int shared_sinks = 0;
  int zero_experts = 0;  // the last ids: experts without weights
  // kNothing: a token that chooses one skips the experts, and the slot weighs 0 (ZAYA1).
  ZeroOutput zero_output = ZeroOutput::kIdentity;

  uint64_t seed = 0;
  RngScope rng_scope = RngScope::kPrefix;

  // Everything that can be wrong with the values; names the field, its value and the remedy.
  absl::Status Validate() const;

  // Places per expert for a group of `tokens` real tokens; nullopt = dropless.
  std::optional<int64_t> Capacity(int64_t tokens) const;

  int outputs() const { return num_experts + shared_sinks; }  // of the router
  bool CanDrop() const { return capacity != CapacityMode::kNone; }
  // Does any decision use random draws?
  bool UsesRandom() const;
  // Must GateInput::streams be hashes of token prefixes?
  bool NeedsPrefixStreams() const { return UsesRandom() && rng_scope == RngScope::kPrefix; }
  // Must GateSequence::taken be kept between steps?
  bool NeedsChunkCounters() const { return CanDrop() && group == CapacityGroup::kSequenceChunk; }
  Invariance invariance() const;
  // Does a row have the same values whatever other rows are in its step? Then several tokens may be
  // computed at once that may turn out not to be the right ones.
  bool CanSpeculate() const;
  // Does a token's routing depend on its prefix alone? Then keys and values computed for one
  // request are those of any other that begins with the same tokens.
  bool PrefixCacheable() const;

  bool operator==(const GateConfig&) const = default;
};

// Reads {"preset": NAME, ...overrides} or plain fields. Unknown fields and wrong types are errors.
// `num_experts` is used where the text names none; 0 leaves a preset at its published number. The
// result is not validated: it may still be incomplete.
absl::StatusOr<GateConfig> ParseGateConfig(std::string_view json, int num_experts = 0);

// Applies "top_k=2,extra_policy=random,capacity=ceil_k". The first item may be the name of a preset
// ("switch,capacity_factor=2" or "preset=switch,..."), which replaces everything but num_experts.
// Lists are written in brackets: "selection_bias=[0,0.1]". On error *config is unchanged.
absl::Status ApplyOverrides(std::string_view overrides, GateConfig* config);

// One JSON object with every field, on one line. ParseGateConfig(ToJson(c)) == c.
std::string ToJson(const GateConfig& config);

}  // namespace folkmoot
