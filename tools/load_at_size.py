#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inspects and loads a checkpoint of 57 GiB, whose files are holes, on a machine that is smaller.

Usage: load_at_size.py FOLKMOOT_BINARY DIRECTORY [--ranks 8]

Writes the shape of Qwen3-30B-A3B in bfloat16 (18,867 tensors in 16 files that take no room on the disk) into
DIRECTORY, times `inspect --ranks N`, and starts N ranks of `generate`. All but one stand still as soon as they
load; that one loads its share. Printed: what inspect says that the rank will hold, and the most that was resident.
Exit status 0: inspected in under 2 s, and loaded with its own share plus 2 %.
"""

import argparse
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time

CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "attention_bias": False,
    "decoder_sparse_step": 1,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}
FILES = 16


def tensors():
    hidden, inner = CONFIG["hidden_size"], CONFIG["moe_intermediate_size"]
    heads = CONFIG["num_attention_heads"] * CONFIG["head_dim"]
    kv_heads = CONFIG["num_key_value_heads"] * CONFIG["head_dim"]
    yield "model.embed_tokens.weight", [CONFIG["vocab_size"], hidden]
    for index in range(CONFIG["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        yield f"{layer}.self_attn.q_proj.weight", [heads, hidden]
        yield f"{layer}.self_attn.k_proj.weight", [kv_heads, hidden]
        yield f"{layer}.self_attn.v_proj.weight", [kv_heads, hidden]
        yield f"{layer}.self_attn.o_proj.weight", [hidden, heads]
        yield f"{layer}.self_attn.q_norm.weight", [CONFIG["head_dim"]]
        yield f"{layer}.self_attn.k_norm.weight", [CONFIG["head_dim"]]
        yield f"{layer}.mlp.gate.weight", [CONFIG["num_experts"], hidden]
        for expert in range(CONFIG["num_experts"]):
            yield f"{layer}.mlp.experts.{expert}.gate_proj.weight", [inner, hidden]
            yield f"{layer}.mlp.experts.{expert}.up_proj.weight", [inner, hidden]
            yield f"{layer}.mlp.experts.{expert}.down_proj.weight", [hidden, inner]
        yield f"{layer}.input_layernorm.weight", [hidden]
        yield f"{layer}.post_attention_layernorm.weight", [hidden]
    yield "model.norm.weight", [hidden]
    yield "lm_head.weight", [CONFIG["vocab_size"], hidden]


def write(directory):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as file:
        json.dump(CONFIG, file)
    everything = list(tensors())
    per_file = -(-len(everything) // FILES)
    weight_map, total = {}, 0
    for index in range(FILES):
        name = f"model-{index + 1:05}-of-{FILES:05}.safetensors"
        header, offset = {}, 0
        for tensor, shape in everything[index * per_file : (index + 1) * per_file]:
            size = 2
            for extent in shape:
                size *= extent
            header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
            weight_map[tensor] = name
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(directory, name), "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + offset)
        total += offset
    with open(os.path.join(directory, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file)
    return total, len(everything)


def memory(pid, field):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(field + r":\s+(\d+) kB", file.read()).group(1)) * 1024


def ranks_of(mark):
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environ = dict(e.split(b"=", 1) for e in file.read().split(b"\0") if b"=" in e)
            if environ.get(b"LOAD_AT_SIZE") == mark.encode() and b"OMPI_COMM_WORLD_RANK" in environ:
                found[int(environ[b"OMPI_COMM_WORLD_RANK"])] = int(pid)
        except OSError:
            continue
    return found


def load(options):
    """The most bytes that rank 0 held while it loaded, and the seconds."""
    env = dict(os.environ, LOAD_AT_SIZE=str(os.getpid()), OMPI_MCA_rmaps_base_oversubscribe="1")
    env["OMPI_MCA_hwloc_base_binding_policy"] = "none"
    if os.getuid() == 0:
        env["OMPI_ALLOW_RUN_AS_ROOT"] = env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    command = ["mpirun", "-n", str(options.ranks), options.folkmoot, "generate", options.directory]
    command += ["--prompt-ids", "1,2,3", "--max-tokens", "1", "--kv-cache-blocks", "8", "--threads", "1"]
    command += ["--timeout-ms", "1000000"]
    begin = time.monotonic()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True) as job:
        try:
            still, most, last = set(), 0, begin
            while job.poll() is None and time.monotonic() - last < options.settle:
                for rank, pid in ranks_of(env["LOAD_AT_SIZE"]).items():
                    if rank > 0 and rank not in still and memory(pid, "VmRSS") > 256 << 20:
                        os.kill(pid, signal.SIGSTOP)
                        still.add(rank)
                    if rank == 0 and (peak := memory(pid, "VmHWM")) > most:
                        most, last = peak, time.monotonic()
                time.sleep(0.05)
            if job.poll() is not None:
                sys.exit(f"the ranks ended with status {job.returncode}")
        finally:
            for pid in ranks_of(env["LOAD_AT_SIZE"]).values():
                os.kill(pid, signal.SIGKILL)
    return most, last - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folkmoot")
    parser.add_argument("directory")
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--settle", type=float, default=15, help="seconds without growth: it has loaded")
    options = parser.parse_args()
    total, count = write(options.directory)
    print(f"{count} tensors, {total / 2**30:.1f} GiB")

    command = [options.folkmoot, "inspect", options.directory, "--ranks", str(options.ranks), "--json"]
    begin = time.monotonic()
    inspected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    seconds = time.monotonic() - begin
    share = inspected["ranks"][0]["bytes"] if "ranks" in inspected else None
    print(f"inspected in {seconds:.2f} s")
    if share is None:
        sys.exit(f"inspect --json names no bytes of a rank: {sorted(inspected)}")
    most, loading = load(options)
    print(f"rank 0 of {options.ranks}: {share / 2**30:.3f} GiB announced, {most / 2**30:.3f} GiB resident at most")
    print(f"{most / share:.4f} of its share, {loading:.0f} s, {share / loading / 2**30:.2f} GiB/s")
    sys.exit(0 if seconds < 2 and most <= 1.02 * share else 1)


if __name__ == "__main__":
    main()
