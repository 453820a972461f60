# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/gguf: GGUF files, and what other programs make of them.

    python tools/make_gguf_goldens.py --out tests/data/gguf [--only tokenizers]
    python tools/make_gguf_goldens.py --convert MODEL_DIRECTORY --type q8_0 --out model.gguf

Needs gguf, torch, transformers >= 5 and tokenizers. The README beside the data describes the files.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.convert_slow_tokenizer import generate_merges

import make_goldens
from goldens import checkpoint, gguf_files, reference
from goldens.families import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests/data/goldens"
SEED = 20260101

# The same weights as in tests/data/goldens, which are exact in all three types.
PLAIN = {
    "llama-classic": Type.F16,
    "llama-llama3": Type.F32,
    "mixtral-classic": Type.F16,
    "mixtral-window": Type.BF16,
    "olmoe-classic": Type.F16,
    "qwen2-classic": Type.BF16,
    "qwen2_moe-classic": Type.F16,
    "qwen3-classic": Type.F16,
    "qwen3_moe-classic": Type.BF16,
}

_TINY = {
    "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": None,
    "eos_token_id": None, "rope_theta": 10000.0,
}
_MOE = {"intermediate_size": 64, "moe_intermediate_size": 32, "num_experts": 4,
        "num_experts_per_tok": 2}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
         "original_max_position_embeddings": 64}
# name: model type, configuration, type of a matrix with rows of k numbers
QUANTISED = {
    "qwen3_moe-q8_0": ("qwen3_moe", _TINY | _MOE | {"head_dim": 16, "norm_topk_prob": True},
                       lambda name, k: Type.Q8_0),
    "mixtral-q4_0": ("mixtral", _TINY | {"intermediate_size": 32, "num_local_experts": 4,
                                         "num_experts_per_tok": 2, "rms_norm_eps": 1e-5},
                     lambda name, k: Type.Q8_0 if name == "output.weight" else Type.Q4_0),
    "qwen2_moe-q4_1": ("qwen2_moe", _TINY | _MOE | {"shared_expert_intermediate_size": 32,
                                                    "norm_topk_prob": False},
                       lambda name, k: Type.Q4_1),
    "qwen3_moe-mxfp4": ("qwen3_moe", _TINY | _MOE | {"head_dim": 16, "norm_topk_prob": True,
                                                     "rope_parameters": _YARN},
                        lambda name, k: Type.MXFP4 if "_exps" in name else Type.Q8_0),
    "llama-q4_k": ("llama", _TINY | {"hidden_size": 256, "num_hidden_layers": 1,
                                     "intermediate_size": 256, "head_dim": 16},
                   lambda name, k: Type.Q8_0 if k % 256 else
                   Type.Q6_K if name in ("output.weight", "blk.0.ffn_down.weight",
                                         "blk.0.attn_v.weight") else Type.Q4_K),
}


def write_blocks(path):
    """Random blocks of every type, with extreme scales, and the float32 that they stand for."""
    generator = np.random.default_rng(SEED)
    halves = [0.0, -0.0, 1.0, -1.0, 65504.0, -65504.0, 2.0**-24, -(2.0**-24), 6.1e-5, 0.1]
    half_at = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q4_K": [0, 2], "Q6_K": [208], "MXFP4": []}
    exponents = [0, 1, 2, 126, 127, 128, 252]
    result = {}
    for name, places in half_at.items():
        kind = Type[name]
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        rows = []
        for i in range(10):
            block = generator.integers(0, 256, block_bytes, dtype=np.uint8)
            for number, place in enumerate(places):
                value = np.float16(halves[(i + 3 * number) % len(halves)])
                block[place:place + 2] = np.frombuffer(value.tobytes(), np.uint8)
            if name == "MXFP4":
                block[0] = exponents[i % len(exponents)]
            if name == "Q4_K" and i == 0:
                block[4:16] = 255
            if name == "Q6_K" and i == 4:
                block[192:208] = 128
            numbers = gguf.quants.dequantize(block.reshape(1, -1), kind).astype("<f4")
            rows.append({"block": block.tobytes().hex(), "numbers": numbers.tobytes().hex()})
        result[name] = rows
    path.write_text("{\n" + ",\n".join(
        f'"{name}":[\n ' + ",\n ".join(json.dumps(row) for row in rows) + "]"
        for name, rows in result.items()) + "\n}\n")


def write_plain(out):
    for name, kind in PLAIN.items():
        config = json.loads((GOLDENS / name / "config.json").read_text())
        tensors = gguf_files.read_checkpoint(GOLDENS / name)
        gguf_files.write_model(out / f"{name}.gguf", config, tensors,
                               lambda _name, _array, kind=kind: kind)
        print(f"{name}: {(out / f'{name}.gguf').stat().st_size // 1024} KiB", flush=True)


def dequantised_model(config, names, tensors, directory):
    """A Hugging Face directory with the numbers of a GGUF file, loaded in float32."""
    arrays = {}
    model_type = config["model_type"]
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    for name in names:
        head, found, tail = name.partition(".experts.")
        if found:
            expert, projection = tail.split(".")[:2]
            if model_type == "mixtral":
                head = head.replace("block_sparse_moe", "feed_forward").removeprefix("model.")
            arrays[name] = tensors[f"{head}.experts.{projection}.weight"][int(expert)]
            continue
        array = tensors[name]
        if model_type in ("llama", "mixtral") and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = array.reshape(-1, head_dim // 2, 2, *array.shape[1:])
            array = heads.swapaxes(1, 2).reshape(array.shape)
        if name.endswith("shared_expert_gate.weight"):
            array = array[None]
        arrays[name] = array
    from safetensors.numpy import save_file
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()},
              directory / "model.safetensors", {"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config))
    return reference.load_model(directory)


def build_quantised(name, out, seed):
    model_type, keys, kind_of = QUANTISED[name]
    config = {"architectures": [FAMILIES[model_type].architecture], "model_type": model_type}
    config |= keys
    directory = out / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "config.json").write_text(json.dumps(config))
        skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(temporary))
        weights = checkpoint.random_weights(skeleton.state_dict(), config, seed)
        drawn = {key: value.numpy() for key, value in
                 FAMILIES[model_type].released(weights, config).items()}
        # The router stays in float32, as llama.cpp keeps it.
        numbers = gguf_files.write_model(
            directory / "model.gguf", config, drawn,
            lambda mapped, array: Type.F32 if "ffn_gate_inp" in mapped
            else kind_of(mapped, array.shape[-1]))
        model = dequantised_model(config, drawn.keys(), numbers, Path(temporary))
        generator = torch.Generator().manual_seed(seed)
        prompts = [reference.clear_prompt(model, length, generator) for length in (1, 7, 40)]
        records = [make_goldens.prompt_record(model, ids)[0] for ids in prompts]
        greedy, _, _ = make_goldens.greedy_record(model, 6, generator)
    make_goldens.write_golden({"transformers": transformers.__version__, "seed": seed,
                               "greedy": greedy, "prompts": records}, directory / "golden.json")
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{name}: seed {seed}, {size // 1024} KiB", flush=True)


def write_quantised(out):
    for name in QUANTISED:
        make_goldens.first_that_works(name, lambda seed: build_quantised(name, out, seed), SEED)


def golden_inputs():
    """The texts of the other tokenizer goldens."""
    lines = (ROOT / "tests/data/tokenizers/llama2_style.golden.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [record["input"] for record in records if "input" in record]


def record_of(tokenizer, text):
    record = {"input": text, "ids": tokenizer.encode(text).ids}
    record["text"] = tokenizer.decode(record["ids"], skip_special_tokens=False)
    return record


def write_sentencepiece(out):
    """A SentencePiece vocabulary; merges by Transformers' converter, ids by tokenizers."""
    root = json.loads((ROOT / "tests/data/tokenizers/llama2_style.json").read_text())
    vocabulary = root["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    first = 3 + 256  # unknown, begin, end, bytes
    kinds = [gguf.TokenType.NORMAL] * len(tokens)
    kinds[:3] = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    for i, token in enumerate(tokens):
        if token.startswith("<0x") and token.endswith(">"):
            kinds[i] = gguf.TokenType.BYTE
    # Longer tokens mostly have the worse scores, but not always, and some scores are equal.
    scores = [0.0 if i < first else -float((i * 7) // 9) for i in range(len(tokens))]
    scored = [(t, s) for t, s, k in zip(tokens, scores, kinds) if k == gguf.TokenType.NORMAL]
    merges = generate_merges({t: vocabulary[t] for t, _ in scored}, scored)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"),
                                                 normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])

    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(kinds)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)

    gguf_files.write_vocabulary(out / "sentencepiece.gguf", add)
    lines = [json.dumps(record_of(tokenizer, text), ensure_ascii=False)
             for text in golden_inputs()]
    (out / "sentencepiece.jsonl").write_text("\n".join(lines) + "\n")


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TEKKEN_PATTERN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
                  r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
                  r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# The parts of the models' tokenizer.json; "default" is llama.cpp's own.
PRE_TYPES = {
    "gpt-2": [GPT2],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), GPT2],
    "tekken": [split(TEKKEN_PATTERN), BYTES],
    "deepseek-coder": [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                       split("[一-龥ࠀ-一가-퟿]+"), pre_tokenizers.Digits(individual_digits=True),
                       BYTES],
    "default": [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2_PATTERN), split(r"\p{N}+"),
                split("[0-9][0-9][0-9]"), BYTES],
}


def write_pre_types(out):
    """The vocabulary of llama3_style, cut as each name of tokenizer.ggml.pre says."""
    path = ROOT / "tests/data/tokenizers/llama3_style.json"
    root = json.loads(path.read_text())
    lines = []
    for name, parts in PRE_TYPES.items():
        root["model"]["ignore_merges"] = name == "tekken"
        tokenizer = Tokenizer.from_str(json.dumps(root | {"post_processor": None}))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
        for text in golden_inputs()[::3]:
            record = {"pre": name} | record_of(tokenizer, text)
            lines.append(json.dumps(record, ensure_ascii=False))
    (out / "pre_types.jsonl").write_text("\n".join(lines) + "\n")


def write_tokenizers(out):
    out.mkdir(parents=True, exist_ok=True)
    data = ROOT / "tests/data/tokenizers"
    demo = ROOT / "models/demo-kjv"
    template = (demo / "chat_template.jinja").read_text()
    for name, add in {
            "llama3_style": gguf_files.byte_level_tokenizer(
                data / "llama3_style.json", "llama-bpe", bos=0, eos=1),
            "qwen2_style": gguf_files.byte_level_tokenizer(
                data / "qwen2_style.json", "qwen2", eos=1),
            "demo": gguf_files.byte_level_tokenizer(
                demo / "tokenizer.json", "qwen2", chat_template=template, eos=0, pad=0),
            "t5_style": gguf_files.unigram_tokenizer(data / "t5_style.json"),
    }.items():
        gguf_files.write_vocabulary(out / f"{name}.gguf", add)
    write_sentencepiece(out)
    write_pre_types(out)


def convert(directory, kind, out):
    """A Hugging Face directory as GGUF; rows that are no whole blocks, and routers, stay in F16."""
    config = json.loads((directory / "config.json").read_text())
    block = gguf.GGML_QUANT_SIZES[kind][0]

    def kind_of(name, array):
        if "ffn_gate_inp" in name:
            return Type.F32
        return kind if array.shape[-1] % block == 0 else Type.F16

    template = directory / "chat_template.jinja"
    tokenizer = gguf_files.byte_level_tokenizer(
        directory / "tokenizer.json", "qwen2", pad=config["pad_token_id"],
        chat_template=template.read_text() if template.exists() else None)
    gguf_files.write_model(out, config, gguf_files.read_checkpoint(directory), kind_of, tokenizer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=["blocks", "plain", "quantised", "tokenizers"])
    parser.add_argument("--convert", type=Path, help="a model directory with a qwen2 tokenizer")
    parser.add_argument("--type", default="q8_0", help="of --convert")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if arguments.convert:
        convert(arguments.convert, Type[arguments.type.upper()], arguments.out)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    steps = {
        "blocks": lambda: write_blocks(arguments.out / "blocks.json"),
        "plain": lambda: write_plain(arguments.out),
        "quantised": lambda: write_quantised(arguments.out),
        "tokenizers": lambda: write_tokenizers(arguments.out / "tokenizers"),
    }
    for name, step in steps.items():
        if arguments.only in (None, name):
            step()


if __name__ == "__main__":
    main()
