#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the table of runtime/tokenizer/unicode_additions.cc: the characters that the `tokenizers` package knows
(Oniguruma with Unicode 16) and Python's unicodedata does not. Run it with Python 3.11 or 3.12, whose Unicode 14 or
15 is not newer than that of the PCRE2 to be completed (10.42: Unicode 14)."""

import unicodedata

from tokenizers import Regex, normalizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cf".split()
CHARACTERS = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def members(items):
    return normalizers.Replace(Regex(f"[^{items}]+"), "").normalize_str(CHARACTERS)


def main():
    category = {c: name for name in CATEGORIES for c in members(rf"\p{{{name}}}") if unicodedata.category(c) == "Cn"}
    alphabetic, han = set(members(r"\p{Alphabetic}")), set(members(r"\p{Han}"))
    runs = []
    for c in sorted(category):
        tag = "H" if c in han else "A" if c in alphabetic else "-"
        kind = f"\"{category[c]}\", '{tag}'"
        if runs and runs[-1][1] == ord(c) - 1 and runs[-1][2] == kind:
            runs[-1][1] = ord(c)
        else:
            runs.append([ord(c), ord(c), kind])
    line = "   "
    for first, last, kind in runs:
        item = f" {{0x{first:X}, 0x{last:X}, {kind}}},"
        if len(line) + len(item) > 99:
            print(line)
            line = "   "
        line += item
    print(line)


if __name__ == "__main__":
    main()
