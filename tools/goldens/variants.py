# SPDX-License-Identifier: Apache-2.0
"""The golden variants as data: one entry per directory under tests/data/goldens.

Variants of a group of families are in variants_<group>.py and joined at the end of this file.
"""

from .variant import BASE, DELETE, Variant, variants_of
from .variants_2026 import LATEST
from .variants_beam import BEAMS
from .variants_compressed import DEEPSEEK_V4
from .variants_dense import DENSE
from .variants_dots3 import DOTS3
from .variants_flint import FLINT
from .variants_gemma import GEMMA
from .variants_gemma4 import GEMMA4, MULTIMODAL
from .variants_glimmer import MUSE_GLIMMER
from .variants_glm5 import GLM_5_NEXT
from .variants_granite import GRANITE
from .variants_grok import GROK
from .variants_hunyuan4 import HUNYUAN_4
from .variants_hy4_pictures import HUNYUAN_4_PICTURES
from .variants_hybrid import HYBRID
from .variants_inkling import INKLING
from .variants_inkling2 import INKLING2
from .variants_inkling2_loop import INKLING2_LOOP
from .variants_jamba import JAMBA
from .variants_kimi import KIMI_LINEAR
from .variants_kolibri import KOLIBRI
from .variants_lara import LARA
from .variants_latent import LATENT
from .variants_lightning import LIGHTNING
from .variants_linear import LINEAR
from .variants_ling import LING_3
from .variants_llama4 import LLAMA4
from .variants_minimax import MINIMAX_M3
from .variants_mistral_large import MISTRAL_LARGE
from .variants_more import MORE
from .variants_muse import MUSE_SPARK
from .variants_ocr import DEEPSEEK_OCR_2, UNLIMITED_OCR
from .variants_olmo import OLMO
from .variants_other import OTHER
from .variants_pictures import PICTURES
from .variants_qwen4 import QWEN4
from .variants_recent import RECENT
from .variants_relatives import RELATIVES
from .variants_sarvam import SARVAM
from .variants_sigmoid import SIGMOID
from .variants_sparse import SPARSE
from .variants_windows import WINDOWS
from .variants_wrapped import WRAPPED
from .variants_zaya import ZAYA

_mixtral = variants_of("mixtral", BASE | {
    "intermediate_size": 16, "num_local_experts": 4, "num_experts_per_tok": 2
})

_qwen2_moe = variants_of("qwen2_moe", BASE | {
    "intermediate_size": 24,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 20,
    "num_experts": 6,
    "num_experts_per_tok": 2,
})

_qwen3_moe = variants_of("qwen3_moe", BASE | {
    "intermediate_size": 24,
    "moe_intermediate_size": 12,
    "num_experts": 6,
    "num_experts_per_tok": 2,
})

_olmoe = variants_of("olmoe", BASE | {
    "intermediate_size": 12, "num_experts": 6, "num_experts_per_tok": 2
})


MIXTRAL = [
    _mixtral(
        "classic",
        "as released: old config style, grouped-query, 8 experts, top 2, one tensor per expert",
        {"num_local_experts": 8, "rope_theta": 1000000.0, "rms_norm_eps": 1e-05,
         "sliding_window": None, "hidden_act": "silu", "tie_word_embeddings": False},
        matters=[{"rope_theta": 100.0}, {"num_experts_per_tok": 3}, {"rms_norm_eps": 0.1}],
    ),
    _mixtral(
        "packed",
        "packed experts, multi-query, head_dim 12, tied head, top 1, rope_theta left to its 1e6 "
        "default",
        {"num_key_value_heads": 1, "head_dim": 12, "num_experts_per_tok": 1,
         "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default"}},
        dtype="BF16", packed=True,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
                 {"num_experts_per_tok": 2}],
    ),
    _mixtral(
        "window",
        "sliding window of 16 on all layers, sharded, one tensor per expert",
        {"sliding_window": 16, "rope_theta": 10000.0},
        shard_bytes=40000, prompts=(1, 7, 16, 17, 60), greedy_prompt=10,
        matters=[{"sliding_window": None}, {"sliding_window": 15}, {"sliding_window": 17}],
    ),
    _mixtral(
        "yarn",
        "yarn in rope_parameters with defaults of beta and truncate, packed and sharded, top 4 of "
        "6, gelu",
        {"head_dim": 16, "num_attention_heads": 2, "num_local_experts": 6, "num_experts_per_tok": 4,
         "intermediate_size": 10, "hidden_act": "gelu", "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="F16", packed=True, shard_bytes=25000, prompts=(1, 7, 40, 100),
        matters=[
            {"hidden_act": "gelu_pytorch_tanh"},
            {"hidden_act": "silu"},
            {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                 "original_max_position_embeddings": 32, "attention_factor": 1.0}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                 "original_max_position_embeddings": 128}},
        ],
    ),
    _mixtral(
        "dynamic",
        "dynamic NTK (old style, `type`), multi-head, 3 layers, prompts longer than the context",
        {"head_dim": 8, "num_key_value_heads": 4, "num_hidden_layers": 3, "intermediate_size": 8,
         "max_position_embeddings": 32, "rope_theta": 10000.0,
         "rope_scaling": {"type": "dynamic", "factor": 4.0}},
        prompts=(1, 7, 32, 33, 90), greedy_prompt=24,
        matters=[{"rope_scaling": None}, {"rope_scaling": {"type": "linear", "factor": 4.0}}],
    ),
    _mixtral(
        "llama3",
        "llama3 rope, tied head, relu, all of 3 experts, a window, one tensor per expert",
        {"num_local_experts": 3, "num_experts_per_tok": 3, "hidden_act": "relu",
         "tie_word_embeddings": True, "sliding_window": 24, "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
                             "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="BF16", prompts=(1, 7, 40, 80),
        matters=[{"hidden_act": "silu"}, {"sliding_window": None},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}],
    ),
]

OLMOE = [
    _olmoe(
        "classic",
        "as released: q/k norms over all heads, multi-head, top 4 of 8 not renormalised, per expert",
        {"num_key_value_heads": 4, "num_experts": 8, "num_experts_per_tok": 4,
         "intermediate_size": 8, "norm_topk_prob": False, "rms_norm_eps": 1e-05,
         "rope_theta": 10000.0, "rope_scaling": None, "attention_bias": False, "clip_qkv": None,
         "router_aux_loss_coef": 0.01, "output_router_logits": False},
        matters=[{"norm_topk_prob": True}, {"num_experts_per_tok": 2}, {"rope_theta": 100.0},
                 {"rms_norm_eps": 0.1}, {"clip_qkv": 0.5}],
    ),
    _olmoe(
        "clip",
        "clip_qkv 0.8, grouped-query, renormalised, packed experts, keys left to their defaults",
        {"clip_qkv": 0.8, "norm_topk_prob": True},
        packed=True,
        matters=[{"clip_qkv": None}, {"norm_topk_prob": False}],
    ),
    _olmoe(
        "bias",
        "biases of attention, multi-query, tied head, gelu, num_local_experts, sharded, bfloat16",
        {"attention_bias": True, "num_key_value_heads": 1, "tie_word_embeddings": True,
         "hidden_act": "gelu", "num_experts": DELETE, "num_local_experts": 5},
        dtype="BF16", shard_bytes=15000,
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 3}],
    ),
    _olmoe(
        "linear",
        "linear rope (old style), 3 layers, top 1, float16",
        {"num_hidden_layers": 3, "num_experts_per_tok": 1, "norm_topk_prob": False,
         "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.5}},
        dtype="F16",
        matters=[{"rope_scaling": None}, {"norm_topk_prob": True}],
    ),
    _olmoe(
        "dynamic",
        "dynamic NTK, prompts longer than the context, packed and sharded, clip_qkv 1.5",
        {"max_position_embeddings": 32, "clip_qkv": 1.5, "num_key_value_heads": None,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}},
        packed=True, shard_bytes=25000, prompts=(1, 7, 32, 33, 90), greedy_prompt=24,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
                 {"clip_qkv": None}],
    ),
    _olmoe(
        "yarn",
        "yarn, two heads of 16, top 3 of 6, relu, one tensor per expert",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "num_experts_per_tok": 3,
         "hidden_act": "relu", "norm_topk_prob": True, "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        prompts=(1, 7, 40, 100),
        matters=[{"hidden_act": "silu"},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]

QWEN2_MOE = [
    _qwen2_moe(
        "classic",
        "as released: qkv bias, multi-head, top 4 of 8 not renormalised, shared expert, per expert",
        {"num_key_value_heads": 4, "num_experts": 8, "num_experts_per_tok": 4,
         "norm_topk_prob": False,
         "moe_intermediate_size": 8, "rope_theta": 1000000.0, "rms_norm_eps": 1e-06,
         "use_sliding_window": False, "sliding_window": 4, "max_window_layers": 2,
         "decoder_sparse_step": 1, "torch_dtype": "float32"},
        matters=[{"norm_topk_prob": True}, {"num_experts_per_tok": 2}, {"rope_theta": 100.0}],
    ),
    _qwen2_moe(
        "sparse-step",
        "decoder_sparse_step 2 of 4 layers, layers 0 and 2 dense, tied, renormalised, packed",
        {"num_hidden_layers": 4, "decoder_sparse_step": 2, "mlp_only_layers": [],
         "norm_topk_prob": True,
         "num_experts": 4, "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default",
                                                                            "rope_theta": 5000.0}},
        dtype="BF16", packed=True,
        matters=[{"norm_topk_prob": False},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _qwen2_moe(
        "window",
        "use_sliding_window with max_window_layers 3: layers 0 and 2 slide (16); mlp_only_layers "
        "[1]",
        {"num_hidden_layers": 4, "mlp_only_layers": [1], "use_sliding_window": True,
         "sliding_window": 16,
         "max_window_layers": 3, "norm_topk_prob": True, "num_experts": 4,
         "moe_intermediate_size": 8,
         "shared_expert_intermediate_size": 12, "rope_theta": 10000.0},
        prompts=(1, 7, 17, 60), greedy_prompt=12,
        matters=[{"use_sliding_window": False}, {"max_window_layers": 2}, {"sliding_window": 17},
                 {"layer_types": ["full_attention", "full_attention", "full_attention",
                                  "sliding_attention"]}],
    ),
    _qwen2_moe(
        "nobias",
        "qkv_bias false, head_dim 12, layer_types with layer 1 sliding, relu, llama3 rope, "
        "packed, sharded",
        {"qkv_bias": False, "head_dim": 12, "hidden_act": "relu", "num_experts_per_tok": 1,
         "use_sliding_window": True, "sliding_window": 24, "max_window_layers": 0,
         "layer_types": ["full_attention", "sliding_attention"], "norm_topk_prob": False,
         "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
                             "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
        packed=True, shard_bytes=50000, prompts=(1, 7, 40, 80),
        matters=[{"hidden_act": "silu"}, {"layer_types": ["full_attention", "full_attention"]},
                 {"norm_topk_prob": True},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}],
    ),
    _qwen2_moe(
        "linear",
        "8 experts, top 2 renormalised, shared expert, tied, linear rope (old style), float16, "
        "per expert",
        {"num_experts": 8, "norm_topk_prob": True, "moe_intermediate_size": 8,
         "tie_word_embeddings": True,
         "rope_theta": 10000.0, "rope_scaling": {"rope_type": "linear", "factor": 2.5}},
        dtype="F16",
        matters=[{"rope_scaling": None}, {"norm_topk_prob": False}],
    ),
    _qwen2_moe(
        "yarn",
        "yarn, multi-query, top 3 of 5, a shared expert wider than the dense layer, gelu, "
        "sharded",
        {"num_key_value_heads": 1, "num_experts": 5, "num_experts_per_tok": 3,
         "norm_topk_prob": False, "shared_expert_intermediate_size": 28, "hidden_act": "gelu",
         "mlp_only_layers": [0], "rms_norm_eps": 1e-05, "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="BF16", shard_bytes=20000, prompts=(1, 7, 40, 100),
        matters=[{"hidden_act": "silu"}, {"norm_topk_prob": True}, {"rms_norm_eps": 0.1},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
]

QWEN3_MOE = [
    _qwen3_moe(
        "classic",
        "as released: q/k norms, head_dim 12 unlike H/heads, no biases, top 2 of 8 renormalised, "
        "per expert",
        {"head_dim": 12, "num_experts": 8, "moe_intermediate_size": 8, "norm_topk_prob": True,
         "rope_theta": 1000000.0, "rope_scaling": None, "attention_bias": False,
         "decoder_sparse_step": 1,
         "mlp_only_layers": [], "use_sliding_window": False, "sliding_window": None,
         "max_window_layers": 2,
         "torch_dtype": "float32"},
        matters=[{"norm_topk_prob": False}, {"rope_theta": 100.0}],
    ),
    _qwen3_moe(
        "v5",
        "as Transformers 5 writes it: num_local_experts, rope_parameters; top 1 not renormalised, "
        "packed, sharded",
        {"num_experts": DELETE, "num_local_experts": 6, "num_experts_per_tok": 1, "head_dim": 16,
         "num_attention_heads": 2, "num_key_value_heads": 1, "norm_topk_prob": False,
         "use_sliding_window": False, "sliding_window": None, "dtype": "bfloat16",
         "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
        dtype="BF16", packed=True, shard_bytes=25000,
        matters=[{"norm_topk_prob": True}, {"num_experts_per_tok": 2}],
    ),
    _qwen3_moe(
        "bias",
        "attention_bias, no head_dim key, tied, decoder_sparse_step 2 with mlp_only_layers [3]: "
        "only layer 1 is MoE",
        {"attention_bias": True, "num_key_value_heads": 4, "num_hidden_layers": 4,
         "decoder_sparse_step": 2,
         "mlp_only_layers": [3], "tie_word_embeddings": True, "norm_topk_prob": True,
         "hidden_act": "gelu_pytorch_tanh", "rope_theta": 10000.0},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"hidden_act": "gelu"}],
    ),
    _qwen3_moe(
        "window-yarn",
        "window of 20 on all layers, yarn with beta_fast 4, beta_slow 0.5, truncate false, "
        "attention_factor",
        {"head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 1,
         "use_sliding_window": True,
         "sliding_window": 20, "max_window_layers": 1, "norm_topk_prob": True,
         "num_experts_per_tok": 3,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0,
                             "beta_fast": 4.0,
                             "beta_slow": 0.5, "truncate": False, "attention_factor": 1.35,
                             "original_max_position_embeddings": 32}},
        prompts=(1, 7, 21, 100), greedy_prompt=16,
        matters=[
            {"use_sliding_window": False}, {"sliding_window": 21},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0,
                                 "truncate": False,
                                 "attention_factor": 1.35, "original_max_position_embeddings": 32}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0,
                                 "beta_fast": 4.0,
                                 "beta_slow": 0.5, "attention_factor": 1.35,
                                 "original_max_position_embeddings": 32}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0,
                                 "beta_fast": 4.0,
                                 "beta_slow": 0.5, "truncate": False,
                                 "original_max_position_embeddings": 32}},
        ],
    ),
    _qwen3_moe(
        "dynamic",
        "dynamic NTK in rope_parameters, top 4 of 6, window of 24, packed",
        {"num_experts_per_tok": 4, "norm_topk_prob": False, "max_position_embeddings": 40,
         "use_sliding_window": True, "sliding_window": 24, "moe_intermediate_size": 10,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0}},
        packed=True, prompts=(1, 7, 40, 70), greedy_prompt=30,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"use_sliding_window": False}],
    ),
    _qwen3_moe(
        "llama3",
        "llama3 rope, multi-query, relu, every second of four layers dense, float16, sharded",
        {"num_key_value_heads": 1, "num_hidden_layers": 4, "mlp_only_layers": [0, 2],
         "norm_topk_prob": True, "num_experts_per_tok": 3, "hidden_act": "relu",
         "rms_norm_eps": 1e-05,
         "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
                             "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="F16", shard_bytes=20000, prompts=(1, 7, 40, 80),
        matters=[{"hidden_act": "silu"}, {"norm_topk_prob": False}, {"rms_norm_eps": 0.1},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}],
    ),
]

VARIANTS = [
    *MIXTRAL, *GRANITE, *OLMOE, *QWEN2_MOE, *QWEN3_MOE,
    *BEAMS,
    *DEEPSEEK_OCR_2,
    *DEEPSEEK_V4,
    *DENSE, *GEMMA, *GEMMA4, *GROK,
    *DOTS3,
    *FLINT,
    *GLM_5_NEXT,
    *HUNYUAN_4,
    *HUNYUAN_4_PICTURES,
    *HYBRID,
    *INKLING,
    *INKLING2,
    *INKLING2_LOOP,
    *JAMBA,
    *KIMI_LINEAR,
    *KOLIBRI,
    *LARA,
    *LATENT,
    *LATEST,
    *LIGHTNING,
    *LINEAR,
    *LING_3,
    *LLAMA4,
    *MINIMAX_M3,
    *MISTRAL_LARGE,
    *MORE,
    *MULTIMODAL,
    *MUSE_GLIMMER,
    *MUSE_SPARK,
    *OLMO,
    *OTHER,
    *PICTURES,
    *QWEN4,
    *RECENT,
    *RELATIVES,
    *SARVAM,
    *SIGMOID,
    *SPARSE,
    *UNLIMITED_OCR,
    *WINDOWS,
    *WRAPPED,
    *ZAYA,
]
