# SPDX-License-Identifier: Apache-2.0
"""Medians, spreads and ratios of runs that were interleaved."""
import statistics
from typing import NamedTuple


class Series(NamedTuple):
    """One cell of one engine over the rounds; None where it gave no figure."""
    values: list
    disturbed: int  # rounds in which others took CPU time

    @property
    def found(self):
        return [value for value in self.values if value is not None]

    @property
    def median(self):
        return statistics.median(self.found)

    @property
    def spread(self):
        return (max(self.found) - min(self.found)) / self.median


def series_of(runs, engine, shape, kind, cell, rounds):
    """None if no run has it. Of two tools of one engine in one round, the faster counts."""
    values, disturbed = [None] * rounds, set()
    for run in runs:
        if (run["engine"], run["shape"], run["type"]) != (engine, shape, kind):
            continue
        value = run["cells"].get(f"{cell[0]} {cell[1]}")
        if value is None:
            continue
        at = run["round"]
        values[at] = value if values[at] is None else max(value, values[at])
        if not run["quiet"]:
            disturbed.add(at)
    series = Series(values, len(disturbed))
    return series if series.found else None


def ratio_of(series, other):
    """Median, least and greatest of the ratios within a round: both saw the same machine."""
    ratios = [a / b for a, b in zip(series.values, other.values)
              if a is not None and b is not None]
    return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def roofline_of(runs, engine, shape, kind, cell):
    fractions = [m["roofline_fraction"] for run in runs
                 if (run["engine"], run["shape"], run["type"]) == (engine, shape, kind)
                 for m in run["details"].get("measurements", [])
                 if (m["phase"], m["size"]) == cell]
    return statistics.median(fractions) if fractions else None


def summarize(runs, ours, peers, others, shape, kind, cells, rounds):
    """A row for each cell: what is printed, and what --json keeps."""
    rows = []
    for cell in cells:
        def series(engine, cell=cell):
            return series_of(runs, engine, shape, kind, cell, rounds)
        mine = series(ours)
        row = {"shape": shape, "weights": kind, "phase": cell[0], "size": cell[1], "engines": {}}
        for engine in [ours, *peers, *others]:
            found = series(engine)
            if found:
                row["engines"][engine] = {"median": found.median, "spread": found.spread,
                                          "disturbed": found.disturbed, "values": found.values}
        row["roofline_fraction"] = roofline_of(runs, ours, shape, kind, cell)
        there = [peer for peer in peers if peer in row["engines"]]
        if there:
            row["best_peer"] = max(there, key=lambda p, r=row: r["engines"][p]["median"])
            row["ratio"] = ratio_of(mine, series(row["best_peer"])) if mine else None
        row["kept"] = {other: ratio_of(series(other), mine) for other in others
                       if mine and other in row["engines"]}
        rows.append(row)
    return rows


def figure(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def shown(engine):
    if engine is None:
        return "-"
    mark = "\u2020" if engine["disturbed"] else ""
    return f"{figure(engine['median'])}{mark} \u00b1{50 * engine['spread']:.0f} %"


def shown_ratio(ratio):
    return "-" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f}..{ratio[2]:.2f})"


def print_table(head, lines):
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    for line in [head, rule, *lines]:
        print("| " + " | ".join(c.ljust(width) for c, width in zip(line, widths)) + " |")


def print_rows(rows, ours, peers, others):
    head = ["shape", "weights", "tokens/s of", ours, "of roofline", *peers, "best peer",
            "ours / best peer"]
    lines = []
    for row in rows:
        fraction = row["roofline_fraction"]
        lines.append([row["shape"], row["weights"], f"{row['phase']} {row['size']}",
                      shown(row["engines"].get(ours)),
                      "-" if fraction is None else f"{fraction:.2f}",
                      *(shown(row["engines"].get(peer)) for peer in peers),
                      row.get("best_peer", "-"), shown_ratio(row.get("ratio"))])
    print_table(head, lines)
    if others:
        print(f"\nThe same cores in ranks, as a part of {ours}:\n")
        print_table(["shape", "weights", "tokens/s of", *others],
                    [[row["shape"], row["weights"], f"{row['phase']} {row['size']}",
                      *(shown_ratio(row["kept"].get(other)) for other in others)]
                     for row in rows])
    if any(e["disturbed"] for row in rows for e in row["engines"].values()):
        print("\n\u2020 others took CPU time during at least one of these runs: not to be trusted")
