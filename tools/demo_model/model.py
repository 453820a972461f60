# SPDX-License-Identifier: Apache-2.0
"""The demo model: Qwen2-MoE in plain PyTorch, with the classic GShard gate for training.

Parameter names and shapes are those of Hugging Face's Qwen2MoeForCausalLM, save that the experts
of a layer are stacked (gate_up [E, 2I, H], down [E, H, I]); hf_state() and load_hf_state() convert.
Every tensor has a fixed shape whatever the router decides: kept assignments are gathered into a
buffer of E x groups x C rows, so the experts are two batched matrix products.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class ModelConfig:
    """Keys of config.json (Hugging Face names) that the mathematics depends on."""

    vocab_size: int = 4096
    hidden_size: int = 192
    num_hidden_layers: int = 4
    num_attention_heads: int = 6
    num_key_value_heads: int = 2
    moe_intermediate_size: int = 128
    shared_expert_intermediate_size: int = 256
    num_experts: int = 8
    num_experts_per_tok: int = 2
    max_position_embeddings: int = 1024
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    router_aux_loss_coef: float = 0.01

    @property
    def head_dim(self):
        return self.hidden_size // self.num_attention_heads

    def to_hf(self, eos_token_id):
        """The config.json of the model directory."""
        return {
            "architectures": ["Qwen2MoeForCausalLM"],
            "model_type": "qwen2_moe",
            "attention_dropout": 0.0,
            "bos_token_id": None,
            "decoder_sparse_step": 1,
            "dtype": "bfloat16",
            "eos_token_id": eos_token_id,
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "initializer_range": 0.02,
            "intermediate_size": self.shared_expert_intermediate_size,
            "max_position_embeddings": self.max_position_embeddings,
            "mlp_only_layers": [],
            "moe_intermediate_size": self.moe_intermediate_size,
            "norm_topk_prob": True,
            "num_attention_heads": self.num_attention_heads,
            "num_experts": self.num_experts,
            "num_experts_per_tok": self.num_experts_per_tok,
            "num_hidden_layers": self.num_hidden_layers,
            "num_key_value_heads": self.num_key_value_heads,
            "output_router_logits": False,
            "pad_token_id": eos_token_id,
            "qkv_bias": True,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_parameters": {"rope_theta": self.rope_theta, "rope_type": "default"},
            "rope_theta": self.rope_theta,
            "router_aux_loss_coef": self.router_aux_loss_coef,
            "shared_expert_intermediate_size": self.shared_expert_intermediate_size,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": self.vocab_size,
        }


@dataclasses.dataclass
class Gate:
    """How the routed experts are used.

    policy: "classic" (second expert kept with probability min(1, 2 g2), capacity per chunk),
    "dropless" (both always), "top1" (the best expert alone, with weight 1), "random" (two distinct
    experts drawn uniformly, with the learned top-2 weights), "none" (shared expert only).
    """

    policy: str = "classic"
    capacity_factor: float = 1.25
    chunk: int = 256  # tokens of one sequence that share a capacity


def _gather_rows(x, index):
    """Rows of x by index, with row len(x) reading as zero."""
    return F.embedding(index, torch.cat([x, x.new_zeros(1, x.shape[1])]))


class Dispatch(torch.autograd.Function):
    """x [T, H] -> rows [R, H]: row r is token row_token[r], or zero where it is T."""

    @staticmethod
    def forward(ctx, x, row_token, dest):
        ctx.save_for_backward(dest)
        return _gather_rows(x, row_token)

    @staticmethod
    def backward(ctx, grad):
        (dest,) = ctx.saved_tensors
        grad = torch.cat([grad, grad.new_zeros(1, grad.shape[1])])
        return F.embedding(dest[:, 0], grad) + F.embedding(dest[:, 1], grad), None, None


class Combine(torch.autograd.Function):
    """rows [R, H], weight [T, 2] -> [T, H]: sum over slots of weight * rows[dest]."""

    @staticmethod
    def forward(ctx, rows, weight, row_token, row_weight, dest):
        padded = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        first = F.embedding(dest[:, 0], padded)
        second = F.embedding(dest[:, 1], padded)
        ctx.save_for_backward(first, second, row_token, row_weight)
        return first * weight[:, :1] + second * weight[:, 1:]

    @staticmethod
    def backward(ctx, grad):
        first, second, row_token, row_weight = ctx.saved_tensors
        grad_rows = _gather_rows(grad, row_token) * row_weight[:, None]
        grad_weight = torch.stack([(grad * first).sum(-1), (grad * second).sum(-1)], -1)
        return grad_rows, grad_weight, None, None, None


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        kv_size = self.kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, kv_size)
        self.v_proj = nn.Linear(config.hidden_size, kv_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x, cos, sin):
        batch, length, size = x.shape

        def split(y, heads):
            return y.view(batch, length, heads, self.head_dim).transpose(1, 2)

        def rotate(y):
            left, right = y.chunk(2, -1)
            return y * cos + torch.cat([-right, left], -1) * sin

        q = rotate(split(self.q_proj(x), self.heads))
        k = rotate(split(self.k_proj(x), self.kv_heads))
        v = split(self.v_proj(x), self.kv_heads)
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, size))


class MoE(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config.hidden_size, config.moe_intermediate_size
        shared = config.shared_expert_intermediate_size
        self.num_experts = config.num_experts
        self.gate = nn.Linear(hidden, config.num_experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(config.num_experts, 2 * inner, hidden))
        self.down = nn.Parameter(torch.empty(config.num_experts, hidden, inner))
        self.shared_gate_up = nn.Linear(hidden, 2 * shared, bias=False)
        self.shared_down = nn.Linear(shared, hidden, bias=False)
        self.shared_expert_gate = nn.Linear(hidden, 1, bias=False)

    def _select(self, probs, gate):
        """Two experts a token, their weights, and which are wanted: [T, 2] each."""
        value, expert = probs.topk(2, -1)
        weight = value / value.sum(-1, keepdim=True)
        wanted = torch.ones_like(expert, dtype=torch.bool)
        if gate.policy == "classic":
            accept = torch.rand_like(weight[:, 1]) * 0.5 < weight[:, 1]
            wanted = torch.stack([wanted[:, 0], accept], -1)
        elif gate.policy == "top1":
            weight = torch.tensor([1.0, 0.0]).expand_as(weight)
            wanted = weight > 0
        elif gate.policy == "random":
            expert = torch.rand_like(probs).topk(2, -1).indices
        return expert, weight, wanted

    def forward(self, x, gate):
        """x [B, S, H] -> (y [B, S, H], auxiliary loss, stats [4, E])."""
        batch, length, hidden = x.shape
        flat = x.reshape(-1, hidden)
        tokens, experts = flat.shape[0], self.num_experts
        gate_part, up_part = self.shared_gate_up(flat).chunk(2, -1)
        shared = self.shared_down(F.silu(gate_part) * up_part)
        shared = shared * torch.sigmoid(self.shared_expert_gate(flat))
        probs = torch.softmax(self.gate(flat), -1)
        if gate.policy == "none":
            return shared.view_as(x), probs.sum() * 0, probs.new_zeros(4, experts)
        expert, weight, wanted = self._select(probs, gate)

        chunk = min(gate.chunk, length)
        groups = tokens // chunk
        capacity = min(chunk, math.ceil(2 * gate.capacity_factor * chunk / experts))
        hot = F.one_hot(expert, experts) * wanted[..., None]
        hot = hot.view(groups, chunk * 2, experts)  # token-major: slot 0, slot 1, next token
        if gate.policy != "classic":
            capacity = int(hot.sum(1).max())  # nothing is dropped, and no row is wasted
        place = ((hot.cumsum(1) - 1) * hot).sum(-1).view(tokens, 2)
        kept = wanted & (place < capacity)

        rows = experts * groups * capacity
        token = torch.arange(tokens, device=x.device)
        dest = expert * (groups * capacity) + (token // chunk * capacity)[:, None] + place
        dest = torch.where(kept, dest, rows)
        row_token = torch.full((rows + 1,), tokens, device=x.device)
        row_token = row_token.scatter(0, dest.view(-1), token.repeat_interleave(2))[:rows]
        row_weight = weight.new_zeros(rows + 1)
        row_weight = row_weight.scatter(0, dest.view(-1), weight.detach().reshape(-1))[:rows]

        y = Dispatch.apply(flat, row_token, dest).view(experts, groups * capacity, hidden)
        gate_part, up_part = torch.bmm(y, self.gate_up.transpose(1, 2)).chunk(2, -1)
        y = torch.bmm(F.silu(gate_part) * up_part, self.down.transpose(1, 2))
        y = Combine.apply(y.view(rows, hidden), weight, row_token, row_weight, dest)

        choice = F.one_hot(expert, experts).to(probs.dtype)  # [T, 2, E]
        aux = experts * (choice.mean((0, 1)) * probs.mean(0)).sum()
        stats = torch.stack([
            choice.sum((0, 1)),
            (choice * kept[..., None]).sum((0, 1)),
            (choice * ~wanted[..., None]).sum((0, 1)),
            (choice * (wanted & ~kept)[..., None]).sum((0, 1)),
        ])
        return (shared + y).view_as(x), aux, stats.detach()


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MoE(config)

    def forward(self, x, cos, sin, gate, dropout):
        y = self.self_attn(self.input_layernorm(x), cos, sin)
        x = x + F.dropout(y, dropout, self.training)
        y, aux, stats = self.mlp(self.post_attention_layernorm(x), gate)
        return x + F.dropout(y, dropout, self.training), aux, stats


class DemoModel(nn.Module):
    def __init__(self, config, seed=0):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self._init_weights(torch.Generator().manual_seed(seed))
        exponent = torch.arange(0, config.head_dim, 2).float() / config.head_dim
        angle = torch.outer(torch.arange(config.max_position_embeddings).float(),
                            1.0 / config.rope_theta ** exponent)
        angle = torch.cat([angle, angle], -1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def _init_weights(self, generator):
        residual = 1.0 / math.sqrt(2 * self.config.num_hidden_layers)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() >= 2:
                std = 1.0 / math.sqrt(parameter.shape[-1])
                if "embed_tokens" in name or "gate.weight" in name:
                    std = 0.02
                elif "o_proj" in name or "down" in name:
                    std *= residual
                nn.init.normal_(parameter, 0.0, std, generator=generator)

    def forward(self, ids, gate, targets=None, dropout=0.0):
        """ids [B, S] -> (logits [B, S, V], or the mean loss given targets; aux; stats [L, 4, E]).

        stats counts, per expert: choices, kept, rejected by the draw, overflowed.
        """
        x = self.embed_tokens(ids)
        x = F.dropout(x, dropout, self.training)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        aux, stats = 0.0, []
        for layer in self.layers:
            x, layer_aux, layer_stats = layer(x, cos, sin, gate, dropout)
            aux = aux + layer_aux
            stats.append(layer_stats)
        logits = F.linear(self.norm(x), self.embed_tokens.weight)
        if targets is not None:
            logits = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))
        return logits, aux, torch.stack(stats)

    def hf_state(self):
        """{Hugging Face name: tensor}, one tensor per expert and projection."""
        state = {}
        for name, value in self.state_dict().items():
            name, value = "model." + name, value.detach()
            if name.endswith("mlp.gate_up"):
                for e, (gate, up) in enumerate(v.chunk(2, 0) for v in value):
                    prefix = name.replace("gate_up", f"experts.{e}.")
                    state[prefix + "gate_proj.weight"], state[prefix + "up_proj.weight"] = gate, up
            elif name.endswith("mlp.down"):
                for e, down in enumerate(value):
                    state[name.replace("mlp.down", f"mlp.experts.{e}.down_proj.weight")] = down
            elif "shared_gate_up" in name:
                gate, up = value.chunk(2, 0)
                state[name.replace("shared_gate_up", "shared_expert.gate_proj")] = gate
                state[name.replace("shared_gate_up", "shared_expert.up_proj")] = up
            else:
                state[name.replace("shared_down", "shared_expert.down_proj")] = value
        return {name: value.contiguous().clone() for name, value in state.items()}

    def load_hf_state(self, state):
        """The inverse of hf_state()."""
        own = {}
        for name in self.state_dict():
            full = "model." + name
            experts = range(self.config.num_experts)
            if name.endswith("mlp.gate_up"):
                own[name] = torch.stack([torch.cat([
                    state[full.replace("gate_up", f"experts.{e}.{p}_proj.weight")]
                    for p in ("gate", "up")]) for e in experts])
            elif name.endswith("mlp.down"):
                own[name] = torch.stack([
                    state[full.replace("mlp.down", f"mlp.experts.{e}.down_proj.weight")]
                    for e in experts])
            elif "shared_gate_up" in name:
                own[name] = torch.cat([
                    state[full.replace("shared_gate_up", f"shared_expert.{p}_proj")]
                    for p in ("gate", "up")])
            else:
                own[name] = state[full.replace("shared_down", "shared_expert.down_proj")]
        self.load_state_dict({name: value.float() for name, value in own.items()})
