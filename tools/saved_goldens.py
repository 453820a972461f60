# SPDX-License-Identifier: Apache-2.0
"""The golden models once more, as `save_pretrained` of the installed Transformers writes them.

    python tools/saved_goldens.py --goldens tests/data/goldens --out DIR [--fresh] [--only qwen3_moe]
    FOLKMOOT_GOLDENS=DIR build/release/bin/engine_test --gtest_filter='Families/Golden.*'

What is saved depends on how the model came to be: tensors that were renamed when they were read get
their old names back, and those of a model made from its configuration (--fresh) all that any file has.
Needs what make_goldens.py needs. A model that Transformers cannot load, cannot save, or does not read
back with the same weights is named and left out.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from goldens import families  # noqa: F401 (tells Transformers of models with pictures)
from goldens.families_seq2seq import ARCHITECTURES
from goldens.family import is_of_text


def class_of(directory):
    config = json.loads((directory / "config.json").read_text())
    return AutoModelForSeq2SeqLM if config["model_type"] in ARCHITECTURES else AutoModelForCausalLM


def load(directory):
    """Its model in float32, without what reference.load_model corrects."""
    model, info = class_of(directory).from_pretrained(directory, dtype=torch.float32,
                                                      output_loading_info=True)
    for name in info["missing_keys"]:
        if is_of_text(name) and model.state_dict()[name].numel():
            raise RuntimeError(f"Transformers does not find {name}")
    return model


def save(source, directory, fresh):
    model = load(source)
    if fresh:
        weights = model.state_dict()
        model = class_of(source).from_config(AutoConfig.from_pretrained(source), dtype=torch.float32)
        model.load_state_dict(weights)
    model.save_pretrained(directory)
    again = load(directory).state_dict()
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, again[name]):
            raise RuntimeError(f"{name} is another one when it is read again")
    shutil.copy(source / "golden.json", directory / "golden.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--goldens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fresh", action="store_true", help="models made from their configuration")
    parser.add_argument("--only", default="", help="directories that begin so")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for source in sorted(arguments.goldens.iterdir()):
        if not source.name.startswith(arguments.only) or not (source / "golden.json").exists():
            continue
        directory = arguments.out / source.name
        try:
            save(source, directory, arguments.fresh)
        except Exception as error:  # whatever Transformers says
            shutil.rmtree(directory, ignore_errors=True)
            reason = str(error).strip().splitlines() or [type(error).__name__]
            print(f"{source.name}: left out: {reason[-1][:200]}", flush=True)


if __name__ == "__main__":
    main()
