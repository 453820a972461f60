# SPDX-License-Identifier: Apache-2.0
"""The models that are compared: their tensors as GGUF names them, and a config.json for Folkmoot.

Three synthetic mixtures of experts, small enough to be measured often and large enough to leave the
caches, and the shape of the demo model.
"""
import argparse
from typing import NamedTuple


class Tensor(NamedTuple):
    name: str
    shape: tuple  # rows first, as numpy and Hugging Face have it; GGUF's header has it reversed
    kind: str     # "matrix", "table" (embeddings), "router", "ones", "zeros"


class Shape(NamedTuple):
    name: str
    arch: str         # general.architecture in GGUF
    model_type: str   # in config.json
    model_class: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    experts: int
    top_k: int
    expert_ffn: int
    shared_ffn: int = 0
    head_dim: int = 64
    vocab: int = 32000
    context: int = 8192
    eps: float = 1e-5
    rope_base: float = 1e4
    tied: bool = False  # Folkmoot takes the embedding table as head; the file has both

    def tensors(self):
        """All tensors, in file order."""
        h, q, kv = self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim
        out = [Tensor("token_embd.weight", (self.vocab, h), "table"),
               Tensor("output_norm.weight", (h,), "ones"),
               Tensor("output.weight", (self.vocab, h), "matrix")]
        for layer in range(self.layers):
            out += [t._replace(name=f"blk.{layer}.{t.name}") for t in self._layer(h, q, kv)]
        return out

    def _layer(self, h, q, kv):
        e, f, s = self.experts, self.expert_ffn, self.shared_ffn
        out = [Tensor("attn_norm.weight", (h,), "ones"),
               Tensor("attn_q.weight", (q, h), "matrix"),
               Tensor("attn_k.weight", (kv, h), "matrix"),
               Tensor("attn_v.weight", (kv, h), "matrix"),
               Tensor("attn_output.weight", (h, q), "matrix"),
               Tensor("ffn_norm.weight", (h,), "ones"),
               Tensor("ffn_gate_inp.weight", (e, h), "router"),
               Tensor("ffn_gate_exps.weight", (e, f, h), "matrix"),
               Tensor("ffn_up_exps.weight", (e, f, h), "matrix"),
               Tensor("ffn_down_exps.weight", (e, h, f), "matrix")]
        if self.arch == "qwen2moe":
            out += [Tensor("attn_q.bias", (q,), "zeros"),
                    Tensor("attn_k.bias", (kv,), "zeros"),
                    Tensor("attn_v.bias", (kv,), "zeros"),
                    Tensor("ffn_gate_inp_shexp.weight", (h,), "router"),
                    Tensor("ffn_gate_shexp.weight", (s, h), "matrix"),
                    Tensor("ffn_up_shexp.weight", (s, h), "matrix"),
                    Tensor("ffn_down_shexp.weight", (h, s), "matrix")]
        if self.arch == "olmoe":
            out += [Tensor("attn_q_norm.weight", (q,), "ones"),
                    Tensor("attn_k_norm.weight", (kv,), "ones")]
        return out

    def config(self):
        """config.json for `folkmoot --load-format dummy`."""
        config = {"architectures": [self.model_class], "model_type": self.model_type,
                  "hidden_act": "silu", "hidden_size": self.hidden,
                  "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                  "num_key_value_heads": self.kv_heads, "vocab_size": self.vocab,
                  "max_position_embeddings": self.context, "rms_norm_eps": self.eps,
                  "rope_theta": self.rope_base, "tie_word_embeddings": self.tied,
                  "num_experts_per_tok": self.top_k, "torch_dtype": "float32",
                  "bos_token_id": 1, "eos_token_id": 2}
        if self.model_type == "mixtral":
            return config | {"num_local_experts": self.experts,
                             "intermediate_size": self.expert_ffn, "sliding_window": None}
        if self.model_type == "olmoe":
            return config | {"num_experts": self.experts, "intermediate_size": self.expert_ffn,
                             "norm_topk_prob": False}
        config |= {"num_experts": self.experts, "moe_intermediate_size": self.expert_ffn,
                   "intermediate_size": self.expert_ffn, "norm_topk_prob": False,
                   "decoder_sparse_step": 1, "mlp_only_layers": [], "use_sliding_window": False}
        return config | {"shared_expert_intermediate_size": self.shared_ffn}


SHAPES = {shape.name: shape for shape in (
    Shape("mixtral", "llama", "mixtral", "MixtralForCausalLM", 8, 1024, 16, 4, 8, 2, 1792),
    Shape("qwen2moe", "qwen2moe", "qwen2_moe", "Qwen2MoeForCausalLM", 12, 1024, 16, 16, 32, 4, 704,
          shared_ffn=2816),
    Shape("olmoe", "olmoe", "olmoe", "OlmoeForCausalLM", 8, 1024, 16, 16, 64, 8, 512),
    Shape("demo", "qwen2moe", "qwen2_moe", "Qwen2MoeForCausalLM", 4, 192, 6, 2, 8, 2, 128,
          shared_ffn=256, head_dim=32, vocab=4096, context=1024, eps=1e-6, tied=True))}

# GGUF's type of the matrices and the embedding table, and Folkmoot's flags for dummy weights.
TYPES = {"f32": ["--dtype", "float32"], "bf16": ["--dtype", "bfloat16"],
         "q8_0": ["--quantization", "q8_0"], "q4_0": ["--quantization", "q4_0"]}


def names_in(known):
    """For argparse: names with commas between, all of them known."""
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return names
    return parse


def gguf_path(folder, shape, kind):
    return folder / f"{shape}-{kind}.gguf"
