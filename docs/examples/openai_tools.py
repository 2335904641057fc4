"""A tool of this program for a model of the site, with OpenAI's SDK: the model calls it, and the program runs it.

    pip install openai
    CHAT_TOKEN=sc_… python openai_tools.py https://example.com/chat/ anthropic:claude-opus-5-5 "What is 17 times 23?"

It is the same for every provider of the site, which runs nothing. The question, the calls, their results and the answer are
one conversation.
"""

import json
import os
import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "v1", api_key=os.environ["CHAT_TOKEN"])
messages = [{"role": "user", "content": sys.argv[3]}]


def multiply(a, b):
    return a * b


numbers = {"a": {"type": "number"}, "b": {"type": "number"}}
schema = {"type": "object", "properties": numbers, "required": ["a", "b"]}
function = {"name": "multiply", "description": "Multiply two numbers.", "parameters": schema}

while True:
    reply = client.chat.completions.create(
        model=sys.argv[2], messages=messages, tools=[{"type": "function", "function": function}]
    )
    message = reply.choices[0].message
    if not message.tool_calls:
        break
    messages.append(message.to_dict())
    for call in message.tool_calls:
        result = multiply(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": str(result)})

print(message.content)
