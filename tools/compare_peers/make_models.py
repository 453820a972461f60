# SPDX-License-Identifier: Apache-2.0
"""Writes the models that tools/compare_peers measures.

  python3 tools/compare_peers/make_models.py OUT [--shapes mixtral,...] [--types f32,bf16,q8_0,q4_0]

OUT gets SHAPE-TYPE.gguf for llama.cpp and its relatives and SHAPE/config.json for Folkmoot's dummy
weights. Needs numpy and gguf (PyPI). Weights are random, each tensor from a seed of its name, so
that files are the same everywhere and tokens spread evenly over the experts; matrices have
deviation 1/sqrt(inputs), embeddings 1. Everything but vectors and routers has the type of the
file, the embeddings and the head too ("pure").
"""
import argparse
import json
import os
import pathlib
import sys
import zlib

import gguf
import numpy as np

from shapes import SHAPES, TYPES, gguf_path, names_in

SEED = 20261122
GGML_TYPES = {"f32": gguf.GGMLQuantizationType.F32, "bf16": gguf.GGMLQuantizationType.BF16,
              "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
FILE_TYPES = {"f32": gguf.LlamaFileType.ALL_F32, "bf16": gguf.LlamaFileType.MOSTLY_BF16,
              "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0}


def values_of(tensor):
    """float32 values; the same on every machine."""
    if tensor.kind in ("ones", "zeros"):
        return np.full(tensor.shape, tensor.kind == "ones", dtype=np.float32)
    generator = np.random.default_rng([SEED, zlib.crc32(tensor.name.encode())])
    values = generator.standard_normal(tensor.shape, dtype=np.float32)
    if tensor.kind != "table":
        values *= np.float32(tensor.shape[-1] ** -0.5)
    return values


def type_of(tensor, kind):
    return GGML_TYPES[kind if tensor.kind in ("matrix", "table") else "f32"]


def add_vocabulary(writer, size):
    """As of SentencePiece: three control tokens, the bytes, and words that no text has."""
    types = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [types.UNKNOWN, types.CONTROL, types.CONTROL] + [types.BYTE] * 256
    fillers = size - len(tokens)
    tokens += [f"\u2581word{i}" for i in range(fillers)]
    kinds += [types.NORMAL] * fillers
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (size - fillers) + [-1000.0 - i for i in range(fillers)])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def open_writer(path, shape, kind):
    """A GGUF file with everything but its tensors' data."""
    writer = gguf.GGUFWriter(path, shape.arch)
    writer.add_name(f"{shape.name} {kind}, random weights")
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.expert_ffn)
    if shape.arch == "qwen2moe":
        writer.add_expert_feed_forward_length(shape.expert_ffn)
        writer.add_expert_shared_feed_forward_length(shape.shared_ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_expert_count(shape.experts)
    writer.add_expert_used_count(shape.top_k)
    add_vocabulary(writer, shape.vocab)
    for tensor in shape.tensors():
        ggml_type = type_of(tensor, kind)
        in_bytes = gguf.quant_shape_to_byte_shape(tensor.shape, ggml_type)
        writer.add_tensor_info(tensor.name, in_bytes, np.dtype(np.uint8), int(np.prod(in_bytes)),
                               raw_dtype=ggml_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


def write_shape(folder, shape, kinds):
    """All types in one pass: one tensor at a time is in memory."""
    parts = {kind: gguf_path(folder, shape.name, kind).with_suffix(".part") for kind in kinds}
    writers = {kind: open_writer(part, shape, kind) for kind, part in parts.items()}
    for tensor in shape.tensors():
        values = values_of(tensor)
        for kind, writer in writers.items():
            writer.write_tensor_data(gguf.quants.quantize(values, type_of(tensor, kind)))
    for kind, writer in writers.items():
        writer.close()
        path = gguf_path(folder, shape.name, kind)
        os.replace(parts[kind], path)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder; made if it is not there")
    parser.add_argument("--shapes", type=names_in(SHAPES), default=list(SHAPES))
    parser.add_argument("--types", type=names_in(TYPES), default=list(TYPES))
    args = parser.parse_args()
    for name in args.shapes:
        (args.out / name).mkdir(parents=True, exist_ok=True)
        with open(args.out / name / "config.json", "w", encoding="utf-8") as file:
            json.dump(SHAPES[name].config(), file, indent=1)
            file.write("\n")
        missing = [kind for kind in args.types if not gguf_path(args.out, name, kind).exists()]
        if len(missing) < len(args.types):
            print(f"{name}: kept what is there; delete a file to have it written again",
                  file=sys.stderr)
        if missing:
            write_shape(args.out, SHAPES[name], missing)


if __name__ == "__main__":
    main()
