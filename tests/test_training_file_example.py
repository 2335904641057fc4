"""docs/examples/check_training_file.py: it accepts what the app exports, and names each rule that a file breaks."""

import json
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import SimpleTestCase, TestCase

from streaming_chat.review.verdicts import VerdictChange, save_verdicts
from tests.factories import make_conversation, make_reply
from tests.review.factories import make_reviewer

EXAMPLE = settings.BASE_DIR / "docs" / "examples" / "check_training_file.py"
USER = {"role": "user", "content": "Will it rain?"}
ASSISTANT = {"role": "assistant", "content": "Yes."}


def check(path: Path) -> tuple[int, str]:
    """Return the exit status of the example and what it printed."""
    ran = subprocess.run([sys.executable, EXAMPLE, path], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


@pytest.mark.slow
class ExportedFileTests(TestCase):
    def test_an_exported_file_is_valid(self):
        rita = make_reviewer()
        for number in range(12):
            reply = make_reply(make_conversation(system_prompt="You are careful."), f"Reply {number}.")
            change = VerdictChange("bad", correction="No.") if number % 2 else VerdictChange("good")
            save_verdicts(reply.conversation_id, rita, {reply.pk: change})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "training.jsonl")
            out = {"stdout": StringIO(), "stderr": StringIO()}
            call_command("exporttranscripts", "--format", "training", "--output", str(path), **out)

            assert out["stderr"].getvalue() == "12 of 12 conversations, 12 examples\n"
            assert check(path) == (0, "12 examples are valid.\n")


@pytest.mark.slow
class InvalidFileTests(SimpleTestCase):
    def test_each_rule_is_named(self):
        examples = {
            "has no list of messages": {"messages": []},
            "message 1 is not an object": {"messages": ["Hello", ASSISTANT]},
            "message 1 has unknown keys: id": {"messages": [{**USER, "id": 1}, ASSISTANT]},
            "message 1 has the role 'human'": {"messages": [{**USER, "role": "human"}, ASSISTANT]},
            "message 2 has no content": {"messages": [USER, {**ASSISTANT, "content": " "}]},
            "message 1 has a weight that is not allowed": {"messages": [{**USER, "weight": 1}, ASSISTANT]},
            "has a last message with the weight 0": {"messages": [USER, {**ASSISTANT, "weight": 0}]},
            "is not a dialogue of user and assistant that ends with the assistant": {
                "messages": [USER, USER, ASSISTANT]
            },
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "training.jsonl")
            path.write_text("".join(f"{json.dumps(example)}\n" for example in examples.values()))
            status, printed = check(path)

        assert status == 1
        for number, error in enumerate(examples, 1):
            assert f"line {number} {error}\n" in printed
        assert f"the file has {len(examples)} examples, and needs at least 10\n" in printed
