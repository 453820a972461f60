// SPDX-License-Identifier: Apache-2.0
// What sets one decoder family apart from another: its config.json, its tensor names and its
// published gate. A new family is one file that defines a Family, and one line in
// FOLKMOOT_FAMILIES.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "layers/gates/gate_config.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"
#include "runtime/config_family.h"
#include "runtime/model_config.h"

namespace folkmoot {

// Other names of the same tensors, which some files have: those that Transformers wrote.
struct OtherNames {
  std::string_view tensor;  // that files have by which to know them
  std::string_view layers;
  LayerNames (*layer_names)(const std::string& prefix);
  EndNames (*end_names)();
};

struct Family {
  ConfigFamily config;
  // Names of the tensors of a layer, which begin with `prefix`: `layers`, the layer's number, ".".
  LayerNames (*layer_names)(const std::string& prefix) = UsualLayerNames;
  // In its place where a published layer is several of ours, `blocks_per_layer`.
  LayerNames (*block_names)(const std::string& prefix, int block) = nullptr;
  int blocks_per_layer = 1;
  EndNames (*end_names)() = UsualEndNames;
  std::string_view layers = "model.layers.";
  std::span<const OtherNames> other_names = {};
  // Of models with an encoder, to which `layers` and `layer_names` belong: the same of the decoder.
  LayerNames (*decoder_names)(const std::string& prefix) = nullptr;
  std::string_view decoder_layers = "";
  // The gate of the published model. Null for dense families.
  GateConfig (*gate)(const ModelConfig& config) = nullptr;
  // Beginnings of names that published checkpoints have and this model does not use; "{}" stands
  // for the number of layers and a few above it (behind the last: multi-token prediction).
  std::span<const std::string_view> unused = {};
  // The same of names that no beginning tells. Null: none.
  bool (*also_unused)(const ModelConfig& config, std::string_view name) = nullptr;
  // How weights are stored where config.json does not say. Null: as plain weights.
  std::shared_ptr<const WeightFormat> (*find_format)(const Checkpoint& checkpoint) = nullptr;
};

#define FOLKMOOT_FAMILIES(F) \
  F(kAxk1)                   \
  F(kAxk2)                   \
  F(kAfmoe)                  \
  F(kAria)                   \
  F(kBailingHybrid)          \
  F(kBeam)                   \
  F(kCohere2Moe)             \
  F(kDbrx)                   \
  F(kDeepseekOcr2)           \
  F(kDeepseekV2)             \
  F(kDeepseekV32)            \
  F(kDeepseekV3)             \
  F(kDeepseekV4)             \
  F(kDots1)                  \
  F(kDots3Note)              \
  F(kDots3NoteMultimodal)    \
  F(kErnie45Moe)             \
  F(kErnie45VlMoe)           \
  F(kExaoneMoe)              \
  F(kFlexOlmo)               \
  F(kFlint)                  \
  F(kGemma2)                 \
  F(kGemma3)                 \
  F(kGemma4)                 \
  F(kGemma4Multimodal)       \
  F(kGemma)                  \
  F(kGlm4Moe)                \
  F(kGlm4MoeLite)            \
  F(kGlm4vMoe)               \
  F(kGlm5Next)               \
  F(kGlmMoeDsa)              \
  F(kGptOss)                 \
  F(kGraniteMoe)             \
  F(kGraniteMoeHybrid)       \
  F(kGraniteMoeSwa)          \
  F(kGraniteMoeShared)       \
  F(kGrok1)                  \
  F(kHyV3)                   \
  F(kHyV4)                   \
  F(kHyV4Multimodal)         \
  F(kHunyuanMoe)             \
  F(kInkling2Text)           \
  F(kInkling2)               \
  F(kInkling2LoopText)       \
  F(kInkling2Loop)           \
  F(kInklingText)            \
  F(kInkling)                \
  F(kJamba)                  \
  F(kJetMoe)                 \
  F(kKimiK25)                \
  F(kKimiLinear)             \
  F(kKolibri1)               \
  F(kLaguna)                 \
  F(kLaraMini)               \
  F(kLfm2)                   \
  F(kLfm2Moe)                \
  F(kLlama4)                 \
  F(kLlama4Multimodal)       \
  F(kLlama)                  \
  F(kLongcatFlash)           \
  F(kMellum)                 \
  F(kMimoV2Flash)            \
  F(kMinimax)                \
  F(kMinimaxM2)              \
  F(kMinimaxM3Multimodal)    \
  F(kMinimaxM3)              \
  F(kMinimaxText01)          \
  F(kMistral4Multimodal)     \
  F(kMistral4)               \
  F(kMistral)                \
  F(kMistralLarge4)          \
  F(kMixtral)                \
  F(kMuseGlimmer)            \
  F(kMuseSpark)              \
  F(kNemotronH)              \
  F(kNllbMoe)                \
  F(kOlmo2)                  \
  F(kOlmo3)                  \
  F(kOlmoe)                  \
  F(kPhi3)                   \
  F(kPhimoe)                 \
  F(kQwen2)                  \
  F(kQwen2Moe)               \
  F(kQwen3)                  \
  F(kQwen3Moe)               \
  F(kQwen3Next)              \
  F(kQwen3OmniMoe)           \
  F(kQwen3VlMoe)             \
  F(kQwen35Text)             \
  F(kQwen35)                 \
  F(kQwen35MoeText)          \
  F(kQwen35Moe)              \
  F(kQwen4ExpText)           \
  F(kQwen4Exp)               \
  F(kSarvamMla)              \
  F(kSarvamMoe)              \
  F(kSeedOss)                \
  F(kSolarOpen)              \
  F(kStep3p5)                \
  F(kStep3p7)                \
  F(kSwitchTransformers)     \
  F(kUnlimitedOcr)           \
  F(kZaya)

#define FOLKMOOT_DECLARE(family) extern const Family family;
FOLKMOOT_FAMILIES(FOLKMOOT_DECLARE)
#undef FOLKMOOT_DECLARE

std::span<const Family* const> Families();

// Softmax over all experts, top-k, renormalised as config.moe.norm_topk_prob says.
GateConfig TopKGate(const ModelConfig& config);
// The same beside a shared expert with a sigmoid gate.
GateConfig SigmoidSharedGate(const ModelConfig& config);
// The top-k logits, weighed by the softmax over them alone.
GateConfig SelectedSoftmaxGate(const ModelConfig& config);

// nullptr: unknown.
const Family* FindFamily(const std::string& architecture);

// The family of a model that can be run with this gate, or why not.
absl::StatusOr<const Family*> CheckModel(const ModelConfig& config, const GateConfig& gate);

// Those of Family::other_names by which `loader` has its tensors; null: they have the usual ones.
const OtherNames* OtherNamesIn(const Family& family, const WeightLoader& loader);
EndNames EndNamesOf(const Family& family, const WeightLoader& loader);

// The names of a layer, or of one block of a published layer, whose tensors begin with `prefix`.
LayerNames NamesOf(const Family& family, const std::string& prefix, int64_t block = 0);

// The names of layer `index` in this checkpoint; of a model with an encoder those of its encoder.
LayerNames LayerNamesOf(const Family& family, const WeightLoader& loader, int64_t index);
LayerNames DecoderLayerNamesOf(const Family& family, int64_t index);

}  // namespace folkmoot
