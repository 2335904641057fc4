"""Check a file for fine-tuning against the rules that OpenAI documents, before you upload it.

    python manage.py exporttranscripts --format training --output training.jsonl
    python check_training_file.py training.jsonl

Rules: https://developers.openai.com/cookbook/examples/chat_finetuning_data_prep
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROLES = {"system", "user", "assistant"}
KEYS = {"role", "content", "name", "weight"}
# https://platform.openai.com/docs/guides/supervised-fine-tuning
LEAST_EXAMPLES = 10


def errors_in(line: str) -> Iterator[str]:
    """Yield what is wrong with an example."""
    try:
        example = json.loads(line)
    except ValueError as error:
        yield f"is not JSON: {error}"
        return
    messages = example.get("messages") if isinstance(example, dict) else None
    if not isinstance(messages, list) or not messages:
        yield "has no list of messages"
        return
    for number, message in enumerate(messages, 1):
        for error in errors_of(message):
            yield f"message {number} {error}"
    yield from errors_in_order([message.get("role") for message in messages if isinstance(message, dict)])
    last = messages[-1]
    if isinstance(last, dict) and last.get("weight") == 0:
        yield "has a last message with the weight 0"


def errors_of(message: Any) -> Iterator[str]:
    """Yield what is wrong with a message by itself."""
    if not isinstance(message, dict):
        yield "is not an object"
        return
    if unknown := message.keys() - KEYS:
        yield f"has unknown keys: {', '.join(sorted(unknown))}"
    if message.get("role") not in ROLES:
        yield f"has the role {message.get('role')!r}"
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        yield "has no content"
    if "weight" in message and (message["weight"] not in (0, 1) or message.get("role") != "assistant"):
        yield "has a weight that is not allowed"


def errors_in_order(roles: list[Any]) -> Iterator[str]:
    """Yield what is wrong with the order of messages."""
    turns = roles[1:] if roles[:1] == ["system"] else roles
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or turns != expected:
        yield "is not a dialogue of user and assistant that ends with the assistant"


def main(path: str) -> int:
    """Print each error with its line; return 1 if there is one, or too few examples."""
    lines = [line for line in Path(path).read_text(encoding="utf-8").split("\n") if line]
    errors = [f"line {number} {error}" for number, line in enumerate(lines, 1) for error in errors_in(line)]
    if len(lines) < LEAST_EXAMPLES:
        errors.append(f"the file has {len(lines)} examples, and needs at least {LEAST_EXAMPLES}")
    for error in errors:
        print(error)
    if not errors:
        print(f"{len(lines)} examples are valid.")
    return 1 if errors else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"Usage: python {sys.argv[0]} FILE")
    sys.exit(main(sys.argv[1]))
