# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Inkling 2 Loop, whose layers in the middle run several times."""

from .variant import BASE, DELETE, variants_of
from .variants_inkling2 import SMALL, inner

_LOOP = {
    "num_hidden_layers": 4, "n_layers_per_attn_res_block": 1, "loop_layer_index_start": 1,
    "loop_layer_index_end": 3, "loop_num_passes": 2, "loop_gate_rank": 6,
    "layer_types": ["hybrid_sliding", "hybrid_sliding", "hybrid", "hybrid_sliding"],
}
_text = variants_of("inkling2_loop_text", BASE | SMALL | _LOOP, "inkling2_loop")
_inner = inner("inkling2_loop", "inkling2_loop")

INKLING2_LOOP = [
    _inner(
        "classic",
        "the authors' names, and the loop in an object of its own: three passes over a layer with "
        "a window and one without; six tokens that are never predicted; bfloat16, sharded",
        {key: value for key, value in (BASE | SMALL | _LOOP).items()
         if not key.startswith("loop_")} | {
            "loop_config": {"core_start": 1, "core_end": 3, "num_passes": 3, "gate_rank": 6},
            "log_scaling_n_floor": 12, "log_scaling_alpha": 0.4, "unpadded_vocab_size": 90,
            "qk_l2_clip_threshold": 4.0, "rel_l2_clip_threshold": 1.5, "route_scale": 2.5},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 15), greedy_prompt=7,
        matters=[{"loop_config": {"core_start": 1, "core_end": 3, "num_passes": 2,
                                  "gate_rank": 6}},
                 {"log_scaling_n_floor": 8192}, {"qk_l2_clip_threshold": 3.0},
                 {"rms_norm_eps": 0.1}],
    ),
    _inner(
        "modules",
        "the names of Transformers below text_config; sums of two layers, all behind the first of "
        "which run again; float16",
        BASE | SMALL | _LOOP | {
            "n_layers_per_attn_res_block": 2, "loop_layer_index_start": 2,
            "loop_layer_index_end": 4, "loop_gate_rank": 3, "unpadded_vocab_size": 91,
            "model_type": "inkling2_loop_text", "log_scaling_n_floor": 4},
        dtype="F16", prompts=(1, 7, 11, 30),
        matters=[{"loop_num_passes": 3}, {"log_scaling_n_floor": 2}],
    ),
    _text(
        "once",
        "one pass: messages are in the file, and nobody reads them; float32",
        {"loop_num_passes": 1, "conv_kernel_size": 3},
        prompts=(1, 6, 7, 30),
        matters=[{"loop_num_passes": 2}, {"num_experts_per_tok": 1}],
    ),
    _text(
        "sums",
        "a sum of two layers runs twice, between others; kernels over two rows, top 1; bfloat16",
        {"num_hidden_layers": 5, "n_layers_per_attn_res_block": 2, "loop_layer_index_start": 2,
         "loop_layer_index_end": 4, "conv_kernel_size": 2, "hidden_size": 16,
         "n_routed_experts": 3, "num_experts_per_tok": 1, "route_scale": 2.0,
         "layer_types": ["hybrid_sliding"] * 3 + ["hybrid", "hybrid_sliding"]},
        dtype="BF16", prompts=(1, 7, 20),
        matters=[{"loop_num_passes": 1}, {"route_scale": 1.0}],
    ),
    _text(
        "full",
        "no layer has a window; four passes over one layer, gates of rank one; float32",
        {"num_hidden_layers": 2, "layer_types": ["hybrid", "hybrid"], "loop_layer_index_end": 2,
         "loop_num_passes": 4, "loop_gate_rank": 1, "log_scaling_n_floor": 3},
        prompts=(1, 6, 20),
        matters=[{"loop_num_passes": 3}, {"log_scaling_alpha": 0.5}],
    ),
    _text(
        "defaults",
        "no passes, gates or layer_types: those of Inkling 2 Loop, three passes, gates of rank 64",
        {"num_hidden_layers": 6, "loop_layer_index_start": 4, "loop_layer_index_end": 6,
         "hidden_size": 16, "n_layers_per_attn_res_block": 2, "n_routed_experts": 3,
         "num_experts_per_tok": 1,
         "route_scale": 2.0,
         **{key: DELETE for key in ("loop_num_passes", "loop_gate_rank", "layer_types")}},
        dtype="BF16", prompts=(1, 7, 20),
        matters=[{"loop_num_passes": 2}, {"rms_norm_eps": 0.1}],
    ),
]
