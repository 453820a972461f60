# SPDX-License-Identifier: Apache-2.0
"""Small tokenizers of type Unigram as Transformers makes them of SentencePiece models, and real ones read exactly."""

import io
import json
import pathlib
import random
import tempfile
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

# What the rules of the small models normalize: NFKC over a few blocks, so that the charsmap stays small.
BLOCKS = [(0xA0, 0x180), (0x1C4, 0x1F6), (0x2000, 0x2070), (0x2153, 0x217F), (0xFB00, 0xFB07), (0xFF01, 0xFF5F)]
DROPPED = [*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F, 0xAD, 0x200B, 0x200E, 0x200F, 0xFEFF]
SPACES = [0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x2028, 0x2029, 0x3000]


def rules():
    """{characters: what they become}, in the manner of SentencePiece's nmt_nfkc."""
    table = {chr(c): "" for c in DROPPED} | {chr(c): " " for c in SPACES}
    for c in (chr(c) for first, limit in BLOCKS for c in range(first, limit)):
        normal = unicodedata.normalize("NFKC", c)
        if c not in table and normal != c:
            table[c] = normal
        canonical = unicodedata.normalize("NFD", c)
        if canonical != c and len(canonical) < 4:
            table[canonical] = normal
    return table


def train(texts, folder, **options):
    table = folder / "rules.tsv"
    lines = [f"{hexes(key)}\t{hexes(value)}" for key, value in rules().items()]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type="unigram", num_threads=1, minloglevel=2,
        normalization_rule_tsv=str(table), hard_vocab_limit=False, **options,
    )  # fmt: skip
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto


def hexes(text):
    return " ".join(f"{ord(c):X}" for c in text)


def t5_style(texts):
    """As T5Tokenizer: words without spaces, and tokens for the gaps behind the vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        proto = train(texts, pathlib.Path(folder), vocab_size=500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    gaps = [f"<extra_id_{i}>" for i in reversed(range(8))]
    vocab = [(piece.piece, piece.score) for piece in proto.pieces] + [(gap, 0.0) for gap in gaps]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    metaspace = {"replacement": "▁", "prepend_scheme": "always", "split": True}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)]
    )
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in ["<pad>", "</s>", "<unk>", *gaps]]
    )
    return tokenizer


def unigram_bytes_style(texts):
    """As Transformers converts a SentencePiece model that no class of its own reads, with byte fallback: no words, and
    pieces of the user's that are never cut."""
    with tempfile.TemporaryDirectory() as folder:
        proto = train(
            texts, pathlib.Path(folder), vocab_size=650, byte_fallback=True, user_defined_symbols=["<box>", "quay"],
            character_coverage=0.98,
        )  # fmt: skip
    vocab = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(Regex(r"\A +| +\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Replace(" ", "▁"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False),
            pre_tokenizers.Split(Regex("<box>|quay"), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ("<s>", "</s>")])
    return tokenizer


def with_exact_scores(tokenizer, path):
    """`tokenizer`, which was read from `path`. Tokenizer.from_file reads some scores of Unigram models a bit too large or
    too small, so that ways to cut a text that are equally good no longer are. T5Tokenizer and other classes of
    Transformers read the file themselves, and exactly."""
    model = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["model"]
    if model.get("type") == "Unigram":
        vocab = [tuple(entry) for entry in model["vocab"]]
        tokenizer.model = models.Unigram(vocab, model["unk_id"], model.get("byte_fallback", False))
    return tokenizer


def charsmap_of_small_model():
    texts = ["".join(random.Random(3).choices("abcdefgh ", k=400)) for _ in range(20)]
    with tempfile.TemporaryDirectory() as folder:
        proto = train(texts, pathlib.Path(folder), vocab_size=20)
    return proto.normalizer_spec.precompiled_charsmap
