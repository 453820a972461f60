#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the King James Bible of Debian's package bible-kjv-text into training prose.

The package's reader prints one verse a line, "Ge1:1 In the beginning ...". This script drops the
references, joins the verses of a chapter with spaces into one paragraph, and writes one chapter a
line in two files, train.txt and heldout.txt. Whole chapters are held out, drawn with a fixed seed,
so no verse of a held-out chapter is ever trained on.

    apt install bible-kjv bible-kjv-text
    bible -f Gen1:1-Rev22:21 </dev/null > kjv.txt
    python make_corpus.py --input kjv.txt --output-dir corpus
"""

import argparse
import hashlib
import pathlib
import random
import re

VERSE = re.compile(r"^([0-9]?[A-Za-z]+)([0-9]+):([0-9]+) (.*)$")


def read_chapters(path):
    """Returns [(book, chapter number, prose)] in the order of the book."""
    chapters = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = VERSE.match(line)
        if match is None:
            raise SystemExit(f"{path}:{number}: not a verse: {line[:60]!r}")
        book, chapter, _, text = match.groups()
        chapters.setdefault((book, int(chapter)), []).append(" ".join(text.split()))
    return [(book, chapter, " ".join(verses)) for (book, chapter), verses in chapters.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input", type=pathlib.Path, required=True)
    parser.add_argument("--output-dir", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1611)
    parser.add_argument("--held-out", type=float, default=0.02, help="share of the chapters")
    args = parser.parse_args()

    chapters = read_chapters(args.input)
    count = max(1, round(args.held_out * len(chapters)))
    held = set(random.Random(args.seed).sample(range(len(chapters)), count))
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for name, wanted in (("train.txt", False), ("heldout.txt", True)):
        lines = [text for i, (_, _, text) in enumerate(chapters) if (i in held) == wanted]
        data = ("\n".join(lines) + "\n").encode("utf-8")
        (args.output_dir / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        print(f"{name}: {len(lines)} chapters, {len(data)} bytes, sha256 {digest}")
    print("held out:", " ".join(f"{chapters[i][0]}{chapters[i][1]}" for i in sorted(held)))


if __name__ == "__main__":
    main()
