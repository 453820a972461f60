# SPDX-License-Identifier: Apache-2.0
"""Real vocabularies as `tokenizers.Tokenizer`, from the files in which model makers publish them.

load(path): tokenizer.json as it is; *.tiktoken (rank files of OpenAI and Qwen); tekken*.json (Mistral);
SentencePiece models of type BPE (Llama, Mixtral).
"""

import base64
import json
import pathlib
import struct

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_alphabet():
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in visible:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


def split_merges(ranks):
    """Every way to cut a token into two others, in the order of the token's rank."""
    merges = []
    for token, rank in ranks.items():
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        cuts = [(a, b) for a, b in cuts if a in ranks and b in ranks]
        cuts.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(rank, pair) for pair in cuts]
    return [pair for _, pair in sorted(merges, key=lambda item: item[0])]


def byte_level(ranks, pattern, specials, *, first_id=0, nfc=False, ignore_merges=False):
    """ranks: bytes -> rank. Special tokens get the ids below first_id, or those after the ranks."""
    table = byte_alphabet()
    named = {"".join(table[b] for b in token): rank for token, rank in ranks.items()}
    vocab = {token: rank + first_id for token, rank in named.items()}
    if first_id:
        vocab.update({token: i for i, token in enumerate(specials)})
    model = models.BPE(vocab=vocab, merges=split_merges(named), ignore_merges=ignore_merges)
    tokenizer = Tokenizer(model)
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    return tokenizer


def from_tiktoken(path):
    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    if "qwen" in path.name:
        specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        return byte_level(ranks, QWEN2, specials, nfc=True)
    tokenizer = byte_level(ranks, CL100K, ["<|begin_of_text|>", "<|end_of_text|>"], ignore_merges=True)
    start = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", start)]),
        ]
    )
    return tokenizer


def from_tekken(data):
    config = data["config"]
    count = config["default_vocab_size"] - config["default_num_special_tokens"]
    ranks = {base64.b64decode(item["token_bytes"]): item["rank"] for item in data["vocab"][:count]}
    names = {item["rank"]: item["token_str"] for item in data.get("special_tokens") or []}
    specials = [names.get(i, f"<SPECIAL_{i}>") for i in range(config["default_num_special_tokens"])]
    return byte_level(ranks, config["pattern"], specials, first_id=len(specials), ignore_merges=True)


def proto_fields(data):
    """The fields of a Protobuf message: (number, bytes or int)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, data[at : at + size]
            at += size


def from_sentencepiece(path):
    pieces = []  # (text, score, type): 1 normal, 2 unknown, 3 control, 6 byte
    for number, value in proto_fields(path.read_bytes()):
        if number == 1:
            fields = dict(proto_fields(value))
            score = struct.unpack("<f", fields.get(2, b"\0\0\0\0"))[0]
            pieces.append((fields[1].decode(), score, fields.get(3, 1)))
    vocab = {text: i for i, (text, _, _) in enumerate(pieces)}
    merges = []
    for text, score, kind in pieces:
        cuts = [(text[:i], text[i:]) for i in range(1, len(text))] if kind == 1 else []
        cuts = sorted((c for c in cuts if c[0] in vocab and c[1] in vocab), key=lambda c: (vocab[c[0]], vocab[c[1]]))
        merges += [(-score, cut) for cut in cuts]
    merges = [cut for _, cut in sorted(merges, key=lambda item: item[0])]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text, _, kind in pieces if kind in (2, 3)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    return tokenizer


def load(path):
    path = pathlib.Path(path)
    if path.suffix == ".tiktoken":
        return from_tiktoken(path)
    if path.suffix == ".json":
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        return from_tekken(data) if "default_vocab_size" in data.get("config", {}) else Tokenizer.from_str(text)
    return from_sentencepiece(path)
