# SPDX-License-Identifier: Apache-2.0
"""GGUF files by the writer, names and quantisers of the `gguf` package.

What it lacks is here: quantisers of Q4_K and Q6_K (plain rounding; the files that people share come
from better ones), and the order of rows of llama.cpp's converter.
"""

import base64
import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors import safe_open

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mixtral": gguf.MODEL_ARCH.LLAMA,
    "olmoe": gguf.MODEL_ARCH.OLMOE,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen2_moe": gguf.MODEL_ARCH.QWEN2MOE,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "qwen3_moe": gguf.MODEL_ARCH.QWEN3MOE,
}


def read_checkpoint(directory):
    """All tensors of a Hugging Face directory in float32, one per expert and projection."""
    tensors = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                tensors[name] = file.get_tensor(name).float().numpy()
    return tensors


def interleave(rows, head_dim):
    """The order of q's and k's rows that llama.cpp's rotation of neighbours needs."""
    shape = rows.shape
    heads = rows.reshape(-1, 2, head_dim // 2, *shape[1:])
    return heads.swapaxes(1, 2).reshape(shape)


def stack_experts(tensors, model_type):
    """One tensor [experts, n, k] per projection, named as the gguf package maps it."""
    result, stacks = {}, {}
    for name, tensor in tensors.items():
        head, found, tail = name.partition(".experts.")
        if not found:
            result[name] = tensor
            continue
        expert, projection = tail.split(".")[:2]
        stacks.setdefault((head, projection), {})[int(expert)] = tensor
    for (head, projection), experts in stacks.items():
        stacked = np.stack([experts[e] for e in range(len(experts))])
        head = head.replace("block_sparse_moe", "feed_forward") if model_type == "mixtral" else head
        if model_type == "mixtral":
            head = head.removeprefix("model.")
        result[f"{head}.experts.{projection}.weight"] = stacked
    return result


def add_configuration(writer, config, model_type):
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = (config.get("rope_parameters") or {}) | (config.get("rope_scaling") or {})
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    if config.get("head_dim"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-5 if model_type == "mixtral" else 1e-6))
    default_theta = 1e6 if model_type == "mixtral" else 1e4
    writer.add_rope_freq_base(float(config.get("rope_theta", rope.get("rope_theta", default_theta))))
    if model_type in ("llama", "mixtral"):
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(head_dim)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        original = rope.get("original_max_position_embeddings",
                            config.get("original_max_position_embeddings"))
        writer.add_rope_scaling_orig_ctx_len(original)
        for key, add in (("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
                         ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
                         ("beta_slow", writer.add_rope_scaling_yarn_beta_slow)):
            if key in rope:
                add(rope[key])
    if kind == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config, rope, head_dim))
    if model_type == "mixtral" and config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    experts = config.get("num_local_experts", config.get("num_experts"))
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if config.get("moe_intermediate_size"):
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if config.get("shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    # What llama.cpp assumes without the key.
    assumed = model_type not in ("olmoe", "qwen2_moe")
    if "norm_topk_prob" in config and config["norm_topk_prob"] != assumed:
        writer.add_expert_weights_norm(config["norm_topk_prob"])
    if config.get("eos_token_id") is not None:
        writer.add_eos_token_id(config["eos_token_id"])


def llama3_divisors(config, rope, head_dim):
    """What Transformers divides each frequency by, as the file's tensor rope_freqs."""
    theta = config.get("rope_theta", 10000.0)
    frequency = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    wavelength = 2 * np.pi / frequency
    context = rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = np.clip((context / wavelength - low) / (high - low), 0.0, 1.0)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def quantize(array, kind):
    """Bytes [..., row bytes] of an array, and the numbers that they stand for."""
    rows = array.astype(np.float32)
    if kind == Type.F32:
        return rows, rows
    if kind in (Type.Q4_K, Type.Q6_K):
        data = (q4_k if kind == Type.Q4_K else q6_k)(rows.reshape(-1, 256))
        data = data.reshape(*rows.shape[:-1], -1)
    else:
        data = gguf.quants.quantize(rows, kind)
    if kind == Type.F16:
        return data, data.astype(np.float32)
    return data, gguf.quants.dequantize(data, kind)


def half_bytes(values):
    return values.astype("<f2").view(np.uint8)


def q4_k(blocks):
    groups = blocks.reshape(len(blocks), 8, 32)
    low = np.minimum(groups.min(-1), 0)
    step = (groups.max(-1) - low) / 15
    d = (step.max(-1, keepdims=True) / 63).astype(np.float16).astype(np.float32)
    dmin = (-low.min(-1, keepdims=True) / 63).astype(np.float16).astype(np.float32)
    scale = np.rint(step / np.where(d > 0, d, 1)).clip(0, 63).astype(np.uint8)
    minimum = np.rint(-low / np.where(dmin > 0, dmin, 1)).clip(0, 63).astype(np.uint8)
    width = (d * scale)[..., None]
    codes = (groups + (dmin * minimum)[..., None]) / np.where(width > 0, width, 1)
    codes = np.rint(codes).clip(0, 15).astype(np.uint8)
    packed = np.zeros((len(blocks), 12), np.uint8)
    packed[:, 0:4] = scale[:, :4] | (scale[:, 4:] >> 4 << 6)
    packed[:, 4:8] = minimum[:, :4] | (minimum[:, 4:] >> 4 << 6)
    packed[:, 8:12] = (scale[:, 4:] & 15) | (minimum[:, 4:] & 15) << 4
    nibbles = (codes[:, 0::2] | codes[:, 1::2] << 4).reshape(len(blocks), 128)
    return np.concatenate([half_bytes(d), half_bytes(dmin), packed, nibbles], axis=-1)


def q6_k(blocks):
    groups = blocks.reshape(len(blocks), 16, 16)
    at = np.abs(groups).argmax(-1, keepdims=True)
    step = np.take_along_axis(groups, at, -1)[..., 0] / -32  # signed: -32 is reached, 32 is not
    d = (np.abs(step).max(-1, keepdims=True) / 127).astype(np.float16).astype(np.float32)
    scale = np.rint(step / np.where(d > 0, d, 1)).clip(-128, 127).astype(np.int8)
    width = (d * scale)[..., None]
    codes = np.rint(groups / np.where(width != 0, width, 1)).clip(-32, 31).astype(np.int16) + 32
    codes = codes.astype(np.uint8).reshape(len(blocks), 2, 128)
    low = codes[..., :64] & 15 | (codes[..., 64:] & 15) << 4
    upper = codes.reshape(len(blocks), 2, 4, 32) >> 4
    upper = upper[:, :, 0] | upper[:, :, 1] << 2 | upper[:, :, 2] << 4 | upper[:, :, 3] << 6
    return np.concatenate([low.reshape(len(blocks), 128), upper.reshape(len(blocks), 64),
                           scale.view(np.uint8), half_bytes(d)], axis=-1)


def write_model(path, config, tensors, kind_of, tokenizer=None):
    """Writes a model; kind_of(gguf name, array) chooses the type of each matrix.

    Returns the numbers in the file under the names and in the order of `tensors`.
    """
    model_type = config["model_type"]
    arch = ARCHITECTURES[model_type]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    writer.add_type("model")
    add_configuration(writer, config, model_type)
    if tokenizer is not None:
        tokenizer(writer)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    numbers = {}
    for name, array in stack_experts(tensors, model_type).items():
        mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise RuntimeError(f"{name} has no GGUF name")
        if arch == gguf.MODEL_ARCH.LLAMA and name.rsplit(".", 1)[0].endswith(("q_proj", "k_proj")):
            array = interleave(array, head_dim)
        if name.endswith("shared_expert_gate.weight"):
            array = array[0]
        kind = Type.F32 if array.ndim == 1 else kind_of(mapped, array)
        data, numbers[name] = quantize(array, kind)
        writer.add_tensor(mapped, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return numbers


def byte_level_tokenizer(json_path, pre, chat_template=None, **ids):
    """Adds a byte-level tokenizer.json to a writer."""
    root = json.loads(Path(json_path).read_text())
    vocabulary = dict(root["model"]["vocab"])
    kinds = {}
    for added in root["added_tokens"]:
        vocabulary[added["content"]] = added["id"]
        kinds[added["content"]] = (gguf.TokenType.CONTROL if added["special"]
                                   else gguf.TokenType.USER_DEFINED)
    tokens = sorted(vocabulary, key=vocabulary.get)
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise RuntimeError("the vocabulary has holes")
    merges = [m if isinstance(m, str) else " ".join(m) for m in root["model"]["merges"]]

    def add(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
        writer.add_token_merges(merges)
        for kind, value in ids.items():
            getattr(writer, f"add_{kind}_token_id")(value)
        if chat_template is not None:
            writer.add_chat_template(chat_template)

    return add


def unigram_tokenizer(json_path):
    """Adds the tokenizer of T5 to a writer, as llama.cpp's converter does: gaps are the user's, with
    a score of their own, and unused tokens fill the vocabulary up."""
    root = json.loads(Path(json_path).read_text())
    special = {added["content"] for added in root["added_tokens"]}
    kinds = {"<unk>": gguf.TokenType.UNKNOWN, "<pad>": gguf.TokenType.CONTROL,
             "</s>": gguf.TokenType.CONTROL}
    tokens, scores, types = [], [], []
    for token, score in root["model"]["vocab"]:
        gap = token in special and token not in kinds
        tokens.append(token)
        scores.append(-1000.0 if gap else score)
        types.append(gguf.TokenType.USER_DEFINED if gap
                     else kinds.get(token, gguf.TokenType.NORMAL))
    for index in range(len(tokens), len(tokens) + 3):
        tokens.append(f"[PAD{index}]")
        scores.append(-10000.0)
        types.append(gguf.TokenType.UNUSED)

    def add(writer):
        writer.add_tokenizer_model("t5")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(types)
        writer.add_add_space_prefix(True)
        writer.add_remove_extra_whitespaces(True)
        writer.add_precompiled_charsmap(
            base64.b64decode(root["normalizer"]["precompiled_charsmap"]))
        writer.add_eos_token_id(1)
        writer.add_unk_token_id(2)
        writer.add_pad_token_id(0)
        writer.add_add_bos_token(False)
        writer.add_add_eos_token(True)

    return add


def write_vocabulary(path, add_tokenizer):
    """A file with a tokenizer and no tensors, as llama.cpp's --vocab-only makes them."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    add_tokenizer(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
