// SPDX-License-Identifier: Apache-2.0
// One small function per family of routers, and the list kPresets that names them. A capacity that
// a framework counts per rank is counted per step here, so that the rank count changes nothing;
// `group=rank` restores the framework's habit.
#include "layers/gates/presets.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "runtime/nearest.h"

namespace folkmoot {
namespace {

constexpr double kMachineEps = 0x1p-23;  // torch.finfo(float32).eps

GateConfig Plain(int experts, int top_k, Normalize normalize = Normalize::kNone) {
  GateConfig c;
  c.num_experts = experts;
  c.top_k = top_k;
  c.normalize = normalize;
  return c;
}
GateConfig WithCapacity(GateConfig c, CapacityMode mode, double factor = 1.0, int64_t least = 0,
                        int64_t multiple = 1) {
  c.capacity = mode;
  c.capacity_factor = factor;
  c.min_capacity = least;
  c.capacity_multiple = multiple;
  return c;
}
GateConfig WithEps(GateConfig c, double eps, NormEpsMode mode) {
  c.norm_eps = eps;
  c.norm_eps_mode = mode;
  return c;
}
GateConfig WithExtra(GateConfig c, ExtraPolicy policy, double threshold = 0.5) {
  c.extra_policy = policy;
  c.extra_threshold = threshold;
  return c;
}
GateConfig WithPriority(GateConfig c, Priority priority) {
  c.priority = priority;
  return c;
}
GateConfig WithShared(GateConfig c, SharedGate gate = SharedGate::kNone) {
  c.shared = true;
  c.shared_gate = gate;
  return c;
}

GateConfig Before2(int e) { return Plain(e, 2, Normalize::kBeforeDrop); }
GateConfig After2(int e) {
  return WithEps(Plain(e, 2, Normalize::kAfterDrop), kMachineEps, NormEpsMode::kClamp);
}

GateConfig Gshard(int e) {
  GateConfig c = WithCapacity(WithExtra(Before2(e), ExtraPolicy::kRandom), CapacityMode::kCeilK);
  c.rejected_consumes = true;
  return c;
}
GateConfig GshardPaper(int e) { return WithCapacity(Gshard(e), CapacityMode::kFloor, 2.0); }
GateConfig GshardLingvo(int e) {
  return WithCapacity(WithEps(Before2(e), 1e-9, NormEpsMode::kAdd), CapacityMode::kFloor, 2.0, 1,
                      4);
}
GateConfig MeshTop2(int e) {
  const GateConfig c = WithExtra(Before2(e), ExtraPolicy::kRandom, 0.2);
  return WithCapacity(WithEps(c, 1e-9, NormEpsMode::kAdd), CapacityMode::kFloor, 2.0, 4);
}
GateConfig FairseqMoe(int e) {
  return WithCapacity(WithExtra(After2(e), ExtraPolicy::kSample), CapacityMode::kFraction, 0.25);
}
GateConfig FairseqTop2(int e) { return WithCapacity(FairseqMoe(e), CapacityMode::kKCeil); }
GateConfig NllbMoe(int e) {
  GateConfig c = WithCapacity(After2(e), CapacityMode::kFraction, 1.0);
  c.scale = 0.8;  // 1 - moe_token_dropout
  return c;
}
GateConfig Switch(int e) { return WithCapacity(Plain(e, 1), CapacityMode::kCeilK); }
GateConfig SwitchMesh(int e) { return WithCapacity(Plain(e, 1), CapacityMode::kFloor, 1.0, 4); }
GateConfig SwitchHf(int e) {
  GateConfig c =
      WithPriority(WithCapacity(Plain(e, 1), CapacityMode::kFixed), Priority::kTokenMajor);
  c.capacity_fixed = 64;
  c.group = CapacityGroup::kSequenceChunk;
  c.group_size = 1 << 30;  // the whole sequence
  return c;
}
GateConfig DeepspeedTop1(int e) {
  return WithPriority(WithCapacity(Plain(e, 1), CapacityMode::kCeilK, 1.0, 8), Priority::kRandom);
}
GateConfig DeepspeedTopK(int e) {
  return WithPriority(WithCapacity(After2(e), CapacityMode::kCeilK, 1.0, 8), Priority::kWeightDesc);
}
GateConfig DeepspeedTop2(int e) {
  return WithPriority(WithExtra(DeepspeedTopK(e), ExtraPolicy::kSample), Priority::kSlotMajor);
}
GateConfig Tutel(int e) {
  return WithCapacity(WithEps(Before2(e), kMachineEps, NormEpsMode::kClamp),
                      CapacityMode::kKFloorCeil);
}
GateConfig TutelBpr(int e) { return WithPriority(Tutel(e), Priority::kBatchPrioritized); }
GateConfig SoftmaxSelected(int e, int k) {
  GateConfig c = Plain(e, k);
  c.score_fn = ScoreFn::kLogits;
  c.weight_from = WeightFrom::kSoftmaxSelected;
  return c;
}
GateConfig FastmoeGshard(int e) {
  GateConfig c = WithExtra(SoftmaxSelected(e, 2), ExtraPolicy::kRandom);
  c.extra_gate = ExtraGate::kRaw;  // already a softmax over the two logits
  c.rejected_consumes = true;
  return WithPriority(WithCapacity(c, CapacityMode::kCeilKDiv, 2.4), Priority::kTokenMajor);
}
GateConfig MegatronDrop(int e) {
  return WithPriority(WithCapacity(SoftmaxSelected(e, 2), CapacityMode::kCeilK),
                      Priority::kWeightDesc);
}
GateConfig VmoeBpr(int e) {
  return WithPriority(WithCapacity(Plain(e, 2), CapacityMode::kCeilK, 1.0, 0, 4),
                      Priority::kBatchPrioritized);
}
GateConfig Flaxformer(int e) { return WithCapacity(Plain(e, 2), CapacityMode::kRound, 1.0, 4); }
GateConfig FlaxformerBpr(int e) { return WithPriority(Flaxformer(e), Priority::kBatchPrioritized); }
GateConfig HunyuanV1(int e) {
  const GateConfig c =
      WithEps(Plain(e, 8, Normalize::kBeforeDrop), kMachineEps, NormEpsMode::kClamp);
  return WithShared(WithCapacity(c, CapacityMode::kKDiv));
}
GateConfig HunyuanA13b(int e) { return WithShared(Plain(e, 8, Normalize::kBeforeDrop)); }
GateConfig HunyuanLarge(int e) { return WithShared(Plain(e, 1)); }

GateConfig Top4Normalized(int e) { return Plain(e, 4, Normalize::kBeforeDrop); }
GateConfig Top8Normalized(int e) { return Plain(e, 8, Normalize::kBeforeDrop); }
GateConfig Arctic(int e) { return WithShared(Before2(e)); }
GateConfig Qwen2Moe(int e) { return WithShared(Plain(e, 8), SharedGate::kSigmoid); }
GateConfig Qwen15Moe(int e) { return WithShared(Plain(e, 4), SharedGate::kSigmoid); }
GateConfig Qwen3Next(int e) {
  return WithShared(Plain(e, 10, Normalize::kBeforeDrop), SharedGate::kSigmoid);
}
GateConfig Olmoe(int e) { return Plain(e, 8); }
GateConfig GraniteMoe(int e) { return SoftmaxSelected(e, 8); }
GateConfig Jetmoe(int e) { return SoftmaxSelected(e, 2); }
GateConfig GptOss(int e) {
  GateConfig c = SoftmaxSelected(e, 4);
  c.router_dtype = RouterDtype::kBf16;
  return c;
}
GateConfig Phimoe(int e) {
  GateConfig c = Plain(e, 2);
  c.select_on = SelectOn::kLogit;
  c.weight_from = WeightFrom::kSparseMixer;
  return c;
}
GateConfig Llama4(int e) {
  GateConfig c = WithShared(Plain(e, 1));
  c.score_fn = ScoreFn::kSigmoid;
  c.select_on = SelectOn::kLogit;
  c.apply_to = ApplyTo::kInput;
  return c;
}
GateConfig DeepseekV2Lite(int e) { return WithShared(Plain(e, 6)); }
GateConfig DeepseekV2(int e) {
  GateConfig c = DeepseekV2Lite(e);
  c.n_group = 8;
  c.topk_group = 3;
  c.scale = 16.0;
  return c;
}
GateConfig SigmoidBiased(int e, double scale) {
  GateConfig c = WithShared(Top8Normalized(e));
  c.score_fn = ScoreFn::kSigmoid;
  c.norm_eps = 1e-20;
  c.group_score = GroupScore::kSumTop2;
  c.scale = scale;
  return c;
}
GateConfig DeepseekV3(int e) {
  GateConfig c = SigmoidBiased(e, 2.5);
  c.n_group = 8;
  c.topk_group = 4;
  return c;
}
GateConfig KimiK2(int e) { return SigmoidBiased(e, 2.827); }
GateConfig Glm45(int e) { return SigmoidBiased(e, 2.5); }
GateConfig Glm45Air(int e) { return SigmoidBiased(e, 1.0); }
GateConfig DeepseekV4(int e) {
  GateConfig c = SigmoidBiased(e, 1.5);
  c.score_fn = ScoreFn::kSqrtSoftplus;
  return c;
}
GateConfig Ernie45(int e) {
  return WithShared(WithEps(Plain(e, 6, Normalize::kBeforeDrop), 1e-12, NormEpsMode::kClamp));
}
GateConfig MinimaxM2(int e) {
  GateConfig c = Top8Normalized(e);
  c.score_fn = ScoreFn::kSigmoid;
  return c;
}
GateConfig LongcatFlash(int e) {
  GateConfig c = Plain(e, 12);
  c.zero_experts = e / 3;
  c.scale = 6.0;
  return c;
}
GateConfig Zaya1(int e) {
  GateConfig c = Plain(e, 1);
  c.zero_experts = 1;
  c.zero_output = ZeroOutput::kNothing;
  return c;
}
GateConfig Inkling(int e) {
  GateConfig c = WithShared(Plain(e, 6, Normalize::kBeforeDrop));
  c.score_fn = ScoreFn::kSigmoid;
  c.shared_sinks = 2;
  c.scale = 8.0;
  return c;
}
GateConfig Top2RandomShared(int e) {
  GateConfig c = WithShared(WithExtra(Before2(e), ExtraPolicy::kRandom));
  // Dropless; a capacity given later is causal and independent of the batch.
  c.group = CapacityGroup::kSequenceChunk;
  c.priority = Priority::kTokenMajor;
  return c;
}

constexpr std::array kPresets = {
    GatePreset{"top2-random-shared", 8, Top2RandomShared, "Folkmoot's default"},
    GatePreset{"gshard", 8, Gshard, "GShard (Lepikhin et al. 2020), Algorithm 1"},
    GatePreset{"gshard-paper", 8, GshardPaper, "the same with the paper's literal C = 2S/E"},
    GatePreset{"gshard-lingvo", 8, GshardLingvo, "lingvo core/gshard_layers.py, defaults"},
    GatePreset{"mesh-top2", 8, MeshTop2, "mesh_tensorflow transformer/moe.py, evaluation"},
    GatePreset{"fairseq-moe", 8, FairseqMoe, "fairseq modules/moe/top2gate.py, evaluation"},
    GatePreset{"fairseq-top2", 8, FairseqTop2, "fairseq modules/moe/top2gate.py, training"},
    GatePreset{"nllb-moe", 128, NllbMoe, "NLLB-MoE in Transformers, evaluation: never drops"},
    GatePreset{"switch", 8, Switch, "Switch Transformer (Fedus et al. 2021)"},
    GatePreset{"switch-mesh", 8, SwitchMesh, "mesh_tensorflow _switch_gating"},
    GatePreset{"switch-hf", 8, SwitchHf, "Transformers before the rewrite: 64 per sequence"},
    GatePreset{"deepspeed-top1", 8, DeepspeedTop1, "DeepSpeed top1gating with RTS"},
    GatePreset{"deepspeed-top2", 8, DeepspeedTop2, "DeepSpeed top2gating"},
    GatePreset{"deepspeed-topk", 8, DeepspeedTopK, "DeepSpeed topkgating, policy probs"},
    GatePreset{"tutel", 8, Tutel, "Tutel fast_dispatch.py extract_critical"},
    GatePreset{"tutel-bpr", 8, TutelBpr, "the same, batch_prioritized_routing"},
    GatePreset{"fastmoe-gshard", 8, FastmoeGshard, "FastMoE gshard_gate.py, evaluation"},
    GatePreset{"megatron-drop", 8, MegatronDrop, "Megatron-LM moe_utils.py, policy probs"},
    GatePreset{"vmoe-bpr", 8, VmoeBpr, "V-MoE (Riquelme et al. 2021)"},
    GatePreset{"flaxformer", 8, Flaxformer, "flaxformer TokensChooseMaskedRouter"},
    GatePreset{"flaxformer-bpr", 8, FlaxformerBpr, "the same, batch prioritized"},
    GatePreset{"hunyuan-v1", 64, HunyuanV1, "Hunyuan-A13B, first Transformers port"},
    GatePreset{"hunyuan-a13b", 64, HunyuanA13b, "Hunyuan-A13B, later ports: dropless"},
    GatePreset{"hunyuan-large", 16, HunyuanLarge, "Hunyuan-Large, inference"},
    GatePreset{"mixtral", 8, Before2, "Mixtral 8x7B (Jiang et al. 2024)"},
    GatePreset{"dbrx", 16, Top4Normalized, "DBRX"},
    GatePreset{"grok-1", 8, Before2, "Grok-1"},
    GatePreset{"arctic", 128, Arctic, "Snowflake Arctic; its dense branch counts as shared"},
    GatePreset{"qwen2-moe", 64, Qwen2Moe, "Qwen2-57B-A14B"},
    GatePreset{"qwen1.5-moe", 60, Qwen15Moe, "Qwen1.5-MoE-A2.7B"},
    GatePreset{"qwen3-moe", 128, Top8Normalized, "Qwen3-30B-A3B and 235B-A22B"},
    GatePreset{"qwen3-next", 512, Qwen3Next, "Qwen3-Next-80B-A3B"},
    GatePreset{"olmoe", 64, Olmoe, "OLMoE (Muennighoff et al. 2024)"},
    GatePreset{"granite-moe", 40, GraniteMoe, "Granite 3.0 3B-A800M"},
    GatePreset{"jetmoe", 8, Jetmoe, "JetMoE-8B (Shen et al. 2024)"},
    GatePreset{"gpt-oss", 128, GptOss, "gpt-oss-120b; add its router_bias"},
    GatePreset{"phimoe", 16, Phimoe, "Phi-3.5-MoE; its router_jitter_noise is mixer_eps"},
    GatePreset{"llama4", 16, Llama4, "Llama 4 Scout"},
    GatePreset{"deepseek-v2", 160, DeepseekV2, "DeepSeek-V2 (2024)"},
    GatePreset{"deepseek-v2-lite", 64, DeepseekV2Lite, "DeepSeek-V2-Lite"},
    GatePreset{"deepseek-v3", 256, DeepseekV3, "DeepSeek-V3 / R1; add its selection_bias"},
    GatePreset{"deepseek-v4", 256, DeepseekV4, "DeepSeek-V4; counts and scale per checkpoint"},
    GatePreset{"kimi-k2", 384, KimiK2, "Kimi-K2; add its selection_bias"},
    GatePreset{"glm-4.5", 160, Glm45, "GLM-4.5; add its selection_bias"},
    GatePreset{"glm-4.5-air", 128, Glm45Air, "GLM-4.5-Air; add its selection_bias"},
    GatePreset{"ernie-4.5", 64, Ernie45, "ERNIE 4.5 21B-A3B; add its selection_bias"},
    GatePreset{"minimax-m2", 256, MinimaxM2, "MiniMax-M2; add its selection_bias"},
    GatePreset{"longcat-flash", 768, LongcatFlash, "LongCat-Flash, 512 + 256 zero experts"},
    GatePreset{"inkling", 256, Inkling, "Inkling, 2 shared experts; add its selection_bias"},
    GatePreset{"zaya1", 17, Zaya1, "ZAYA1, 16 experts and none; add its selection_bias"},
};

}  // namespace

std::span<const GatePreset> GatePresets() { return kPresets; }

absl::StatusOr<GateConfig> MakePreset(std::string_view name, int num_experts) {
  std::string wanted(name);
  std::replace(wanted.begin(), wanted.end(), '_', '-');
  std::vector<std::string> names;
  for (const GatePreset& preset : kPresets) {
    if (preset.name == wanted) {
      return preset.make(num_experts == 0 ? preset.num_experts : num_experts);
    }
    names.emplace_back(preset.name);
  }
  const std::string* nearest = Nearest(wanted, names);
  return InvalidArgument("gate: unknown preset '{}'; {}", name,
                         nearest != nullptr ? fmt::format("did you mean '{}'?", *nearest)
                                            : fmt::format("known: {}", fmt::join(names, ", ")));
}

}  // namespace folkmoot
