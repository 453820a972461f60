#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model on CPU for a given time and keeps the best checkpoint on held-out text.

The gate is the one Folkmoot serves: softmax over all experts, the two best, weights normalised
before anything is dropped, the second expert kept with probability min(1, 2 g2), capacity
ceil(2 f S / E) counted in token order over chunks of one sequence, an overflowed choice adds
nothing, and the GShard load-balancing loss. Matrices learn by Muon (orthogonalised momentum),
everything else by AdamW. The learning rate falls linearly to zero by wall clock, and the windows
grow from 256 to 512 to 1024 tokens, so a run ends on time however busy the machine is.

    python train.py --tokenizer models/demo-kjv --corpus-dir corpus --output-dir out --minutes 70
"""

import argparse
import json
import math
import os
import pathlib
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from model import DemoModel, Gate, ModelConfig

STAGES = ((0.0, 256), (0.45, 512), (0.85, 1024))  # (share of the time, window length)
HELD_OUT_WINDOW = 512
DROPLESS = Gate("dropless", chunk=HELD_OUT_WINDOW)


def load_stream(tokenizer, path, end_id):
    """The chapters of a file as one stream of ids, each between end-of-text tokens."""
    lines = path.read_text(encoding="utf-8").splitlines()
    ids = [end_id]
    for encoding in tokenizer.encode_batch(lines):
        ids += encoding.ids + [end_id]
    return torch.tensor(ids), sum(len(line.encode("utf-8")) for line in lines)


def batches(stream, length, batch, generator):
    """Endless [batch, length + 1] windows: each epoch cuts the stream at a new offset."""
    while True:
        offset = int(torch.randint(length, (1,), generator=generator))
        starts = torch.arange(offset, len(stream) - length - 1, length)
        starts = starts[torch.randperm(len(starts), generator=generator)]
        for i in range(0, len(starts) - batch + 1, batch):
            yield torch.stack([stream[s : s + length + 1] for s in starts[i : i + batch].tolist()])


@torch.no_grad()
def held_out_bits_per_byte(model, stream, size, gate, window=HELD_OUT_WINDOW):
    """Returns (bits per byte over non-overlapping windows, gate counts [L, 4, E]).

    The last window is filled up with end-of-text tokens that are not scored; they come after the
    real ones, so neither attention nor a capacity in token order lets them change anything.
    """
    model.eval()
    windows = -(-(len(stream) - 1) // window)
    padding = windows * window - (len(stream) - 1)
    ids = F.pad(stream[:-1], (0, padding), value=int(stream[0])).view(windows, window)
    targets = F.pad(stream[1:], (0, padding), value=-100).view(windows, window)
    total, stats = 0.0, 0
    for first in range(0, windows, 8):
        part = targets[first : first + 8]
        loss, _, part_stats = model(ids[first : first + 8], gate, part)
        total += loss.item() * int((part >= 0).sum())
        stats = stats + part_stats
    model.train()
    return total / math.log(2) / size, stats


class Muon:
    """Momentum orthogonalised by Newton-Schulz, batched over all matrices of one shape.

    Update of a [r, c] matrix: lr * 0.2 sqrt(max(r, c)) * orthogonal factor (the scale that makes
    its root mean square match AdamW's), after decoupled weight decay.
    """

    def __init__(self, parameters, momentum=0.95, weight_decay=0.1):
        self.momentum, self.weight_decay = momentum, weight_decay
        self.slots = [(p, torch.zeros_like(p)) for p in parameters]

    @staticmethod
    def orthogonalise(x):
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for _ in range(5):
            gram = x @ x.mT
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        return x

    @staticmethod
    def matrices(parameter, value):
        """[n, r, c] view: fused gate and up projections are separate matrices."""
        rows, columns = value.shape[-2:]
        if parameter.fused:
            rows //= 2
        return value.reshape(-1, rows, columns)

    @torch.no_grad()
    def step(self, lr):
        groups = {}
        for parameter, momentum in self.slots:
            momentum.lerp_(parameter.grad, 1 - self.momentum)
            value = self.matrices(parameter, parameter.grad.lerp(momentum, self.momentum))
            wide = value if value.shape[1] <= value.shape[2] else value.mT
            groups.setdefault(wide.shape[1:], []).append((parameter, value.shape, wide))
        for shape, members in groups.items():
            update = self.orthogonalise(torch.cat([wide for _, _, wide in members]))
            parts = update.split([wide.shape[0] for _, _, wide in members])
            for (parameter, original, wide), part in zip(members, parts):
                part = part if part.shape == original else part.mT
                parameter.mul_(1 - lr * self.weight_decay)
                scale = lr * 0.2 * math.sqrt(max(shape))
                parameter.sub_(part.reshape(parameter.shape), alpha=scale)


def split_parameters(model):
    """(matrices for Muon, the rest for AdamW)."""
    muon, adam = [], []
    for name, parameter in model.named_parameters():
        parameter.fused = "gate_up" in name
        small = "embed" in name or name.endswith("gate.weight") or parameter.dim() < 2
        (adam if small else muon).append(parameter)
    return muon, adam


def save_checkpoint(model, path, end_id, state):
    path.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.to(torch.bfloat16) for name, t in model.hf_state().items()}
    temporary = path / "model.safetensors.part"
    save_file(tensors, str(temporary), metadata={"format": "pt"})
    temporary.chmod(0o644)
    os.replace(temporary, path / "model.safetensors")
    config = json.dumps(model.config.to_hf(end_id), indent=2) + "\n"
    (path / "config.json").write_text(config, encoding="utf-8")
    state = json.dumps(state, indent=2) + "\n"
    (path / "training_state.json").write_text(state, encoding="utf-8")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="model directory")
    parser.add_argument("--corpus-dir", type=pathlib.Path, required=True)
    parser.add_argument("--output-dir", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=70.0)
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--muon-lr", type=float, default=4e-3)
    parser.add_argument("--adam-lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=60, help="steps")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1611)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eval-minutes", type=float, default=4.0)
    parser.add_argument("--rate-start", type=float, default=1.0,
                        help="share of the peak rate to begin with; continued runs begin lower")
    parser.add_argument("--window-start", type=float, default=0.0,
                        help="where in the plan of window lengths to begin, 0 to 1")
    parser.add_argument("--init-from", type=pathlib.Path,
                        help="a checkpoint directory of an earlier run to go on from")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    return parser.parse_args()


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    end_id = tokenizer.token_to_id("<|endoftext|>")
    stream, _ = load_stream(tokenizer, args.corpus_dir / "train.txt", end_id)
    held_out, held_out_size = load_stream(tokenizer, args.corpus_dir / "heldout.txt", end_id)

    model = DemoModel(ModelConfig(), args.seed)
    step = tokens = 0
    if args.init_from:
        model.load_hf_state(load_file(str(args.init_from / "model.safetensors")))
        state = json.loads((args.init_from / "training_state.json").read_text(encoding="utf-8"))
        step, tokens = state["step"], state["tokens"]
        generator.manual_seed(args.seed + step)
    first_step = step
    muon_parameters, adam_parameters = split_parameters(model)
    muon = Muon(muon_parameters)
    adam = torch.optim.AdamW([
        {"params": [p for p in adam_parameters if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in adam_parameters if p.dim() < 2], "weight_decay": 0.0},
    ], betas=(0.9, 0.95), fused=True)
    compiled = torch.compile(model, dynamic=False) if args.compile else model
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters, {len(stream)} training tokens, {len(held_out)} held out",
          flush=True)

    begin = last_eval = last_log = time.time()
    best, length, source, log_tokens = math.inf, 0, None, tokens
    while True:
        share = (time.time() - begin) / (60 * args.minutes)
        done = share >= 1 or step >= args.max_steps
        if done or time.time() - last_eval > 60 * args.eval_minutes:
            score, _ = held_out_bits_per_byte(model, held_out, held_out_size, DROPLESS)
            print(f"held-out {score:.4f} bits per byte at step {step}, {tokens} tokens", flush=True)
            if score < best:
                best = score
                save_checkpoint(model, args.output_dir, end_id, {
                    "step": step, "tokens": tokens, "epochs": tokens / len(stream),
                    "minutes": (time.time() - begin) / 60, "held_out_bits_per_byte": score,
                    "seed": args.seed, "final": done})
            last_eval = time.time()
        if done:
            break
        stage = args.window_start + (1 - args.window_start) * share
        wanted = [window for start, window in STAGES if stage >= start][-1]
        if wanted != length:
            length = wanted
            # The last stage is short: compiling for its shape would cost more than it gains.
            forward = compiled if length < STAGES[-1][1] else model
            source = batches(stream, length, args.batch_tokens // length, generator)
        rate = min(1.0, (step + 1 - first_step) / args.warmup) * args.rate_start * (1 - share)
        window = next(source)
        loss, aux, stats = forward(window[:, :-1], Gate(), window[:, 1:], args.dropout)
        (loss + model.config.router_aux_loss_coef * aux / len(model.layers)).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step(args.muon_lr * rate)
        for group in adam.param_groups:
            group["lr"] = args.adam_lr * rate
        adam.step()
        model.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + window[:, 1:].numel()
        if step % 10 == 0:
            speed = (tokens - log_tokens) / (time.time() - last_log)
            last_log, log_tokens = time.time(), tokens
            load = stats[:, 0] / stats[:, 0].sum(-1, keepdim=True)
            lost = stats[:, 2:].sum((0, 2)) / stats[:, 0].sum()
            print(f"step {step} {share:.1%} window {length} loss {loss.item():.4f} "
                  f"aux {aux.item() / len(model.layers):.3f} grad {norm:.2f} "
                  f"load {load.min():.3f}-{load.max():.3f} rejected {lost[0]:.3f} "
                  f"overflow {lost[1]:.3f} {speed:.0f} tok/s", flush=True)
    print(f"best {best:.4f} bits per byte; {step} steps, {tokens} tokens", flush=True)


if __name__ == "__main__":
    main()
