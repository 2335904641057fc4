"""A chat in the terminal with OpenAI's SDK: the site is its server.

    pip install openai
    CHAT_TOKEN=sc_… python openai_sdk.py https://example.com/chat/

The token is one of the chat's access tokens. Each line is a message; the whole chat is one conversation of its owner.
"""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "v1", api_key=os.environ["CHAT_TOKEN"])
model = client.models.list().data[0].id
messages = []

for line in sys.stdin:
    messages.append({"role": "user", "content": line.strip()})
    text = ""
    for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
        delta = chunk.choices[0].delta.content or ""
        print(delta, end="", flush=True)
        text += delta
    print()
    messages.append({"role": "assistant", "content": text})
