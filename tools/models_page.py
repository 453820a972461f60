# SPDX-License-Identifier: Apache-2.0
"""Writes docs/models.md: the families that run, and how far from Transformers each was measured.

    python3 tools/models_page.py --folkmoot build/bin/folkmoot --engine-test build/bin/engine_test
    python3 tools/models_page.py --folkmoot build/bin/folkmoot --check

The numbers are those of the tests Golden.* over tests/data/goldens; the reasons are those that
`folkmoot inspect --json` gives. With --check the page is compared instead, up to the numbers.
"""

import argparse
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "models.md"
GOLDENS = ROOT / "tests" / "data" / "goldens"

# What people call the models of a model_type.
NAMES = {
    "afmoe": "Arcee Trinity",
    "aria": "Aria (its text model)",
    "axk1": "A.X-K1",
    "axk2": "A.X-K2",
    "bailing_hybrid": "Ling 3",
    "beam": "Beam",
    "cohere2_moe": "Cohere North Mini Code",
    "dbrx": "DBRX",
    "deepseek_ocr2": "DeepSeek-OCR 2 (its text model)",
    "deepseek_v2": "DeepSeek-V2, V2.5, Coder-V2, V2-Lite",
    "deepseek_v3": "DeepSeek-V3, R1, Kimi-K2, Moonlight",
    "deepseek_v32": "DeepSeek-V3.2",
    "deepseek_v4": "DeepSeek-V4",
    "dots1": "dots.llm1",
    "dots3_note": "dots3.note (its text model)",
    "dots3_note_text": "dots3.note's text model alone",
    "ernie4_5_moe": "ERNIE 4.5 with experts",
    "ernie4_5_vl_moe": "ERNIE 4.5 VL (its text model)",
    "exaone_moe": "K-EXAONE",
    "flex_olmo": "FlexOlmo",
    "flint": "Flint",
    "gemma": "Gemma",
    "gemma2": "Gemma 2",
    "gemma3_text": "Gemma 3 (text)",
    "gemma4": "Gemma 4 (its text model)",
    "gemma4_text": "Gemma 4, text alone",
    "glm4_moe": "GLM-4.5, 4.6, 4.7",
    "glm4_moe_lite": "GLM-4.7-Flash",
    "glm_moe_dsa": "GLM-5, 5.1, 5.2",
    "glm4v_moe": "GLM-4.5V, 4.6V (their text models)",
    "glm5_next": "GLM-5.3-Flash (its text model)",
    "gpt_oss": "gpt-oss",
    "granitemoe": "Granite 3 with experts",
    "granitemoehybrid": "Granite 4 H, and without state spaces",
    "granitemoeshared": "Granite 4 with shared experts",
    "granitemoe_swa": "Granite Swash",
    "grok-1": "Grok-1",
    "hunyuan_v1_moe": "Hunyuan-A13B",
    "hy_v3": "Hunyuan 3",
    "hy_v4": "Hunyuan 4",
    "hy_v4_vl": "Hunyuan 4 that looks at pictures (its text model)",
    "inkling2": "Inkling 2 (its text model)",
    "inkling2_loop": "Inkling 2 Loop (its text model)",
    "inkling2_loop_text": "Inkling 2 Loop's text model alone",
    "inkling2_text": "Inkling 2's text model alone",
    "inkling_mm_model": "Inkling (its text model)",
    "inkling_text": "Inkling's text model alone",
    "jamba": "Jamba 1.5, 1.7, Reasoning",
    "jetmoe": "JetMoE",
    "kimi_k25": "Kimi-K2.5 (its text model)",
    "kimi_linear": "Kimi Linear",
    "kolibri1": "Kolibri-1",
    "laguna": "Laguna XS, M",
    "lara_mini": "Lara-4 Mini",
    "lfm2": "LFM2",
    "lfm2_moe": "LFM2 with experts",
    "llama": "Llama, SmolLM2, TinyLlama",
    "llama4": "Llama 4 (its text model)",
    "llama4_text": "Llama 4",
    "longcat_flash": "LongCat-Flash",
    "mellum": "Mellum 2",
    "mimo_v2_flash": "MiMo-V2-Flash",
    "minimax": "MiniMax-Text-01 and M1, as converted",
    "minimax_m1": "MiniMax-M1",
    "minimax_m2": "MiniMax-M2",
    "minimax_m3_vl": "MiniMax-M3 (its text model)",
    "minimax_m3_vl_text": "MiniMax-M3's text model alone",
    "minimax_text_01": "MiniMax-Text-01",
    "mistral3": "Mistral Small 4 (its text model)",
    "mistral4": "Mistral Small 4",
    "mistral_large4": "Mistral Large 4 (its text model)",
    "mixtral": "Mixtral",
    "muse_glimmer": "Muse Glimmer (its text model)",
    "muse_spark": "Muse Spark (its text model)",
    "nemotron_h": "Nemotron-H, Nemotron 3 Nano and Super",
    "nllb-moe": "NLLB-MoE (encoder and decoder)",
    "olmo2": "OLMo 2",
    "olmo3": "OLMo 3",
    "olmoe": "OLMoE",
    "phi3": "Phi-3, Phi-3.5, Phi-4",
    "phimoe": "Phi-3.5-MoE",
    "qwen2": "Qwen2, Qwen2.5",
    "qwen2_moe": "Qwen1.5-MoE, Qwen2-MoE",
    "qwen3": "Qwen3",
    "qwen3_5": "Qwen3.5 (its text model)",
    "qwen3_5_text": "Qwen3.5, text alone",
    "qwen3_5_moe_text": "Qwen3.5 with experts, text alone",
    "qwen3_5_moe": "Qwen3.5 with experts (its text model)",
    "qwen3_moe": "Qwen3-MoE",
    "qwen3_next": "Qwen3-Next",
    "qwen3_omni_moe": "Qwen3-Omni (its text model)",
    "qwen3_vl_moe": "Qwen3-VL with experts (its text model)",
    "qwen4_exp": "Qwen4-Exp (its text model)",
    "qwen4_exp_text": "Qwen4-Exp, text alone",
    "sarvam_mla": "Sarvam-105B",
    "sarvam_moe": "Sarvam-30B",
    "seed_oss": "Seed-OSS",
    "solar_open": "Solar Open",
    "step3p7": "Step-3.7-Flash (its text model), Step-3.5-Flash",
    "switch_transformers": "Switch Transformers (encoder and decoder)",
    "unlimited_ocr": "Unlimited-OCR (its text model)",
    "zaya": "ZAYA1",
}

HEAD = """# Models

Written by `tools/models_page.py`; do not edit. A family is listed with the `model_type` of its config.json. Every one was
compared with Hugging Face Transformers on tiny random models, each with other keys of its config.json
(`tests/data/goldens`, by `tools/make_goldens.py`): every choice of every router and every greedy token is equal; the column
*error* is the worst difference of a log-probability in float32 (with MXFP4 weights: computed from the codes), *bfloat16* the mean
difference with weights and activations in bfloat16, beside that of Transformers' own bfloat16 run, of the model where ours is
worst beside it. The same models give the same bits at 3 ranks and, where
the table does not say otherwise, tensor-parallel. Where Transformers is known to deviate from the authors' code, the goldens follow the
authors; it does not know Grok-1, whose goldens come from a published port ([README](../tests/data/goldens/README.md)). Models with an encoder give the outputs of its beam search, too
([ADR 22](adr/0022-encoder-decoder.md)).

Text needs a `tokenizer.json`. A directory without one, such as those with only a tiktoken file, runs with token ids until it is
converted. Which vocabularies and chat templates were compared with Transformers: [tokenizers.md](tokenizers.md).

Of the families with experts that Transformers 5.24 knows and that write text one is not here. Doge's experts will not be: their
router takes the logits of different tokens for one another, as Transformers says itself, so that what a token gets would depend on
its company.

Any key of a config.json that is not known to change nothing is honoured or refused by name; so are tensors that are missing
or left over (`folkmoot inspect MODEL`). Layers for multi-token prediction are not read. Quantised checkpoints:
[quantization.md](quantization.md); GGUF files: [gguf.md](gguf.md); another family: [adding-a-model.md](adding-a-model.md).
"""


def families():
    """{model_type: golden directories}"""
    result = {}
    for directory in sorted(GOLDENS.iterdir()):
        if not (directory / "config.json").exists():
            continue
        model_type = json.loads((directory / "config.json").read_text())["model_type"]
        result.setdefault(model_type, []).append(directory)
    return result


def errors(engine_test):
    """{variant: worst error in float32}, {variant: (mean in bfloat16, that of Transformers)}"""
    run = subprocess.run([engine_test, "--gtest_filter=Families/Golden.*"], cwd=ROOT, check=False,
                         capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{engine_test} failed:\n{run.stdout[-2000:]}")
    plain, reduced = {}, {}
    for line in run.stdout.splitlines():
        found = re.match(r"(\S+): worst log-probability error ([\d.e+-]+)(?:, .* mean ([\d.e+-]+), "
                         r"that of Transformers ([\d.e+-]+))?$", line)
        if not found:
            continue
        if found[3]:
            reduced[found[1]] = (float(found[3]), float(found[4]))
        else:
            plain[found[1]] = max(float(found[2]), plain.get(found[1], 0))
    return plain, reduced


@functools.cache
def inspect(folkmoot, directory):
    run = subprocess.run([folkmoot, "inspect", directory, "--json"], check=True,
                         capture_output=True, text=True)
    return json.loads(run.stdout)


def first_reason(reports, key):
    return next((report[key] for report in reports if report[key]), "")


def row(model_type, directories, folkmoot, plain, reduced):
    names = [directory.name for directory in directories]
    released_first = sorted(directories, key=lambda d: not d.name.endswith("-classic"))
    reports = [inspect(folkmoot, directory) for directory in released_first]
    worst = max(plain[name] for name in names)
    low, own = max((reduced[name] for name in names), key=lambda pair: pair[0] / pair[1])
    gpu = first_reason(reports, "cpu_only")
    ranks = first_reason(reports, "not_tensor_parallel")
    return (f"| {NAMES[model_type]} | `{model_type}` | {len(names)} | {worst:.0e} | "
            f"{low:.3f} ({own:.3f}) | {'no: ' + gpu if gpu else 'yes'} | "
            f"{'no: ' + ranks if ranks else 'yes'} |")


def table(title, rows):
    return "\n".join(["", f"## {title}", "",
                      "| models | model_type | tiny models | error | bfloat16 | GPU | tensor-parallel |",
                      "|---|---|---|---|---|---|---|", *rows, ""])


def page(folkmoot, plain, reduced):
    moe, dense = [], []
    for model_type, directories in families().items():
        line = row(model_type, directories, folkmoot, plain, reduced)
        experts = any(inspect(folkmoot, d)["experts"] for d in directories)
        (moe if experts else dense).append(line)
    return HEAD + table("With experts", moe) + table("Dense", dense)


def without_numbers(text):
    return re.sub(r"\| \d+e-\d+ \| [\d.]+ \([\d.]+\) \|", "| |", text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folkmoot", type=Path, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--engine-test", type=Path)
    what.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    folkmoot = arguments.folkmoot.resolve()
    if not arguments.check:
        PAGE.write_text(page(folkmoot, *errors(arguments.engine_test.resolve())))
        return
    names = [directory.name for directories in families().values() for directory in directories]
    text = page(folkmoot, dict.fromkeys(names, 1e-9), dict.fromkeys(names, (1e-9, 1.0)))
    if without_numbers(PAGE.read_text()) != without_numbers(text):
        sys.exit(f"{PAGE} is not what {Path(__file__).name} writes: run it again")


if __name__ == "__main__":
    main()
