# SPDX-License-Identifier: Apache-2.0
"""Times the MoE layer of other implementations on the shapes of `folkmoot bench moe`.

The peers, all in BF16: torch._grouped_mm, the experts of transformers ("grouped_mm", and
"batched_mm" of few tokens), and a fused MoE in Triton, written here in the usual design (tokens
sorted by expert, padded tiles; the best of a few configurations). Sorting and combining count. They
start from routing that is already there: norm, router, gate and shared expert, which `bench moe`
counts in, are left out; the shared expert is timed by itself, as dense products. Several layers are
run in turn, so that no weights come from the cache.

  python3 tools/gpu_peers --json peers.json --ours OURS...
      OURS: what `folkmoot bench moe --json` printed
  TRITON_INTERPRET=1 python3 tools/gpu_peers --device cpu --selftest
"""
import argparse
import importlib.metadata
import json
import os
import time

BEGIN = time.monotonic()
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
import triton  # noqa: E402

from cases import SHAPES, TINY, Case, Weights, error_of, reference  # noqa: E402
from peers import SharedExpert, TorchPeer, TransformersPeer, TritonPeer  # noqa: E402
from report import first_line, print_table, read_ours  # noqa: E402
from timing import Timer, measure_machine  # noqa: E402

TOLERANCE = 2e-2
CHECK_TOKENS = 32


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class Bench:
    def __init__(self, args):
        self.args, self.notes = args, []
        self.timer = Timer(args.device, args.seconds)
        self.generator = torch.Generator(args.device).manual_seed(1)
        self.interpreted = os.environ.get("TRITON_INTERPRET") == "1"

    def new(self, *size, deviation=1.0):
        # Triton's interpreter cannot multiply bfloat16.
        dtype = torch.float16 if self.interpreted else torch.bfloat16
        out = torch.empty(size, dtype=dtype, device=self.args.device)
        return out.normal_(0, deviation, generator=self.generator)

    def say(self, text):
        self.notes.append(text)
        print(text, flush=True)

    def peers_of(self, name, shape, layers):
        device = self.args.device
        makers = {"torch._grouped_mm": lambda: TorchPeer(shape, layers, device)}
        for kind in ("grouped_mm", "batched_mm"):
            makers[f"transformers {kind}"] = lambda kind=kind: TransformersPeer(shape, layers, kind)
        if device == "cuda" or self.interpreted:
            makers["triton"] = lambda: TritonPeer(shape, layers, device)
        if shape.shared:
            makers["shared expert"] = lambda: SharedExpert(layers)
        peers = []
        for peer, make in makers.items():
            try:
                peers.append(make())
            except Exception as problem:
                self.say(f"SKIPPED {name}: {peer}: {first_line(problem)}")
        return peers

    def is_right(self, name, shape, peer, layers, right):
        """Against float32, all variants at few tokens; rules out the variants that are wrong."""
        case = Case(shape, min(CHECK_TOKENS, peer.most_tokens), self.new, self.generator)
        expected = reference(case, layers[0], case.routes[0])
        if peer.name == "triton" and self.args.device == "cuda":
            begin = time.monotonic()
            try:
                peer.compile(case)
            except Exception as problem:
                self.say(f"{name}: triton, compiling side by side: {first_line(problem)}")
            print(f"{name}: triton compiled in {time.monotonic() - begin:.1f} s", flush=True)
        errors = []
        for variant in peer.all_variants():
            what = f"{name}: {peer.name} {variant or ''}"
            try:
                error = error_of(peer.run(case, 0, variant), expected)
                if error < TOLERANCE:
                    errors.append(error)
                    continue
                self.say(f"WRONG {what}: relative error {error:.1e}")
            except Exception as problem:
                self.say(f"SKIPPED {what}: {first_line(problem)}")
            peer.rule_out(variant)
        if errors:
            right[peer.name] = max(errors)
            print(f"{name}: {peer.name}: relative error at most {max(errors):.1e} against float32 "
                  f"({len(errors)} checked, {case.tokens} tokens)", flush=True)
        return bool(errors)

    def measure(self, name, shape, peer, case, expected):
        """One point of one peer (None: all of it failed), and its output."""
        best = None
        variants = peer.variants(case)
        for variant in variants:
            what = f"{name}: {peer.name} {variant or ''}: {case.tokens} tokens"
            try:
                run, mode, out = self.timer.prepare(
                    peer.name,
                    lambda v=variant: [peer.run(case, i, v) for i in range(shape.layers)])
                error = 0 if expected is None else error_of(out[0], expected)
                if not error < TOLERANCE:
                    self.say(f"WRONG {what}: {error:.1e} from the first peer's output")
                    continue
                seconds = self.timer.quick(run) if len(variants) > 1 else 0
                if best is None or seconds < best[0]:
                    best = seconds, run, mode, variant, out[0]
            except Exception as problem:
                self.say(f"SKIPPED {what}: {first_line(problem)}")
        if best is None:
            return None, expected
        _, run, mode, variant, out = best
        point = {"seconds": self.timer.median(run) / shape.layers, "mode": mode}
        return point | ({"config": variant._asdict()} if variant else {}), out

    def run_shape(self, name, shape):
        result = {"shape": name, "layers_measured": shape.layers, "points": []}
        if time.monotonic() - BEGIN > self.args.budget:
            self.say(f"!!! OUT OF BUDGET: all of {name} is skipped")
            return result
        layers = [Weights(shape, self.new) for _ in range(shape.layers)]
        errors = result["relative_errors"] = {}
        peers = [p for p in self.peers_of(name, shape, layers)
                 if not p.counted or self.is_right(name, shape, p, layers, errors)]
        skipped = []
        for tokens in self.args.tokens:
            if time.monotonic() - BEGIN > self.args.budget:
                skipped.append(tokens)
                continue
            case = Case(shape, tokens, self.new, self.generator)
            times, expected = {}, None
            for peer in peers:
                if tokens > peer.most_tokens:
                    continue
                point, out = self.measure(name, shape, peer, case,
                                          expected if peer.counted else None)
                if point:
                    times[peer.name] = point
                    expected = out if peer.counted and expected is None else expected
            result["points"].append({"tokens": tokens, "experts_touched": case.touched,
                                     "peers": times})
            if self.args.device == "cuda":
                torch.cuda.empty_cache()
        if skipped:
            self.say(f"!!! OUT OF BUDGET: {name}: skipped at {skipped} tokens")
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--tokens", default=",".join(str(2**i) for i in range(14)))
    parser.add_argument("--seconds", type=float, default=0.05, help="of measurement per point")
    parser.add_argument("--budget", type=float, default=60,
                        help="seconds after which points are skipped")
    parser.add_argument("--json", help="writes all results there")
    parser.add_argument("--ours", nargs="+", default=[],
                        help="files with the output of `folkmoot bench moe --json`")
    parser.add_argument("--selftest", action="store_true", help="tiny shapes, a few token counts")
    args = parser.parse_args()
    shapes = TINY if args.selftest else {name: SHAPES[name] for name in args.shapes.split(",")}
    args.tokens = [1, 3, 40, 150] if args.selftest else [int(t) for t in args.tokens.split(",")]
    torch.set_grad_enabled(False)
    bench = Bench(args)
    results = {"torch": torch.__version__, "triton": triton.__version__, "dtype": "bfloat16",
               "transformers": version_of("transformers"),
               "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
               "shared_expert": "not in the peers' times; timed by itself", "notes": bench.notes}
    results["machine"] = measure_machine(bench.timer, bench.new,
                                         *((64, 1 << 16) if args.selftest else (8192, 1 << 31)))
    machine = results["machine"]
    print(f"{results['device']}, torch {torch.__version__}, triton {triton.__version__}: "
          f"copy {machine['copy_bytes_per_second'] * 1e-9:.0f} GB/s (read and written), "
          f"read {machine['read_bytes_per_second'] * 1e-9:.0f} GB/s, "
          f"matmul {machine['matmul_flops_per_second'] * 1e-12:.0f} TFLOP/s", flush=True)
    ours = read_ours(args.ours)
    results["shapes"] = []
    for name, shape in shapes.items():
        try:
            results["shapes"].append(bench.run_shape(name, shape))
            print_table(results["shapes"][-1], ours.get(name, {}))
        except Exception as problem:
            bench.say(f"SKIPPED {name}: {first_line(problem)}")
        if args.json:
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=1)
        if args.device == "cuda":
            torch.cuda.empty_cache()
    print(f"\n{time.monotonic() - BEGIN:.1f} s in all", flush=True)


if __name__ == "__main__":
    main()
