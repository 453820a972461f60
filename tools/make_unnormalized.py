#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the table of runtime/tokenizer/unnormalized.cc: the characters that Unicode normalization changes or orders,
or that are composed to others, and that the normalizers of the `tokenizers` package leave as they are, since their
tables are those of Unicode 9. Needs tokenizers and unicodedata2, whose Unicode must not be older than that of the
utf8proc to be held back."""

import unicodedata2 as unicode
from tokenizers import normalizers

FORMS = {name: getattr(normalizers, name)().normalize_str for name in ("NFC", "NFD", "NFKC", "NFKD")}


def differs(text):
    return any(known(text) != unicode.normalize(name, text) for name, known in FORMS.items())


def composites():
    """character -> the characters that it is a part of"""
    out = {}
    for c in map(chr, range(0x110000)):
        parts = unicode.decomposition(c)
        if parts and not parts.startswith("<"):
            for part in parts.split():
                out.setdefault(chr(int(part, 16)), []).append(c)
    return out


def main():
    found = set()
    for code in range(0x110000):
        c = chr(code)
        if 0xD800 <= code < 0xE000:
            continue
        order = unicode.combining(c)
        # U+0334 goes before all other marks, U+0345 behind them.
        if differs(c) or (order and differs("a" + c + "\u0334" if order > 1 else "a\u0345" + c)):
            found.add(c)
    found |= {part for part, wholes in composites().items() if found.issuperset(wholes)}
    runs = []
    for code in sorted(map(ord, found)):
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    line = "   "
    for first, last in runs:
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(item) > 99:
            print(line)
            line = "   "
        line += item
    print(line)


if __name__ == "__main__":
    main()
