# SPDX-License-Identifier: Apache-2.0
"""How each engine is run and what it prints. A cell is ("prefill", tokens) or ("decode", batch)."""
import json
import re
from typing import NamedTuple

from machine import RunFailed
from shapes import TYPES, gguf_path

CONTEXT, NEW_TOKENS = 32, 32  # of each sequence in batched decode
LLAMA_BENCH_TOKENS = 64       # of the one sequence of llama-bench
# llama-batched-bench leaves its last rows to a thread that the end of the process may cut off.
ATTEMPTS = 3


class Settings(NamedTuple):
    models: object  # pathlib.Path
    prefill: list
    decode: list
    threads: int


class Result(NamedTuple):
    tool: str
    command: list
    load: object   # machine.Load
    cells: dict    # cell -> tokens per second
    details: dict  # what else it says


class Folkmoot:
    """`folkmoot bench throughput`, alone or under mpirun."""

    def __init__(self, settings, command, source, flags, launcher, layout):
        self._settings, self._command, self._source = settings, command, source
        self._flags = flags
        self._ranks, self._threads = layout
        self._launcher = launcher if self._ranks > 1 else []
        self.name = "Folkmoot" if self._ranks == 1 else f"Folkmoot {self._ranks}x{self._threads}"

    def argv(self, shape, kind):
        s = self._settings
        start = [*self._launcher, "-n", str(self._ranks)] if self._launcher else []
        if self._source == "gguf":
            model = [str(gguf_path(s.models, shape, kind))]
        else:
            model = [str(s.models / shape), "--load-format", "dummy", *TYPES[kind]]
        sizes = []
        if s.prefill:
            sizes += ["--prefill", ",".join(map(str, s.prefill)),
                      "--max-num-batched-tokens", str(max(512, *s.prefill))]
        if s.decode:
            sizes += ["--decode", ",".join(map(str, s.decode)),
                      "--max-num-seqs", str(max(64, *s.decode))]
        return [*start, *self._command, "bench", "throughput", *model, *self._flags, *sizes,
                "--threads", str(self._threads), "--decode-context", str(CONTEXT),
                "--decode-tokens", str(NEW_TOKENS), "--repetitions", "1", "--device", "cpu",
                "--json"]

    def run(self, runner, shape, kind):
        argv = self.argv(shape, kind)
        out, load = runner.run(argv)
        report = json.loads(out)
        wanted = [("prefill", n) for n in self._settings.prefill]
        wanted += [("decode", n) for n in self._settings.decode]
        points = {(m["phase"], m["size"]): m for m in report["measurements"]}
        cells = {cell: points[cell]["tokens_per_second"] for cell in wanted}
        yield Result("bench throughput", argv, load, cells, report)


class LlamaPeer:
    """llama-bench and llama-batched-bench of llama.cpp or a relative of it."""

    def __init__(self, settings, name, bench, batched, bench_flags=(), batched_flags=()):
        self._settings, self.name = settings, name
        self._bench, self._batched = bench, batched
        self._bench_flags, self._batched_flags = list(bench_flags), list(batched_flags)

    def bench_argv(self, model):
        s = self._settings
        tokens = LLAMA_BENCH_TOKENS if 1 in s.decode else 0
        return [self._bench, "-m", str(model), "-t", str(s.threads),
                "-p", ",".join(map(str, s.prefill)) or "0", "-n", str(tokens), "-r", "1",
                "-o", "json", *self._bench_flags]

    def batched_argv(self, model):
        s = self._settings
        context = max(4096, max(s.decode) * (CONTEXT + NEW_TOKENS))
        return [self._batched, "-m", str(model), "-t", str(s.threads), "-c", str(context),
                "-b", "2048", "-ub", "512", "-npp", str(CONTEXT), "-ntg", str(NEW_TOKENS),
                "-npl", ",".join(map(str, s.decode)), *self._batched_flags]

    def run(self, runner, shape, kind):
        model = gguf_path(self._settings.models, shape, kind)
        if not model.exists():
            raise RunFailed(f"{model} is not there; make_models.py writes it")
        if self._bench and (self._settings.prefill or 1 in self._settings.decode):
            argv = self.bench_argv(model)
            out, load = runner.run(argv)
            cells, details = parse_llama_bench(out)
            yield Result("llama-bench", argv, load, cells, details)
        if self._batched and self._settings.decode:
            argv = self.batched_argv(model)
            for _ in range(ATTEMPTS):
                # ik_llama.cpp's prints its table on stderr.
                out, load = runner.run(argv, with_stderr=True)
                cells = parse_batched_bench(out)
                missing = [b for b in self._settings.decode if ("decode", b) not in cells]
                if not missing:
                    yield Result("llama-batched-bench", argv, load, cells, {})
                    return
            raise RunFailed(f"llama-batched-bench printed no row for batch {missing[0]}")


def parse_llama_bench(out):
    """Cells and the build, from JSON. Some builds print notes before it."""
    begin = re.search(r"^\[", out, re.MULTILINE)
    if begin is None:
        raise RunFailed("llama-bench printed no JSON")
    tests = json.loads(out[begin.start():])
    cells = {}
    for test in tests:
        cell = ("prefill", test["n_prompt"]) if test["n_prompt"] else ("decode", 1)
        cells[cell] = test["avg_ts"]
    first = tests[0] if tests else {}
    return cells, {key: first[key] for key in ("build_commit", "build_number") if key in first}


def parse_batched_bench(out):
    """Cells of the table | PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | .."""
    cells = {}
    for line in out.splitlines():
        columns = [column.strip() for column in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(columns) >= 8 and columns[0].isdigit():
            cells["decode", int(columns[2])] = float(columns[7])
    if not cells:
        raise RunFailed("llama-batched-bench printed no rows")
    return cells
