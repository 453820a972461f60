#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""LangChain's OpenAI adapter against a running server: langchain_client.py URL [KEY]"""

import sys
from importlib.metadata import version

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI

URL, KEY = sys.argv[1].rstrip("/") + "/v1", (sys.argv[2:] or ["none"])[0]


def check(what, good, shown=""):
    print(f"{'ok  ' if good else 'FAIL'} {what} {shown!r}")
    if not good:
        sys.exit(1)


common = {
    "base_url": URL,
    "api_key": KEY,
    "model": sys.argv[3] if len(sys.argv) > 3 else "kjv",
    "seed": 5,
    "max_tokens": 16,
}
chat = ChatOpenAI(**common, stream_usage=True, temperature=0.8)
messages = [SystemMessage("Answer."), HumanMessage("Who was David?")]
print("langchain-openai", version("langchain-openai"))
answer = chat.invoke(messages)
check("invoke", answer.usage_metadata["output_tokens"] > 0, answer.content)
chunks = list(chat.stream(messages))
whole = sum(chunks[1:], chunks[0])
check("stream", whole.content == answer.content, whole.usage_metadata)
check("batch", [a.content for a in chat.batch([messages] * 4)] == [answer.content] * 4)
check("bind", "," not in chat.bind(stop=[","]).invoke(messages).content)
schema = {"title": "Person", "type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 999}},
          "required": ["age"], "additionalProperties": False}  # fmt: skip
person = (
    ChatOpenAI(**{**common, "max_tokens": 60})
    .with_structured_output(schema, method="json_schema")
    .invoke(messages)
)
check("structured output", isinstance(person["age"], int), person)
llm = OpenAI(**common, temperature=0)
text = llm.invoke("And the LORD said unto")
check("completion", "".join(llm.stream("And the LORD said unto")) == text, text)
