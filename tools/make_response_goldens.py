#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden answers in formats that models describe themselves (response_template of tokenizer_config.json).

make_response_goldens.py [--out tests/data/response_templates.json] [--count N] [--seed N]
    writes templates that exercise all of the format, answers in them (some cut, some with parts doubled or
    broken), and the messages that Transformers (utils/chat_parsing) reads in them. null: it raises. Where a field
    comes several times Transformers keeps the last; written are all, with what joins them. Needs transformers.
"""

import argparse
import json
import pathlib
import random
import re

from transformers.utils.chat_parsing import ResponseParser

CALL = {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}}
TEMPLATES = {
    "json": {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|turn|>assistant\n",
        "fields": {
            "reasoning_content": {"open": "<think>", "close": "</think>"},
            "tool_calls": {
                "open_pattern": r"\s*<call>", "close": "</call>", "repeats": True, "content": "json",
                "transform": {"type": "function", "function": "{content}"},
            },
            "content": {"close_pattern": r"\s*(?:<\|end\|>|<\|stop\|>)"},
        },
    },
    "xml": {
        "start_anchor_pattern": r"<\|turn\|>(?:assistant|model)\n",
        "fields": {
            "thinking": {"open": ["<think>", "<thinking>"], "close": ["</think>", "</thinking>"], "repeats": True,
                         "join": " | "},
            "tool_calls": {
                "open_pattern": r"\s*<call>\s*<function=(?P<name>[^>\n]+)>", "close_pattern": r"</function>\s*</call>",
                "repeats": True, "content": "xml-inline", "transform": CALL,
                "content_args": {"tag_pattern": r"<p=(?P<key>\w+)>\s*(?P<value>.*?)\s*</p>"},
            },
            "content": {"close": "<|end|>"},
        },
    },
    "relaxed": {
        "version": 1,
        "start_anchor": ["<|turn|>model\n", "<result|>"],
        "fields": {
            "reasoning_content": {"open": "<|channel>thought\n", "close": "<channel|>", "content": "text"},
            "tool_calls": {
                "open_pattern": r"<\|call>call:(?P<name>\w+)", "close": "<call|>", "repeats": True, "content": "json",
                "content_args": {"unquoted_keys": True, "string_delims": [['<|"|>', '<|"|>']]}, "transform": CALL,
            },
            "content": {"close": ["<turn|>", "<|result>"]},
        },
    },
    "python": {
        "start_anchor": "[ASSISTANT]",
        "fields": {
            "tool_calls": {
                "open": "[CALLS]", "close_pattern": r"(?<=\])(?=\s*(?:\[END\]|$))", "content": "python-call-list",
                "transform": {"function": {"name": "{name}", "arguments": "{arguments}"}}, "transform_each": True,
            },
            "reasoning": {"open_pattern": r"\[THINK(?:ING)?\]", "close_pattern": r"\[/THINK(?:ING)?\]\n*",
                          "content_args": {"strip": False}},
            "content": {"close": "[END]"},
        },
    },
    "lines": {
        "start_anchor": "bot:",
        "fields": {
            "content": {"open": "say:", "close": "\n\n", "repeats": True, "join": "\n\n"},
            "notes": {"open": "note:", "close": "\n\n", "content": "kv-lines"},
            "tool_calls": {
                "open": "do:", "close_pattern": r"\n(?P<name>\w+)!\n", "repeats": True, "content": "kv-lines",
                "content_args": {"kv_sep": "=", "value_parser": {"name": "json", "args": {"allow_non_json": True}}},
                "transform": CALL,
            },
        },
    },
}  # fmt: skip
PREFIXES = {
    "json": ["<|turn|>user\nHi<|end|>\n<|turn|>assistant\n", "<|turn|>assistant\n<think>\n",
             "<|turn|>assistant\nx<|end|>\n<|turn|>assistant\n<think>\n\n</think>\n\n"],
    "xml": ["<|turn|>model\n", "<|turn|>assistant\n<thinking>"],
    "relaxed": ["<|turn|>model\n", "<|turn|>model\n<|call>call:f{}<call|><|result>1<result|>"],
    "python": ["[USER]hi[ASSISTANT]", "[ASSISTANT][THINK]"],
    "lines": ["bot:", "bot:say:"],
}  # fmt: skip
ANSWERS = {
    "json": [
        "<think>\nHm, 2 < 3.\n</think>\n\nHello <b>world</b>\n<|end|>\n<|stop|>",
        'Let me see.\n<call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n</call>\n'
        '<call>{"name": "add", "arguments": {"a": 1.5, "b": null}}</call><|end|>',
        'I think so</think>  yes  <call>{"name": "add", "arguments": "{\\"a\\": 1}"}</call> and no <|end|>',
        "<call>{broken</call>", "no marks at all", "",
    ],
    "xml": [
        "<think>one</think><thinking> two </thinking> Äh,\n\nyes. <|end|>",
        "<call>\n<function=get_weather>\n<p=city>\nPa<ris\n</p>\n<p=days>\n7\n</p>\n</function>\n</call>\n"
        "<call><function=add></function></call><|end|>",
        "deep</thinking>\n\n<call><function=add><p=a>1.5</p><p=b>true</p></function> </call>  done<|end|>",
    ],
    "relaxed": [
        '<|channel>thought\nHm.<channel|>Sure. <|call>call:get_weather{city:<|"|>Paris: "the, {city}"<|"|>,days:3}<call|><|result>',
        '<|call>call:add{a:1, "b" : {c:[1,2],d:<|"|><|"|>}}<call|> text, {a:1} <turn|>',
        "<|call>call:add{a:}<call|>", "plain\n",
    ],
    "python": [
        "[THINK] a b \n[/THINK]\n\nText [CALLS][get_weather(city='Paris', days=2), add(a=-1.5, b=None)] [END]",
        '[THINKING]x[/THINKING][CALLS][add(a=[1, {"k": True}], b="it\'s")]', "why[/THINK]Because.\n[END]",
        "[CALLS][add(1)][END]", "[CALLS][] [END]",
    ],
    "lines": [
        "say: Hello  \n\nnote: a: b\nc: d\n\nsay:World\n\ndo: city=Paris\ndays = 3\nget_weather!\nlost text",
        "do:\na=1.5\nb=[1, 2]\nnothing\nadd!\nsay:done", "Hi there\n\ndo:a=x=y\nadd!\n",
    ],
}  # fmt: skip
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}}}}},
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {
        "a": {"type": "number"}, "b": {"type": "boolean"}}}}},
]  # fmt: skip


def calls_of(value):
    for call in value if isinstance(value, list) else [value]:
        arguments = call["function"].get("arguments", {})
        if not re.fullmatch(r"[\w.:/-]+", call["function"]["name"], re.ASCII):
            raise ValueError("no name of a tool")  # what the API allows
        yield [call["function"]["name"], json.loads(arguments) if isinstance(arguments, str) else arguments]


def read(template, prefix, text):
    """{"content", "reasoning", "calls"}, or None."""
    parser = ResponseParser(template, prefix=prefix, tools=TOOLS)
    message = {"content": "", "reasoning": "", "calls": []}
    try:
        for event in parser.feed(text) + parser.finalize()[1]:
            field, value = event["field"], event.get("value")
            if event["type"] != "region_close" or field == "notes":
                continue
            if field == "tool_calls":
                message["calls"] += calls_of(value)
                continue
            name = "content" if field == "content" else "reasoning"
            join = template["fields"][field].get("join", "\n")
            message[name] += (join if message[name] and value else "") + value
    except Exception:  # whatever a broken answer raises
        return None
    return message


def changed(rng, text):
    at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + text[end:]
    if kind == 2:
        return text + text[at:]
    return text[:at] + rng.choice([" ", "\n", "<", "]", "}", "é", '"']) + text[at:]


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/data/response_templates.json")
    parser.add_argument("--count", type=int, default=30, help="changed answers per template")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    out = {"tools": TOOLS, "templates": TEMPLATES, "answers": []}
    for name, template in TEMPLATES.items():
        texts = ANSWERS[name] + [changed(rng, rng.choice(ANSWERS[name])) for _ in range(args.count)]
        for number, text in enumerate(texts):
            for prefix in PREFIXES[name] if number < len(ANSWERS[name]) else [rng.choice(PREFIXES[name])]:
                out["answers"].append([name, prefix, text, read(template, prefix, text)])
    lines = ",\n".join(json.dumps(answer) for answer in out.pop("answers"))
    args.out.write_text(json.dumps(out)[:-1] + ', "answers": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
