# SPDX-License-Identifier: Apache-2.0
"""Prints the kernels of each kind of step, one layer each, from a profile of `bench throughput`.

  ncu --csv --page raw --metrics gpu__time_duration.sum,dram__bytes.sum.per_second \\
      folkmoot bench throughput MODEL --device cuda --enforce-eager .. >profile.csv
  python3 tools/gpu_profile.py profile.csv        a model of two layers or more
"""
import csv
import re
import sys

TIME, RATE = "gpu__time_duration.sum", "dram__bytes.sum.per_second"


def kernels_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(line for line in file if line.startswith('"'))
        next(rows)  # units
        for row in rows:
            name = re.sub(r"\(.*", "", row["Kernel Name"])
            name = name.replace("folkmoot::", "").replace("<unnamed>::", "").replace("void ", "")
            grid = [int(n) for n in row["Grid Size"].strip("()").split(",")]
            yield name, grid, *(float(row[column].replace(",", "")) for column in (TIME, RATE))


def steps_of(kernels):
    """[(rows, kernels)]: a step begins with Embed, whose blocks are its rows."""
    steps = []
    for kernel in kernels:
        if kernel[0].startswith("Embed"):
            steps.append((kernel[1][0], []))
        if steps:
            steps[-1][1].append(kernel)
    return steps


def main():
    last_of_rows = {}
    for rows, kernels in steps_of(kernels_of(sys.argv[1])):
        ends = [i for i, kernel in enumerate(kernels) if kernel[0].startswith("Combine")]
        if len(ends) > 1:
            last_of_rows.setdefault((rows, tuple(k[0] for k in kernels)), []).append(
                kernels[ends[0] + 1:ends[1] + 1])
    for (rows, _), layers in sorted(last_of_rows.items()):
        layer = layers[-1]
        print(f"a step of {rows} rows, one layer: {sum(k[2] for k in layer) / 1000:.1f} us")
        for name, _, nanoseconds, rate in layer:
            print(f"  {name[:66]:<66} {nanoseconds / 1000:>9.1f} us {rate / 1e12:>6.2f} TB/s")


if __name__ == "__main__":
    main()
