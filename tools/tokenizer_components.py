# SPDX-License-Identifier: Apache-2.0
"""Golden results of single components: what each pre-tokenizer, normalizer and decoder of the `tokenizers`
package makes of a few inputs, for many settings; and of regular expressions whose meaning differs between
Oniguruma and PCRE2."""

import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from unigram_tokenizers import charsmap_of_small_model

# Marks and letters that are newer than the tables of the package, among older ones.
NEWER_MARKS = [
    "a\u1ab5\u1715\u0334b",
    "e\u0301\u1715\u0301\u0323 e\u0323\u0301",
    "\u1715\u0323\u0301",
    "a\u0898\u0316\u0e48\U00010efd\u0334",
    "\U00011935\U00011930 \U00011938 \U000105d2\u0307 \U000105c9",
    "\u32ff \ua7f2 \U00010781 \U0001e030 \U0001fbf3 \ufb01",
]
TEXTS = [
    "Hello  world 123 it's",
    " lead and trail  ",
    "a--b---c",
    "--",
    "-",
    "x",
    "日本語 text、ok。",
    "tab\tnew\nline\r\n end\u180eof\u3000row",
    "A1b22C³Ⅷ½",
    "don't WE'RE 'S 'ſ K'LL",
    "e\u0301 a_b·c ⓐ x\u200dy",
    "▁a b▁ c",
    "ab\n\ncd\n",
    "été ÅÅ ﬁ ǅ İ",
    "😀👩‍👧 1️⃣",
    "abcabcabcab ffff 0xBEEF",
    "🩷 🫨𞓐 \U00031350𑼂𑽐b \U0001ccd6x²",
]
PATTERNS = [
    r"\s+",
    r"\S+",
    r"\w+",
    r"\W+",
    r"[\w']+",
    r"[^\s\w]+",
    r"\d",
    r"\D+",
    r"\h+",
    r"\b",
    r"\bw",
    r"a\B",
    r"^.",
    r".$",
    r"\s+$",
    r"\p{Han}+",
    r"\p{^L}+",
    r"\P{L}",
    r"\p{Letter}+",
    r"\p{Lu}\p{Ll}*",
    r"(?i:'s|'re|'ll)",
    r"x|(?i)we|dON",
    r"(a(?i)B|C)",
    r"(?m:a.b|d\r?.)",
    r"[a-z&&[^aeiou]]+",
    r"[a[\p{Lu}]\d]+",
    r"[^a[\p{Lu}]\d]+",
    r"[a-z&&[^b]&&[^c]]",
    r"(?:abc){1,2}+",
    r"a{2}?b",
    r"f{2}+",
    r"c{,1}d",
    r"{",
    r"a*+",
    r"b??",
    r"\x{65E5}|\u672c",
    r"(?<=a)b|(?<!c)d",
    r"(?>a|ab)c",
    r"\p{N}{1,3}",
    r"[\s\-x]+",
    r"[]a]",
    r"[^\]a]",
    r"\A\w",
    r"\w\z",
    r"\R",
    r"\v|\t",
    r" ?\p{P}+|",
    r"[\p{L}\p{M}]+",
    r"\p{Alphabetic}+",
    r"[\W\d]+",
    r"[^\W]+",
    r"[\P{L}a-c]+",
    r"[^\P{L}\s]+",
    r"[\p{So}\p{Lo}]",
    r"\p{Mn}+|\P{Cn}",
    r"\p{Hiragana}|\p{sc}|-",
]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def state(component):
    """The component's JSON."""
    for kind, cls in (
        ("pre_tokenizer", pre_tokenizers.PreTokenizer),
        ("normalizer", normalizers.Normalizer),
        ("decoder", decoders.Decoder),
    ):
        if isinstance(component, cls):
            tokenizer = Tokenizer(models.BPE())
            setattr(tokenizer, kind, component)
            return json.loads(tokenizer.to_str())[kind]
    raise TypeError(component)


def split_cases():
    for pattern in PATTERNS:
        yield pre_tokenizers.Split(Regex(pattern), "isolated")
    for behavior in BEHAVIORS:
        for invert in (False, True):
            yield pre_tokenizers.Split("-", behavior, invert)
            yield pre_tokenizers.Split(Regex(r"\s|\d"), behavior, invert)
    yield pre_tokenizers.Split("b▁", "isolated")


def other_pre_tokenizers():
    for space in (False, True):
        for regex in (False, True):
            yield pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=regex)
    for scheme in ("always", "first", "never"):
        for split in (False, True):
            yield pre_tokenizers.Metaspace("▁", scheme, split)
            yield pre_tokenizers.Sequence(
                [pre_tokenizers.Split(Regex(r"^\S"), "removed"), pre_tokenizers.Metaspace("_", scheme, split)]
            )
    yield pre_tokenizers.Digits(individual_digits=False)
    yield pre_tokenizers.Digits(individual_digits=True)
    yield pre_tokenizers.Whitespace()
    yield pre_tokenizers.WhitespaceSplit()
    yield pre_tokenizers.CharDelimiterSplit(" ")
    for behavior in BEHAVIORS:
        yield pre_tokenizers.Punctuation(behavior)
    yield pre_tokenizers.Sequence([])


def all_normalizers():
    yield from (
        normalizers.NFC(),
        normalizers.NFD(),
        normalizers.NFKC(),
        normalizers.NFKD(),
        normalizers.Lowercase(),
        normalizers.Prepend("▁"),
    )
    yield from (normalizers.Strip(left, right) for left in (False, True) for right in (False, True))
    yield from (
        normalizers.Replace(" ", "▁"),
        normalizers.Replace("bc", ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Replace(Regex(r"(?=[A-Z])|^"), "<"),
    )
    yield normalizers.Sequence([normalizers.NFD(), normalizers.Replace(Regex(r"\p{M}"), ""), normalizers.Lowercase()])


def all_decoders():
    fallback = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    yield from (
        decoders.ByteLevel(),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip("▁", 2, 0),
        decoders.Replace("▁a", "-"),
    )
    yield from (decoders.Metaspace("▁", scheme) for scheme in ("always", "first", "never"))
    yield from (
        decoders.Sequence(fallback + [decoders.Strip(" ", start, stop)]) for start in (0, 1, 3) for stop in (0, 1)
    )
    yield decoders.Sequence([decoders.Fuse(), decoders.Replace("aab", "X"), decoders.Strip("▁", 1, 0)])
    yield decoders.Sequence([decoders.ByteLevel(), decoders.Replace(" a", "<>")])
    yield decoders.Sequence([])


# Whole clusters of few bytes are replaced, of longer ones the characters.
CLUSTERS = [
    "\r\n\n\r",
    "e\u0301 e\u0301\u0323 e\u0323\u0301 \u00aa\u0301 \u00aa\u20dd \uff21\u0301 \uff21\u20dd",
    "\u0001a \u0001\u0301 \u200b\u0301b \ufeff",
    "\u00b5\u200d\u00b5 \u00b2\ufe0f \u0600\u00aa\u0301",
    "\u1100\u1161\u11a8 \u0915\u094d\u0937 \U0001f1e9\U0001f1ea \u00aa\U0001f3fd",
    "\u00aa\u0897 \u00aa\u1acf \u00aa\U00010d69",
]
TOKENS = [
    ["▁a", "▁", "a", "b▁a", "▁▁c"],
    ["<0xE6>", "<0x97>", "<0xA5>", "x", "<0x0A>", "<0xe6>", "<0x97>", "▁"],
    ["▁▁", "▁", "<0xFF>", "<0x41>"],
    ["Ġa", "æĹ", "¥", "ðŁĺ", "Ģ", "æĹ", "b"],
    ["æ", "æĹ", "日", "ðŁĺ", "Ġ"],
    ["a", "a", "a", "b", "aab", "aa", "<0xGG>", "<0x 1>"],
    ["x"],
    ["▁▁▁x", "y▁", "", "▁z  "],
    ["â", "Ĥ", "¬", "í", "ł", "Ģ", "ô", "ı", "¿", "¿", "ô", "Ĳ", "Ģ"],
]


def goldens():
    """[{"pre_tokenizer" | "normalizer" | "decoder": JSON, "cases": [[input, output], ...]}, ...]"""
    out = []
    for part in [*split_cases(), *other_pre_tokenizers()]:
        cases = [[text, [piece for piece, _ in part.pre_tokenize_str(text)]] for text in TEXTS]
        out.append({"pre_tokenizer": state(part), "cases": cases})
    for part in all_normalizers():
        texts = TEXTS + NEWER_MARKS
        out.append({"normalizer": state(part), "cases": [[text, part.normalize_str(text)] for text in texts]})
    part = normalizers.Precompiled(charsmap_of_small_model())
    texts = TEXTS + NEWER_MARKS + CLUSTERS
    out.append({"normalizer": state(part), "cases": [[text, part.normalize_str(text)] for text in texts]})
    for part in all_decoders():
        # Strip with "stop" fails in the package on a text that it would strip twice.
        out.append({"decoder": state(part), "cases": [[tokens, part.decode(tokens)] for tokens in TOKENS]})
    return out
