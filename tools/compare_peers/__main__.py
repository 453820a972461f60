# SPDX-License-Identifier: Apache-2.0
"""Measures `folkmoot bench throughput` beside llama.cpp and ik_llama.cpp, interleaved.

  python3 tools/compare_peers/make_models.py MODELS
  python3 tools/compare_peers MODELS --folkmoot build/release/bin/folkmoot \\
      --llama-bench PATH --llama-batched-bench PATH [--ik-llama-bench PATH \\
      --ik-llama-batched-bench PATH] [--json results.json]

Each round runs every engine once, in an order that turns round, so that all see the same machine;
ratios are taken within a round. A run is marked when other processes took CPU time meanwhile. An
engine that is not there or fails is named. docs/performance.md says how to read the table.
"""
import argparse
import datetime
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

from engines import Folkmoot, LlamaPeer, Settings
from machine import Runner, RunFailed, cpu_model, idle_load
from report import print_rows, summarize
from shapes import SHAPES, TYPES, names_in

PEERS = {"llama.cpp": ("llama_bench", "llama_batched_bench", True),
         "ik_llama.cpp": ("ik_llama_bench", "ik_llama_batched_bench", False)}


def sizes(text):
    values = [int(part) for part in text.split(",") if part]
    if any(value < 1 for value in values):
        raise argparse.ArgumentTypeError(f"{text}: sizes start at 1")
    return values


def layouts(text):
    """1x2,2x1: ranks x threads."""
    values = [tuple(map(int, part.split("x"))) for part in text.split(",")]
    if any(len(value) != 2 or min(value) < 1 for value in values):
        raise argparse.ArgumentTypeError(f"{text}: give RANKSxTHREADS, such as 1x2,2x1")
    return values


def parse_arguments():
    parser = argparse.ArgumentParser(prog="compare_peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", type=pathlib.Path, help="folder that make_models.py filled")
    add("--folkmoot", default="folkmoot", help="the program, or a command line of it")
    add("--folkmoot-source", choices=["dummy", "gguf"], default="dummy",
        help="dummy: random weights of the same shape; gguf: the file that the peers read")
    add("--folkmoot-flags", type=shlex.split, default=[],
        help="more flags of bench throughput: --folkmoot-flags='--activation-precision reduced'")
    add("--llama-bench", help="of llama.cpp; default: on PATH")
    add("--llama-batched-bench", help="of llama.cpp; default: on PATH")
    add("--ik-llama-bench", help="of ik_llama.cpp")
    add("--ik-llama-batched-bench", help="of ik_llama.cpp")
    add("--shapes", type=names_in(SHAPES), default=list(SHAPES)[:3])
    add("--types", type=names_in(TYPES), default=list(TYPES))
    add("--prefill", type=sizes, default=[64, 512], help="prompt lengths")
    add("--decode", type=sizes, default=[1, 8, 32], help="batch sizes")
    add("--rounds", type=int, default=5)
    add("--threads", type=int, default=os.cpu_count() or 1, help="of every engine")
    add("--layouts", type=layouts, default=[],
        help="Folkmoot in other RANKSxTHREADS as well: 2x1,4x1")
    add("--mpirun", default="mpirun --oversubscribe --bind-to none")
    add("--retries", type=int, default=0, help="of a run that others disturbed")
    add("--timeout", type=float, default=900, help="seconds of one run")
    add("--json", help="writes everything there, after each round too")
    args = parser.parse_args()
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads start at 1")
    if not args.prefill and not args.decode:
        parser.error("--prefill and --decode are both empty")
    return parser, args


def program(parser, flag, path):
    found = shutil.which(path)
    if not found:
        parser.error(f"{flag}: {path} is not a program")
    return str(pathlib.Path(found).absolute())


class Comparison:
    def __init__(self, parser, args):
        self.args, self.notes, self.runs, self.failed = args, [], [], set()
        args.models = args.models.absolute()
        self.settings = Settings(args.models, args.prefill, args.decode, args.threads)
        command = shlex.split(args.folkmoot)
        command[0] = program(parser, "--folkmoot", command[0])
        ours = (self.settings, command, args.folkmoot_source, args.folkmoot_flags)
        self.ours = Folkmoot(*ours, [], (1, args.threads))
        self.others = [Folkmoot(*ours, shlex.split(args.mpirun), layout)
                       for layout in args.layouts]
        self.peers = self.find_peers(parser)
        self.runner = Runner(args.retries, args.timeout, self.say)
        version = subprocess.run([*command, "--version"], capture_output=True, text=True,
                                 check=False).stdout.strip()
        self.result = {"date": datetime.datetime.now().isoformat(timespec="seconds"),
                       "cpu": cpu_model(), "cores": os.cpu_count(), "threads": args.threads,
                       "folkmoot": version, "rounds": args.rounds, "notes": self.notes,
                       "runs": self.runs}

    def say(self, text):
        self.notes.append(text)
        print(text, file=sys.stderr, flush=True)

    def find_peers(self, parser):
        peers = []
        for name, (bench, batched, on_path) in PEERS.items():
            paths = []
            for flag in (bench, batched):
                usual = flag.replace("_", "-")
                given = getattr(self.args, flag)
                if given:
                    given = program(parser, f"--{usual}", given)
                elif on_path:
                    given = shutil.which(usual)
                if not given:
                    self.say(f"NOT COMPARED with {usual} of {name}: not given by --{usual}"
                             + (", and not on PATH" if on_path else ""))
                paths.append(given)
            if not any(paths):
                continue
            peers.append(LlamaPeer(self.settings, name, *paths))
            if name == "ik_llama.cpp":  # its weights can be repacked while they are loaded
                peers.append(LlamaPeer(self.settings, f"{name} -rtr", *paths, ("-rtr", "1"),
                                       ("-rtr",)))
        return peers

    def measure(self, at, engine, shape, kind):
        if (engine.name, shape, kind) in self.failed:
            return
        try:
            for result in engine.run(self.runner, shape, kind):
                self.runs.append({
                    "round": at, "engine": engine.name, "tool": result.tool, "shape": shape,
                    "type": kind, "command": result.command, "quiet": result.load.quiet,
                    **result.load._asdict(), "details": result.details,
                    "cells": {f"{phase} {n}": v for (phase, n), v in result.cells.items()}})
        except (RunFailed, ValueError, KeyError) as problem:
            self.failed.add((engine.name, shape, kind))
            self.say(f"SKIPPED {engine.name} on {shape} {kind}: "
                     f"{type(problem).__name__}: {problem}")

    def run(self):
        load = idle_load()
        self.result["load_before"] = {"loadavg": os.getloadavg(), **load._asdict()}
        print(f"{cpu_model()}, {os.cpu_count()} cores, {self.args.threads} threads; load average "
              f"{os.getloadavg()[0]:.2f}; before the start: {load}: "
              f"{'quiet' if load.quiet else 'NOT QUIET: the figures below mean little'}")
        engines = [self.ours, *self.peers, *self.others]
        for shape in self.args.shapes:
            for kind in self.args.types:
                for at in range(self.args.rounds):
                    # Whoever was first is last in the next round.
                    turn = at % len(engines)
                    for engine in engines[turn:] + engines[:turn]:
                        self.measure(at, engine, shape, kind)
                    self.write()
                print(f"measured {shape} {kind}", file=sys.stderr, flush=True)
        self.report()

    def report(self):
        cells = [("prefill", n) for n in self.args.prefill]
        cells += [("decode", n) for n in self.args.decode]
        ours, peers = self.ours.name, [peer.name for peer in self.peers]
        others = [other.name for other in self.others]
        rows = [row for shape in self.args.shapes for kind in self.args.types
                for row in summarize(self.runs, ours, peers, others, shape, kind, cells,
                                     self.args.rounds)]
        self.result["table"] = rows
        self.write()
        rates = [run["details"] for run in self.runs if run["engine"] == ours]
        if rates:
            by_what = {"read, GB/s": [rate["read_bytes_per_second"] for rate in rates]}
            for rate in rates:
                by_what.setdefault(f"products of {rate['products']}, Gop/s", []).append(
                    rate["product_ops_per_second"])
            for what, values in by_what.items():
                values = sorted(value / 1e9 for value in values)
                print(f"machine in the same runs: {what}: median {values[len(values) // 2]:.1f} "
                      f"({values[0]:.1f}..{values[-1]:.1f})")
        if self.args.folkmoot_flags:
            print(f"Folkmoot with {shlex.join(self.args.folkmoot_flags)}")
        builds = {run["engine"]: run["details"]["build_commit"] for run in self.runs
                  if "build_commit" in run["details"]}
        print("; ".join([f"Folkmoot {self.result['folkmoot']}"]
                        + [f"{engine} {commit}" for engine, commit in builds.items()]))
        print(f"median \u00b1 half of the spread over {self.args.rounds} round(s); ratios: median "
              "(least..greatest) within a round\n")
        print_rows(rows, ours, peers, others)
        disturbed = sum(not run["quiet"] for run in self.runs)
        print(f"\n{disturbed} of {len(self.runs)} runs were disturbed by other processes")
        for note in dict.fromkeys(n for n in self.notes if not n.startswith("disturbed")):
            print(note)

    def write(self):
        if self.args.json:
            part = f"{self.args.json}.part"
            with open(part, "w", encoding="utf-8") as file:
                json.dump(self.result, file, indent=1)
            os.replace(part, self.args.json)


def main():
    comparison = Comparison(*parse_arguments())
    comparison.run()
    # Nothing of ours measured: no comparison.
    return 0 if any(run["engine"] == comparison.ours.name for run in comparison.runs) else 1


if __name__ == "__main__":
    sys.exit(main())
