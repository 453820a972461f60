# SPDX-License-Identifier: Apache-2.0
"""Tables of peers beside `folkmoot bench moe --json`."""
import json
import math
import statistics


def first_line(problem):
    return f"{type(problem).__name__}: {(str(problem).strip().splitlines() or [''])[0]}"[:200]


def read_ours(paths):
    """{shape: {tokens: point}} of all objects in the files, one a line."""
    ours = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            try:
                reports = [json.loads(text)]
            except ValueError:
                reports = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            for report in reports:
                if report["dtype"] == "bfloat16" and not report["batch_invariant"]:
                    points = {point["tokens"]: point for point in report["points"]}
                    ours.setdefault(report["shape"], {}).update(points)
        except (OSError, ValueError, KeyError, TypeError) as problem:
            print(f"SKIPPED {path}: {first_line(problem)}")
    return ours


def print_table(result, ours):
    names = list(dict.fromkeys(n for point in result["points"] for n in point["peers"]))
    has_shared = "shared expert" in names
    head = ["tokens", "experts"] + (["ours' experts", "ours"] if ours else []) + names
    head += (["best/ours"] + ["(best+shared)/ours"] * has_shared) if ours else []
    lines, ratios = [head], []
    for point in result["points"]:
        mine = ours.get(point["tokens"])
        line = [str(point["tokens"]), f"{point['experts_touched']:.1f}"]
        if ours:
            line += [f"{mine['experts_touched']:.1f}", f"{mine['seconds'] * 1e6:.1f}"] \
                if mine else ["-", "-"]
        for name in names:
            time_ = point["peers"].get(name)
            line.append(f"{time_['seconds'] * 1e6:.1f}" + "e" * (time_["mode"] != "graph")
                        if time_ else "-")
        best = min((t["seconds"] for n, t in point["peers"].items() if n != "shared expert"),
                   default=None)
        if mine and best:
            ratios.append(best / mine["seconds"])
            line.append(f"{ratios[-1]:.2f}")
            if has_shared and "shared expert" in point["peers"]:
                both = best + point["peers"]["shared expert"]["seconds"]
                line.append(f"{both / mine['seconds']:.2f}")
        lines.append(line + ["-"] * (len(head) - len(line)))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    print(f"\n{result['shape']}: us of one layer ({result['layers_measured']} in turn); e: eager, "
          "else graph replays; the peers without norm, router, gate and shared expert")
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)))
    if ratios:
        mean = math.exp(statistics.mean(math.log(r) for r in ratios))
        print(f"best peer / ours: {min(ratios):.2f} to {max(ratios):.2f}, "
              f"geometric mean {mean:.2f}")
