#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the byte-level BPE tokenizer of the demo model and writes its Hugging Face files.

The pipeline is that of Qwen2: NFC, the Qwen2 split expression, byte-level BPE without a prefix
space. One special token, <|endoftext|>, stands between documents and ends a generation.

    python train_tokenizer.py --corpus corpus/train.txt --output-dir models/demo-kjv
"""

import argparse
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

END_OF_TEXT = "<|endoftext|>"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--output-dir", type=pathlib.Path, required=True)
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--max-length", type=int, default=1024)
    args = parser.parse_args()

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=args.vocab_size,
        special_tokens=[AddedToken(END_OF_TEXT, special=True, normalized=False)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = args.corpus.read_text(encoding="utf-8").splitlines()
    tokenizer.train_from_iterator(lines, trainer)
    if tokenizer.get_vocab_size() != args.vocab_size:
        raise SystemExit(f"the corpus gave {tokenizer.get_vocab_size()} tokens only")

    args.output_dir.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.output_dir / "tokenizer.json"))
    end_id = tokenizer.token_to_id(END_OF_TEXT)
    files = {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                str(end_id): {
                    "content": END_OF_TEXT,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": True,
                }
            },
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": END_OF_TEXT,
            "model_max_length": args.max_length,
            "pad_token": END_OF_TEXT,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": None,
        },
        "generation_config.json": {
            "do_sample": True,
            "eos_token_id": end_id,
            "pad_token_id": end_id,
            "temperature": 0.7,
            "top_p": 0.9,
        },
    }
    for name, value in files.items():
        (args.output_dir / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    tokens = sum(len(e.ids) for e in tokenizer.encode_batch(lines))
    size = sum(len(line.encode("utf-8")) for line in lines)
    print(f"{args.vocab_size} entries; corpus {size} bytes = {tokens} tokens, "
          f"{size / tokens:.3f} bytes per token")


if __name__ == "__main__":
    main()
