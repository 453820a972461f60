# SPDX-License-Identifier: Apache-2.0
"""Golden models of configurations that nobody wrote down: keys of two variants of a family, mixed.

    python tools/cross_goldens.py --out DIR --seed 7 --folkmoot build/release/bin/folkmoot
    FOLKMOOT_GOLDENS=DIR build/release/bin/engine_test --gtest_filter='Families/Golden.*'

Needs what make_goldens.py needs. The seed draws configurations and weights. A mixture that
Transformers cannot build, in which no decision is clear, or that Folkmoot refuses is named, and
another one is drawn. Differences that tests/data/goldens/README.md explains, as the base of DBRX's
rotary angles, are found again.
"""

import argparse
import dataclasses
import json
import random
import shutil
import subprocess
from pathlib import Path

import torch
import transformers

from goldens.variant import DELETE
from goldens.variants import VARIANTS
from make_goldens import CONTINUATION, build, write_golden

TRIES = 6
INNER = ("text_config", "thinker_config")  # objects whose keys are those of a model


def mixed(one, other, draw):
    """`one` with about half of the keys in which `other` differs, also of text models inside."""
    result = dict(one)
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) == other.get(key):
            continue
        if key in INNER and key in one and key in other:
            result[key] = mixed(one[key], other[key], draw)
        elif draw.random() < 0.5:
            result[key] = other.get(key, DELETE)
    return {key: value for key, value in result.items() if value != DELETE}


def mixture(variants, name, draw):
    """One of `variants` with about half of the keys in which another one differs; None if its prompts
    are longer than the context."""
    one, other = draw.sample(variants, 2)
    config = mixed(one.config, other.config, draw)
    layout = draw.choice([one, other])
    longest = max(max(one.prompts), one.greedy_prompt + CONTINUATION)
    context = config.get("text_config", config).get("max_position_embeddings")
    beyond = isinstance(context, int) and longest > context
    if beyond and '"dynamic"' not in json.dumps(config):
        return None
    kind = "-dynamic" if beyond else ""  # as the tests know these
    return dataclasses.replace(
        one, name=f"{name}{kind}", config=config, packed=layout.packed, dtype=layout.dtype,
        shard_bytes=draw.choice([one, other]).shard_bytes, matters=[],
        description=f"{one.name} with keys of {other.name}")


def check(folkmoot, directory):
    run = subprocess.run([folkmoot, "inspect", directory], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError("refused: " + run.stderr.strip().splitlines()[-1])


def make(variant, directory, seed, folkmoot):
    """Whether there is a golden model in `directory` then."""
    try:
        golden = build(variant, directory, seed)
        check(folkmoot, directory)
    except Exception as error:  # whatever Transformers says to a mixture
        shutil.rmtree(directory, ignore_errors=True)
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{variant.name}: {variant.description}: {reason[-1]}", flush=True)
        return False
    write_golden(golden, directory / "golden.json")
    print(f"{variant.name}: {variant.description}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folkmoot", required=True, help="the program")
    parser.add_argument("--count", type=int, default=1, help="mixtures per family")
    parser.add_argument("--only", help="the model type of one family")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    draw = random.Random(arguments.seed)
    for family in sorted({variant.model_type for variant in VARIANTS}):
        variants = [variant for variant in VARIANTS if variant.model_type == family]
        if arguments.only not in (None, family) or len(variants) < 2:
            continue
        for number in range(arguments.count):
            name = f"{family}-{arguments.seed}x{number}"
            for _ in range(TRIES):
                variant = mixture(variants, name, draw)
                if variant and make(variant, arguments.out / variant.name,
                                    draw.randrange(2**31), arguments.folkmoot):
                    break


if __name__ == "__main__":
    main()
