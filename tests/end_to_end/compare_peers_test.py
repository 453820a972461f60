#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/compare_peers: the real program beside peers that print what we tell them."""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

FOLKMOOT, ROOT = (pathlib.Path(arg).absolute() for arg in sys.argv[1:3])
TOOL = ROOT / "tools" / "compare_peers"
sys.path.insert(0, str(TOOL))
import engines  # noqa: E402
import report  # noqa: E402
from shapes import SHAPES, gguf_path  # noqa: E402

STUB = """#!/usr/bin/env python3
import sys
open({log!r}, "a").write({name!r} + "\\n")
if {fails!r} and {fails!r} in " ".join(sys.argv):
    sys.exit("error: unknown architecture\\n--------")
print({out!r}, file=sys.stderr if {name!r} == "ik_batched" else sys.stdout)
"""
BENCH = "a note\n" + json.dumps([
    {"n_prompt": 4, "n_gen": 0, "avg_ts": 1000.0, "build_commit": "abc"},
    {"n_prompt": 0, "n_gen": 64, "avg_ts": 5e6, "build_commit": "abc"}], indent=1)
BATCHED = """main: n_kv_max = 4096, n_batch = 2048

|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|    32 |     32 |    1 |     64 |    0.100 |   320.00 |    0.320 |   100.00 |    0.420 |   152.38 |
|    32 |     32 |    2 |    128 |    0.200 |   320.00 |    0.320 |   200.00 |    0.520 |   246.15 |
"""


class CompareTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)
        self.log = self.path / "log"
        for shape in ("demo", "olmoe"):
            (self.path / shape).mkdir()
            (self.path / shape / "config.json").write_text(json.dumps(SHAPES[shape].config()))
            gguf_path(self.path, shape, "f32").touch()

    def stub(self, name, out, fails=""):
        path = self.path / name
        path.write_text(STUB.format(log=str(self.log), name=name, out=out, fails=fails))
        path.chmod(0o755)
        return str(path)

    def compare(self, *flags):
        environment = os.environ | {"PATH": "/usr/bin:/bin"}  # no llama.cpp of this machine
        return subprocess.run(
            [sys.executable, str(TOOL), str(self.path), "--types", "f32",
             "--prefill", "4", "--decode", "1,2", "--threads", "1", *flags],
            capture_output=True, text=True, env=environment, check=False)

    def test_interleaves_and_takes_ratios_with_the_best_peer(self):
        out = self.compare("--folkmoot", str(FOLKMOOT), "--shapes", "demo", "--rounds", "3",
                           "--llama-bench", self.stub("bench", BENCH),
                           "--llama-batched-bench", self.stub("batched", BATCHED),
                           "--ik-llama-bench", self.stub("ik", BENCH.replace("1000.0", "2000.0")),
                           "--ik-llama-batched-bench", self.stub("ik_batched", BATCHED),
                           "--json", str(self.path / "out.json"))
        self.assertEqual(out.returncode, 0, out.stderr)
        result = json.loads((self.path / "out.json").read_text())
        prefill, one, two = result["table"]
        self.assertEqual(prefill["best_peer"], "ik_llama.cpp")
        ours = prefill["engines"]["Folkmoot"]
        self.assertEqual(len(ours["values"]), 3)
        self.assertGreater(prefill["roofline_fraction"], 0)
        self.assertAlmostEqual(prefill["ratio"][0], ours["median"] / 2000)
        # Of llama-bench and llama-batched-bench the faster counts; only the latter has batches.
        self.assertEqual(one["engines"]["llama.cpp"]["median"], 5e6)
        self.assertEqual(two["engines"]["ik_llama.cpp -rtr"]["median"], 200)
        self.assertEqual(two["best_peer"], "llama.cpp")
        self.assertAlmostEqual(two["ratio"][2], max(two["engines"]["Folkmoot"]["values"]) / 200)
        # Each engine once per round; the first of one round is the last of the next.
        order = [(run["round"], run["engine"]) for run in result["runs"]]
        self.assertEqual(len([o for o in order if o == (1, "Folkmoot")]), 1)
        self.assertEqual(order[0], (0, "Folkmoot"))
        self.assertEqual([o for o in order if o[0] == 1][-1], (1, "Folkmoot"))
        self.assertNotIn("NOT COMPARED", out.stdout)

    def test_names_what_is_missing_or_fails_and_goes_on(self):
        out = self.compare("--folkmoot", str(FOLKMOOT), "--shapes", "demo", "--rounds", "2",
                           "--llama-bench", self.stub("bench", BENCH, fails="demo"))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("SKIPPED llama.cpp on demo f32", out.stdout)
        self.assertIn("error: unknown architecture", out.stdout)
        self.assertIn("NOT COMPARED with llama-batched-bench", out.stdout)
        self.assertIn("NOT COMPARED with ik-llama-bench", out.stdout)
        self.assertEqual(self.log.read_text().split(), ["bench"], "tried again after it failed")

    def test_rows_that_got_lost_are_asked_for_again(self):
        short = BATCHED[:BATCHED.index("|    32 |     32 |    2")]
        out = self.compare("--folkmoot", str(FOLKMOOT), "--shapes", "demo", "--rounds", "2",
                           "--llama-bench", self.stub("bench", BENCH),
                           "--llama-batched-bench", self.stub("batched", short),
                           "--json", str(self.path / "out.json"))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("llama-batched-bench printed no row for batch 2", out.stdout)
        self.assertEqual(self.log.read_text().split(), ["bench"] + 3 * ["batched"])
        # What llama-bench said before stays.
        prefill = json.loads((self.path / "out.json").read_text())["table"][0]
        self.assertEqual(prefill["engines"]["llama.cpp"]["values"], [1000, None])

    def test_fails_without_figures_of_ours(self):
        out = self.compare("--folkmoot", "/bin/false", "--shapes", "demo", "--rounds", "1")
        self.assertEqual(out.returncode, 1)
        self.assertIn("SKIPPED Folkmoot on demo f32", out.stdout)

    def test_wrong_usage(self):
        for flags in (["--llama-bench", "/no/such"], ["--shapes", "mistral"], ["--rounds", "0"],
                      ["--prefill", "-1"], ["--layouts", "2"], ["--prefill", "", "--decode", ""]):
            out = self.compare("--folkmoot", str(FOLKMOOT), *flags)
            self.assertEqual(out.returncode, 2, f"{flags}: {out.stderr}")


class ReportTest(unittest.TestCase):
    def run_of(self, at, value, quiet=True, engine="a"):
        return {"engine": engine, "shape": "s", "type": "t", "round": at, "quiet": quiet,
                "cells": {"decode 1": value}, "details": {}}

    def test_ratios_are_taken_within_a_round(self):
        runs = [self.run_of(0, 10.0), self.run_of(1, 30.0, quiet=False), self.run_of(2, 20.0),
                self.run_of(0, 5.0, engine="b"), self.run_of(2, 20.0, engine="b")]
        mine = report.series_of(runs, "a", "s", "t", ("decode", 1), 3)
        peer = report.series_of(runs, "b", "s", "t", ("decode", 1), 3)
        self.assertEqual((mine.median, mine.spread, mine.disturbed), (20, 1, 1))
        self.assertEqual(peer.values, [5, None, 20])
        self.assertEqual(report.ratio_of(mine, peer), (1.5, 1, 2))
        self.assertIsNone(report.series_of(runs, "c", "s", "t", ("decode", 1), 3))

    def test_refuses_output_that_has_no_figures(self):
        for parse, text in ((engines.parse_llama_bench, "no json"),
                            (engines.parse_batched_bench, "| PP | TG |\n")):
            with self.assertRaises(engines.RunFailed):
                parse(text)


class ShapesTest(unittest.TestCase):
    def test_folkmoot_and_the_files_have_as_many_parameters(self):
        with tempfile.TemporaryDirectory() as folder:
            for shape in SHAPES.values():
                (pathlib.Path(folder) / "config.json").write_text(json.dumps(shape.config()))
                out = subprocess.run([str(FOLKMOOT), "inspect", folder, "--json"],
                                     capture_output=True, text=True, check=False)
                self.assertEqual(out.returncode, 0, out.stderr)
                count = sum(math.prod(tensor.shape) for tensor in shape.tensors())
                if shape.tied:
                    count -= shape.vocab * shape.hidden
                self.assertEqual(json.loads(out.stdout)["parameters"], count, shape.name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
