# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/beams.json: what generate() of Transformers finds with beams for some goldens
without an encoder. Those with one have theirs in golden.json.

    python tools/make_beam_goldens.py

Needs torch and transformers >= 5, and tests/data/goldens.
"""

import json
from pathlib import Path

import torch
import transformers

from goldens import reference

GOLDENS = Path("tests/data/goldens")
MODELS = ("mixtral-classic", "qwen3_moe-classic", "llama-classic", "unlimited_ocr-narrow")
CONTINUATION = 12
TRIES = 40
BEAMS = ({"num_beams": 2}, {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
         {"num_beams": 3, "length_penalty": 0.0, "early_stopping": "never",
          "num_return_sequences": 3},
         {"num_beams": 4, "length_penalty": -1.0, "num_return_sequences": 2})


def search(model, prompt, end, arguments):
    ids = torch.tensor([prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                            max_new_tokens=CONTINUATION, eos_token_id=end, pad_token_id=0,
                            return_dict_in_generate=True, output_scores=True, **arguments)
    texts = []
    for row in output.sequences[:, len(prompt):].tolist():
        texts.append(row[:row.index(end) + 1] if end in row else row)
    return texts, [float(f"{float(score):.9g}") for score in output.sequences_scores]


def record(name, arguments, generator):
    """A search in which doubles find the same."""
    model, exact = reference.load_model(GOLDENS / name), reference.load_model(GOLDENS / name)
    exact = exact.double()
    vocab = model.config.get_text_config().vocab_size
    for _ in range(TRIES):
        prompt = torch.randint(1, vocab, (9,), generator=generator).tolist()
        end = int(torch.randint(1, vocab, (1,), generator=generator))
        texts, scores = search(model, prompt, end, arguments)
        ended = any(text[-1] == end for text in texts)
        if ended and search(exact, prompt, end, arguments)[0] == texts:
            return {"model": name, "prompt": prompt, "eos_token_id": end,
                    "max_new_tokens": CONTINUATION, **arguments, "sequences": texts,
                    "scores": scores}
    raise SystemExit(f"{name}: no clear search for {arguments}")


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    generator = torch.Generator().manual_seed(20240601)
    records = [record(name, arguments, generator) for name in MODELS for arguments in BEAMS]
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in records)
    Path("tests/data/beams.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
