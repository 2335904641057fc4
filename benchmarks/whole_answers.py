"""Measure what an answer costs that nobody reads while it is written: as a stream, and as one JSON body.

    python -m benchmarks.whole_answers [--deltas 500] [--answers 200] [--pause 0.002]

The provider of the tests runs in a process of its own, so the CPU time is that of asking alone. Prints milliseconds of CPU
for each answer, the median of five runs that alternate. pause: seconds between two deltas, so that each is a read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import django

ROUNDS = 5
SERVER = """
import sys
from tests.provider_server import ProviderServer, Script
script = Script(["word "] * int(sys.argv[1]), pause=float(sys.argv[2]))
with ProviderServer(script) as server:
    print(server.openai_url, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    """Start the provider, and print the two figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deltas", type=int, default=500)
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.002)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    command = [sys.executable, "-c", SERVER, str(options.deltas), str(options.pause)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip() if server.stdout else ""
        asyncio.run(_measure(url, options.answers))
        server.communicate()


async def _measure(url: str, answers: int) -> None:
    from streaming_chat.providers.openai import OpenAIProvider

    class Whole(OpenAIProvider):
        """The same without a stream."""

        def parameters(self, prompt: Any) -> dict[str, Any]:
            return {**super().parameters(prompt), "stream": False}

    providers = {
        "as a stream": OpenAIProvider("openai", api_key="test", base_url=url),
        "as one body": Whole("openai", api_key="test", base_url=url),
    }
    for provider in providers.values():
        await _cpu_ms(provider, 20)
    runs = [
        {name: await _cpu_ms(provider, answers) for name, provider in providers.items()} for _round in range(ROUNDS)
    ]
    for name in providers:
        print(f"{name}: {statistics.median(run[name] for run in runs):.2f} ms of CPU for each answer")


async def _cpu_ms(provider: Any, answers: int) -> float:
    from streaming_chat.providers.asking import ask_once
    from streaming_chat.providers.base import Prompt, Turn

    prompt = Prompt(model="any", turns=(Turn("user", "Hi"),))
    began = time.process_time()
    for _batch in range(0, answers, 20):
        await asyncio.gather(*(ask_once(provider, prompt) for _number in range(20)))
    return (time.process_time() - began) * 1_000 / answers


if __name__ == "__main__":
    main()
