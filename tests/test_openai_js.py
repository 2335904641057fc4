"""OpenAI's SDK for JavaScript as a client: tests/clients/openai.mjs says what it has seen.

`python -m pytest -rP tests/test_openai_js.py` shows its version.
"""

import json
import shutil
import tempfile
from pathlib import Path

from streaming_chat.models import Conversation, Message

from .provider_server import Script
from .test_openai_clients import ATTEMPTS, ROOT, ClientsTestCase, run

NODE = shutil.which("node")


def with_packages(script):
    """Return the path of a copy of this script, beside the packages that it imports."""
    folder = Path(tempfile.mkdtemp())
    (folder / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    return Path(shutil.copy(script, folder))


class JavaScriptTests(ClientsTestCase):
    def test_everything(self):
        self.provider.by_text = {
            "tool": Script([], tool_calls=[("weather", "{}")]),
            "refused": Script(status=429, body={"error": {}}, headers={"retry-after": "0"}),
            "broken": Script(["Half", ""], fault="cut", after=1),
        }
        script = ROOT / "tests" / "clients" / "openai.mjs"
        seen = json.loads(run(NODE, script, self.options["base_url"], self.token))
        print("openai-js", seen.pop("version"))  # noqa: T201  (for -rP)
        answer = "Hello, wörld!"

        assert seen == {
            "models": ["openai:any", "anthropic:any", "responses:any"],
            "whole": answer,
            "streamed": answer,
            "helper": answer,
            "usage": 11,
            "raw": [200, answer],
            "tool": {"name": "weather", "arguments": "{}"},
            "before": {"name": "RateLimitError", "status": 429, "code": "provider_rate_limited"},
            "midStream": {"name": "APIError", "status": None, "code": "provider_truncated"},
            "unknown": {"name": "NotFoundError", "status": 404, "code": "model_not_found"},
        }
        assert [call.prompt for call in self.provider.calls].count("refused") == ATTEMPTS
        assert [call.prompt for call in self.provider.calls].count("broken") == 1
        assert Conversation.objects.get(title="one").message_count == 10
        # Also that of the stream whose connection was closed after [DONE].
        assert set(Message.objects.filter(text=answer).values_list("status", flat=True)) == {"completed"}

    def test_the_example(self):
        example = with_packages(ROOT / "docs" / "examples" / "openai_sdk.mjs")
        self.addCleanup(shutil.rmtree, example.parent)
        self.check_example(NODE, example.name, folder=example.parent)
