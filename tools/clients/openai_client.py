#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The official `openai` package against a running server: openai_client.py URL [KEY]

Chat and completions, streamed and not, extra fields, structured output, every class of error, and
that retries happen where they should and nowhere else.
"""

import asyncio
import json
import sys
import time

import openai

URL, KEY = sys.argv[1].rstrip("/"), (sys.argv[2:] or ["none"])[0]
client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY)
MODEL = client.models.list().data[0].id
MESSAGES = [{"role": "user", "content": "Who was David?"}]
PROMPT = "And the LORD said unto"


def check(what, good, shown=""):
    print(
        f"{'ok  ' if good else 'FAIL'} {what} {shown!r}"
        if shown
        else f"{'ok  ' if good else 'FAIL'} {what}"
    )
    if not good:
        sys.exit(1)


def completions():
    whole = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=16, temperature=0, logprobs=2
    )
    choice = whole.choices[0]
    check(
        "completion",
        choice.finish_reason == "length" and whole.usage.completion_tokens == 16,
        choice.text,
    )
    check("request id", bool(whole._request_id))
    check("logprobs", len(choice.logprobs.token_logprobs) == 16)
    stream = client.completions.create(
        model=MODEL,
        prompt=PROMPT,
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    events = list(stream)
    check(
        "streamed completion",
        "".join(e.choices[0].text for e in events if e.choices) == choice.text,
    )
    check("usage of a stream", events[-1].usage.completion_tokens == 16 and not events[-1].choices)
    drawn = [
        client.completions.create(
            model=MODEL, prompt=PROMPT, max_tokens=12, seed=4, n=3, stop=[","],
            extra_body={"top_k": 50, "min_p": 0.02, "repetition_penalty": 1.1, "min_tokens": 2, "ignore_eos": True},
        )  # fmt: skip
        for _ in range(2)
    ]
    check("seed, n, stop and extra fields", drawn[0].choices == drawn[1].choices)


def chats():
    whole = client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        max_completion_tokens=16,
        seed=1,
        logprobs=True,
        top_logprobs=3,
    )
    message = whole.choices[0].message
    check(
        "chat",
        message.role == "assistant" and len(whole.choices[0].logprobs.content) > 0,
        message.content,
    )
    stream = client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        max_completion_tokens=16,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    )
    events = list(stream)
    text = "".join(e.choices[0].delta.content or "" for e in events if e.choices)
    check(
        "streamed chat",
        text == message.content and events[-1].usage.total_tokens == whole.usage.total_tokens,
    )
    # The helper takes an end by length for an error: let it end by itself.
    choices = {"structured_outputs": {"choice": ["a king", "a shepherd"]}}
    with client.chat.completions.stream(
        model=MODEL, messages=MESSAGES, seed=1, extra_body=choices
    ) as helper:
        content = helper.get_final_completion().choices[0].message.content
    check("stream helper", content in choices["structured_outputs"]["choice"], content)
    schema = {
        "type": "object",
        "properties": {"king": {"type": "boolean"}},
        "required": ["king"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=60, seed=2,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
    )  # fmt: skip
    content = answer.choices[0].message.content
    check("json_schema", isinstance(json.loads(content)["king"], bool), content)


def errors():
    no_retry = client.with_options(max_retries=0)
    cases = [
        ("unknown model", openai.NotFoundError, {"model": "gpt-nothing"}),
        ("temperature out of range", openai.BadRequestError, {"temperature": -1}),
        ("a prompt that is too long", openai.BadRequestError, {"prompt": [5] * 100000}),
        ("a deadline", openai.InternalServerError, {"max_tokens": 900, "n": 8, "extra_body": {"timeout": 0.05, "ignore_eos": True}}),
    ]  # fmt: skip
    for what, kind, fields in cases:
        start = time.monotonic()
        try:
            # With retries allowed: none of these may be repeated.
            client.completions.create(**{"model": MODEL, "prompt": PROMPT, **fields})
            check(what, False)
        except kind as error:
            check(what, bool(error.message) and time.monotonic() - start < 2, error.body["message"])
    try:
        stream = no_retry.completions.create(
            model=MODEL,
            prompt=PROMPT,
            max_tokens=900,
            n=8,
            stream=True,
            extra_body={"timeout": 0.3, "ignore_eos": True},
        )
        for _ in stream:
            pass
        check("an error inside a stream", False)
    except openai.APIError as error:
        check("an error inside a stream", "deadline" in error.message, error.message)
    if KEY != "none":
        try:
            openai.OpenAI(base_url=URL + "/v1", api_key="wrong").models.list()
            check("a wrong key", False)
        except openai.AuthenticationError as error:
            check("a wrong key", True, error.body["message"])


async def overload():
    """More than the queue holds: the client waits as Retry-After says and gets through."""
    many = openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=8)
    refused = 0

    async def ask(seed, source):
        return await source.completions.create(model=MODEL, prompt=PROMPT, max_tokens=64, seed=seed)

    answers = await asyncio.gather(
        *(ask(i, many.with_options(max_retries=0)) for i in range(48)), return_exceptions=True
    )
    refused = sum(isinstance(a, openai.RateLimitError) for a in answers)
    check(
        "only RateLimitError under overload",
        all(not isinstance(a, Exception) or isinstance(a, openai.RateLimitError) for a in answers),
    )
    answers = await asyncio.gather(*(ask(i, many) for i in range(48)))
    check(f"retries bring all 48 through ({refused} were refused without)", len(answers) == 48)


def disconnect():
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=800, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    check("a closed stream", True)


if __name__ == "__main__":
    print(f"openai {openai.__version__}, model {MODEL}")
    completions()
    chats()
    errors()
    disconnect()
    asyncio.run(overload())
