#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden files of the tokenizer tests, made with the `tokenizers` package, and a full comparison.

make_tokenizer_goldens.py [--out tests/data/tokenizers] [--demo models/demo-kjv/tokenizer.json] [--only NAME ...]
    trains the small tokenizers, and writes them with what the package makes of a few hundred strings. NAME: a
    tokenizer, "demo" or "components". Those of type Unigram are trained by the sentencepiece package.
make_tokenizer_goldens.py --compare TOOL [--count 10000] [--seed 1] NAME=VOCABULARY ...
    compares tokenizer_tool with the package on `count` strings and id lists per vocabulary and prints a
    table; exit status 1 on any mismatch. VOCABULARY: see tokenizer_vocabularies.py.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizer_components
from tokenizer_vocabularies import CL100K, QWEN2, load
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from unigram_tokenizers import t5_style, unigram_bytes_style, with_exact_scores

PROSE = {
    "latin": "The ship left the harbour at dawn, and nobody on the quay waved; it's what they'd said they'll do. "
    "Eight experts vote, two answer. Naïve façade, coöperate, Ærøskøbing, Łódź, Dvořák, smørrebrød, Straße, "
    "¿Dónde está el ñandú? L'été s'achève déjà. I'm sure WE'RE not; SHE'LL say what he'd've done 'tis",
    "greek": "Οι ειδικοί ψηφίζουν και δύο απαντούν στο ερώτημα ΣΙΣΥΦΟΣ",
    "cyrillic": "Эксперты голосуют, а двое отвечают на вопрос; Ґанок і їжак",
    "cjk": "专家投票，两位回答问题。専門家が投票して、二人が答えます。カタカナ 전문가들이 투표합니다 한국어〆々〇",
    "arabic": "يصوّت الخبراء ويجيب اثنان عن السؤال ١٢٣٤ עִבְרִית מומחים מצביעים",
    "indic": "विशेषज्ञ मतदान करते हैं १२३ বিশেষজ্ঞরা ভোট দেন நிபுணர்கள் ผู้เชี่ยวชาญลงคะแนน ໂຫວດ ខ្មែរ",
    "others": "ექსპერტები քվեարկում են ባለሙያዎች ድምጽ ᏣᎳᎩ ᚠᚢᚦ 𐌰𐌱𐌲 𒀀𒀁 𝔘𝔫𝔦 ﬁﬂ Ⅷ ½ ² ㍿ ｆｕｌｌ Ａ１",
}
EMOJI = ("😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ❤️ ☃ 1️⃣ 🧑🏿‍🚀 ✨✨ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🫠 ‼️").split()
CODE = [
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * 0x1F;\n}\r\n",
    'def f(x: int) -> str:\n    return f"{x!r}"  # note\n',
    '<div class="a-b">&nbsp;</div>',
    "SELECT * FROM t WHERE id<>'x' -- y",
    '{"key": [1, 2.50e-3, null]}',
    "https://example.org/a?b=c&d=%20#e",
    "#include <vector>\n\n\nusing T = std::vector<int>;\n",
    "x == y && !z || ~w ^ 1 << 3",
    "\\frac{1}{2} \\alpha_{i}^{2}",
    "$ ls -la | grep '^d' > /dev/null 2>&1",
    "<0x0A><0xFF> <0x41>",
    "[INST] hi [/INST]",
]
SPACES = [
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n ",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u200b",
    "\u2028",
    "\u0085",
    "\u180e",
    "\x0b",
    "\x0c",
    "\ufeff",
    "\u1680",
    "\u205f",
    "\u202f",
]
ODD = [
    "\x00",
    "\x01",
    "\x1b[0m",
    "\x7f",
    "\x80",
    "\u00ad",
    "\u0301",
    "e\u0301\u0323",
    "\u1e9b\u0323",
    "Å\u212b",
    "ſ",
    "'ſ",
    "K's",
    "\ufffd",
    "\ufffe",
    "\uffff",
    "\U0010ffff",
    "\U000e0001",
    "\ue000",
    "▁",
    "▁▁a",
    "Ġ",
    "ĠĠ",
    "İ",
    "ŉ",
    "ǅ",
    "\u0345",
    "가\u11a8",
    "\u0f71\u0f72",
    "a\u0300\u0316b",
    "⁠",
    "\u200d",
    "\u200f",
    "_",
    "__init__",
    "ⓐ",
    "☐",
    "𝟘",
    "\u0660\u06f5",
    "'",
    "''",
    "’s",
    "don’t",
]


def small_texts(scripts):
    """The training text of the small tokenizers: seeded variations of the prose above."""
    rng = random.Random(7)
    prose = [PROSE[script] for script in scripts]
    words = [word for text in prose for word in text.split()]
    return prose + CODE + [" ".join(rng.choices(words, k=12)) for _ in range(300)]


def random_string(rng, specials):
    """One string: a few fragments of several kinds, with or without spaces between."""

    def code_point():
        while True:
            code = rng.choice(
                [
                    rng.randrange(0x80),
                    rng.randrange(0x3000),
                    rng.randrange(0x10000),
                    rng.randrange(0x20000),
                    rng.randrange(0x110000),
                ]
            )
            if not 0xD800 <= code < 0xE000:
                return chr(code)

    def fragment():
        kind = rng.randrange(11)
        prose = rng.choice(list(PROSE.values()))
        if kind == 0:
            at = rng.randrange(len(prose))
            return prose[at : at + rng.randrange(1, 40)]
        if kind == 1:
            return rng.choice(EMOJI) * rng.choice([1, 1, 2])
        if kind == 2:
            return rng.choice(CODE)
        if kind == 3:
            return "".join(rng.choices(SPACES, k=rng.randrange(1, 6)))
        if kind == 4:
            return rng.choice(SPACES[:5]) * rng.randrange(1, 20)
        if kind == 5:
            return "".join(rng.choices(ODD, k=rng.randrange(1, 4)))
        if kind == 6:
            return "".join(code_point() for _ in range(rng.randrange(1, 8)))
        if kind == 7:
            return rng.choice(["{}", "-{}", "{}.5", "{},000", "${}", "{}%", "x{}"]).format(
                rng.randrange(10 ** rng.randrange(1, 12))
            )
        if kind == 8:
            word = rng.choice(prose.split())
            return rng.choice(
                [
                    word.upper(),
                    word.title(),
                    word + rng.choice(["'s", "'LL", "'T", "'ve", "'D", "n't", "'ſ"]),
                    word[::-1],
                ]
            )
        if kind == 9 and specials:
            token = rng.choice(specials)
            return rng.choice([token, token, " " + token, token + " ", token[:-1], token * 2, token.upper()])
        return rng.choice(".,;:!?-_()[]{}<>|/\\@#*&^%~`\"'=+") * rng.randrange(1, 6)

    return rng.choice(["", "", " "]).join(fragment() for _ in range(rng.randrange(1, 7)))


def corpus(count, seed, specials):
    rng = random.Random(seed)
    fixed = (
        [""]
        + SPACES
        + ODD
        + EMOJI
        + CODE
        + list(PROSE.values())
        + [s for t in specials for s in (t, f"a {t} b", f"a{t}b", t + t)]
    )
    return (fixed + [random_string(rng, specials) for _ in range(count)])[:count]


def train(tokenizer, size, specials, scripts=tuple(PROSE), **kwargs):
    # Fewer scripts rather than limit_alphabet, which picks among equals at random.
    tokenizer.train_from_iterator(
        small_texts(scripts),
        trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=specials, **kwargs),
    )
    return tokenizer


def byte_level_style(splits, specials, *, bos=None, nfc=False, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.normalizer = normalizers.NFC() if nfc else None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(s), "isolated") for s in splits]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 700, specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    if bos:
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]),
            ]
        )
    return tokenizer


def gpt2_style():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    train(tokenizer, 700, ["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_special_tokens(
        [AddedToken("<mask>", lstrip=True, special=True), AddedToken("<sep>", rstrip=True, special=True)]
    )
    tokenizer.add_tokens(
        [
            AddedToken("harbour", single_word=True),
            AddedToken("  "),
            AddedToken("    "),
            AddedToken("<box>", lstrip=True, rstrip=True),
        ]
    )
    return tokenizer


def llama2_style():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # Trained on words, used without pre-tokenizer, as SentencePiece models are.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    train(tokenizer, 800, ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)], scripts=("latin", "greek"))
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = data["added_tokens"][:3]
    data["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def metaspace_style():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s{2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    train(tokenizer, 600, ["<unk>", "</s>"], scripts=("latin", "greek"))
    tokenizer.add_tokens(
        [AddedToken("Eight Experts", normalized=True), AddedToken("QUAY", normalized=True, single_word=True)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def word_style():
    """No decoder, an affix at both ends of a word, words by pre-tokenizers that remove. The trainer
    numbers the affixed characters in the order of a hash table: each run gives other ids."""
    tokenizer = Tokenizer(
        models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", end_of_word_suffix="</w>", fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFD()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated"), pre_tokenizers.Digits()]
    )
    train(
        tokenizer, 700, ["[UNK]"], scripts=("latin", "greek"), continuing_subword_prefix="##", end_of_word_suffix="</w>"
    )
    return tokenizer


def small_tokenizers():
    cjk = "[一-龥ぁ-ゖァ-ヺ가-힣]+"
    words = (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return {
        "gpt2_style": gpt2_style(),
        "llama3_style": byte_level_style([CL100K], ["<|begin|>", "<|end|>"], bos="<|begin|>", ignore_merges=True),
        "qwen2_style": byte_level_style([QWEN2], ["<|im_start|>", "<|im_end|>"], nfc=True),
        "deepseek_style": byte_level_style(
            [r"\p{N}{1,3}", cjk, words], ["<｜begin▁of▁sentence｜>"], bos="<｜begin▁of▁sentence｜>"
        ),
        "llama2_style": llama2_style(),
        "metaspace_style": metaspace_style(),
        "word_style": word_style(),
        "t5_style": t5_style(small_texts(tuple(PROSE))),
        "unigram_bytes_style": unigram_bytes_style(small_texts(("latin", "greek", "cyrillic"))),
    }


def special_names(tokenizer):
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()][:40]


def answers(tokenizer, texts, id_lists):
    """What tokenizer_tool answers, from the package."""

    def decoded(ids):
        return {
            "text": tokenizer.decode(ids, skip_special_tokens=False),
            "skipped": tokenizer.decode(ids, skip_special_tokens=True),
        }

    out = []
    for text in texts:
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        out.append({"ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids, **decoded(ids)})
    return out + [decoded(ids) for ids in id_lists]


def random_ids(tokenizer, count, seed):
    rng = random.Random(seed)
    limit = tokenizer.get_vocab_size()
    return [
        [rng.randrange(rng.choice([limit, min(limit, 400)])) for _ in range(rng.randrange(1, 12))] for _ in range(count)
    ]


def write_goldens(out, demo, only):
    out.mkdir(parents=True, exist_ok=True)
    tokenizers = {name: made for name, made in small_tokenizers().items() if not only or name in only}
    for name, tokenizer in tokenizers.items():
        (out / f"{name}.json").write_text(
            json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
        )
        tokenizers[name] = with_exact_scores(Tokenizer.from_file(str(out / f"{name}.json")), out / f"{name}.json")
    if demo.exists() and (not only or "demo" in only):
        tokenizers["demo"] = Tokenizer.from_file(str(demo))
    for name, tokenizer in tokenizers.items():
        texts = corpus(300, 11, special_names(tokenizer))
        id_lists = random_ids(tokenizer, 60, 12)
        records = [
            {**question, **answer}
            for question, answer in zip(
                [{"input": t} for t in texts] + [{"ids": i} for i in id_lists], answers(tokenizer, texts, id_lists)
            )
        ]
        for record in records:  # what repeats is left out
            for key, same in (("skipped", "text"), ("text", "input"), ("plain", "ids")):
                if record.get(key) is not None and record.get(key) == record.get(same):
                    del record[key]
        lines = [json.dumps(record, ensure_ascii=True, separators=(",", ":")) for record in records]
        (out / f"{name}.golden.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if only and "components" not in only:
        return
    components = json.dumps(tokenizer_components.goldens(), ensure_ascii=True, separators=(",", ":"), indent=0)
    (out / "components.json").write_text(components + "\n", encoding="utf-8")


def compare(tool, vocabularies, count, seed):
    print(
        f"{'vocabulary':28} {'tokens':>7} {'strings':>8} {'ids':>5} {'plain':>6} {'text':>5} {'id lists':>9} {'text':>5}"
    )
    total = 0
    for item in vocabularies:
        name, path = item.split("=", 1)
        tokenizer = load(path)
        texts = corpus(count, seed, special_names(tokenizer))
        id_lists = random_ids(tokenizer, count, seed + 1)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "tokenizer.json"
            tokenizer.save(str(file), pretty=False)
            questions = [{"text": t} for t in texts] + [{"ids": i} for i in id_lists]
            result = subprocess.run(
                [tool, str(file)],
                input="\n".join(map(json.dumps, questions)),
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
        if result.returncode:
            sys.exit(f"{name}: {result.stderr}")
        found = [json.loads(line) for line in result.stdout.split("\n") if line]
        wanted = answers(tokenizer, texts, id_lists)
        wrong = {"ids": 0, "plain": 0, "text": 0, "random": 0}
        shown = 0
        for question, have, want in zip(questions, found, wanted, strict=True):
            texts_differ = have["text"] != want["text"] or have["skipped"] != want["skipped"]
            bad = [k for k in ("ids", "plain") if "text" in question and have[k] != want[k]]
            if texts_differ:
                bad.append("text" if "text" in question else "random")
            for kind in bad:
                wrong[kind] += 1
            if bad and shown < 5:
                shown += 1
                print(
                    f"  {bad} {json.dumps(question)}\n    have {json.dumps(have)}\n    want {json.dumps(want)}",
                    file=sys.stderr,
                )
        total += sum(wrong.values())
        print(
            f"{name:28} {tokenizer.get_vocab_size():7} {len(texts):8} {wrong['ids']:5} {wrong['plain']:6} {wrong['text']:5} "
            f"{len(id_lists):9} {wrong['random']:5}",
            flush=True,
        )
    return 1 if total else 0


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/data/tokenizers")
    parser.add_argument("--demo", type=pathlib.Path, default=root / "models/demo-kjv/tokenizer.json")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--compare", metavar="TOOL")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("vocabularies", nargs="*", metavar="NAME=VOCABULARY")
    args = parser.parse_args()
    if args.compare:
        sys.exit(compare(args.compare, args.vocabularies, args.count, args.seed))
    write_goldens(args.out, args.demo, args.only)


if __name__ == "__main__":
    main()
