# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/embeddings/goldens.json: what Transformers makes of prompts as embeddings.

    python tools/make_embedding_goldens.py --out tests/data/embeddings/goldens.json

The models and prompts are those of tests/data/goldens. `last` is the hidden state of the last token
after the final norm, `mean` the mean of those of all tokens, both before any normalisation.
Needs torch and transformers >= 5.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers

from goldens import reference

# Dense and sparse, shared experts, latent attention, scaled embeddings and residuals.
MODELS = ("llama-classic", "qwen3-classic", "gemma2-caps", "mixtral-classic", "qwen2_moe-classic",
          "qwen3_moe-classic", "granitemoeshared-shared", "deepseek_v3-classic", "glm4_moe-v5",
          "minimax_m2-classic")
GOLDENS = Path(__file__).parent.parent / "tests/data/goldens"


def numbers(tensor):
    """Nine significant digits: enough to name one float32."""
    return [float(f"{float(value):.9g}") for value in tensor]


def embeddings(model, token_ids):
    reference.fresh_rope(model)
    with torch.no_grad():
        hidden = model.model(torch.tensor([token_ids]), use_cache=False).last_hidden_state[0]
    return {"token_ids": token_ids, "last": numbers(hidden[-1]),
            "mean": numbers(hidden.double().mean(0))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    models = {}
    for name in MODELS:
        golden = json.loads((GOLDENS / name / "golden.json").read_text())
        model = reference.load_model(GOLDENS / name)
        models[name] = [embeddings(model, prompt["token_ids"]) for prompt in golden["prompts"]]
        print(name, [len(prompt["token_ids"]) for prompt in models[name]])
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(models[name])}" for name in MODELS]
    head = f'"transformers": {json.dumps(transformers.__version__)}'
    out.write_text("{" + head + ', "models": {\n' + ",\n".join(lines) + "}}\n")


if __name__ == "__main__":
    main()
