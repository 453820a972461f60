#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is left of the speed when other processes want the cores, too.

Usage: tools/busy_machine.py MODEL FOLKMOOT [FOLKMOOT ...] [--ranks 1,2,4] [--others 8] [--rounds 3] [--decode 1,8]

Decodes with each number of ranks, one thread each, alone and beside processes that spin, in turns. Printed are medians
of tokens/s, and what was left beside the others as a part of the fair share: ours of all threads that want the cores.
Several builds are compared in the same turns.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys


def spin():
    while True:
        pass


class Others:
    """Processes that want a core each."""

    def __init__(self, count):
        self.processes = [multiprocessing.Process(target=spin, daemon=True) for _ in range(count)]

    def __enter__(self):
        for process in self.processes:
            process.start()

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.join()


def environment():
    env = {**os.environ, "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none"}
    if os.getuid() == 0:
        env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return env


def measure(folkmoot, ranks, options):
    """{sequences at once: tokens/s}"""
    command = ["mpirun", "-n", str(ranks), folkmoot, "bench", "throughput", options.model, "--threads", "1"]
    command += ["--prefill", "16", "--decode", options.decode, "--decode-tokens", str(options.tokens), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    runs = json.loads(done.stdout)["measurements"]
    return {run["size"]: run["tokens_per_second"] for run in runs if run["phase"] == "decode"}


def fair_share(ranks, others):
    """Of the speed without others, when all threads get the same part of the cores."""
    cores = len(os.sched_getaffinity(0))
    return min(1, ranks / (ranks + others) * cores / min(ranks, cores))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folkmoot", nargs="+")
    parser.add_argument("--ranks", default="1,2,4")
    parser.add_argument("--others", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decode", default="1,8", help="sequences at once")
    parser.add_argument("--tokens", type=int, default=64, help="of each sequence")
    return parser.parse_args()


def main():
    options = parse()
    ranks = [int(number) for number in options.ranks.split(",")]
    found = {}  # {(ranks, binary, sequences, others): [tokens/s]}
    for turn in range(options.rounds):
        for count in ranks:
            for binary in range(len(options.folkmoot)):
                for others in (0, options.others):
                    print(f"\rround {turn + 1} of {options.rounds}, {count} ranks ", end="", file=sys.stderr)
                    with Others(others):
                        rates = measure(options.folkmoot[binary], count, options)
                    for sequences, rate in rates.items():
                        found.setdefault((count, binary, sequences, others), []).append(rate)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    print("ranks  sequences     alone  beside others  part  of the fair share  binary")
    for (count, binary, sequences, others), rates in found.items():
        if others:
            continue
        alone, beside = (statistics.median(found[count, binary, sequences, o]) for o in (0, options.others))
        part = beside / alone
        share = part / fair_share(count, options.others)
        row = f"{count:5}  {sequences:9}  {alone:8.1f}  {beside:13.1f}  {part:4.2f}  {share:17.2f}"
        print(f"{row}  {options.folkmoot[binary]}")


if __name__ == "__main__":
    main()
