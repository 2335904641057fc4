"""OpenAI's SDK for JavaScript as a client, in two versions: tests/clients/openai.mjs says what it has seen.

`python -m pytest -s tests/test_openai_js.py` shows the versions.
"""

import json
import shutil
import tempfile
from pathlib import Path

from django.test import override_settings

from streaming_chat.models import Conversation

from .browser.bundles import node
from .provider_server import Script
from .servers import wait_until
from .test_openai_clients import ANSWER, ATTEMPTS, CUT, ROOT, WEATHER, ClientsTestCase, run
from .tools.cases import SETTINGS as TOOLS

# Version 7 needs Node.js 22, which Playwright brings along.
RUNTIMES = {"openai": shutil.which("node"), "openai7": node()}
TEXT = "Hello, wörld!"
LOCATE = ("locate", "{}")


def with_packages(script):
    """Return the path of a copy of this script, beside the packages that it imports."""
    folder = Path(tempfile.mkdtemp())
    (folder / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    return Path(shutil.copy(script, folder))


class JavaScriptTests(ClientsTestCase):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.provider.by_text = {
            "reasoning": Script(["Yes"], reasoning=["Let me", " think."]),
            "weather?": Script([], tool_calls=[("weather", '{"city":"Rome"}')]),
            "Sunny, 25 °C": Script(["Take a hat."]),
            "thanks": Script(["You are welcome."]),
            "calls": Script([], tool_calls=[("weather", "{}"), ("weather", '{"city":"Oslo"}')]),
            "refused": Script(status=429, body={"error": {}}, headers={"retry-after": "0"}),
            "rejected": Script(status=400, body={"error": {}}),
            "broken": Script(["Half", ""], fault="cut", after=1),
            "left": Script(["Some"], fault="endless"),
        }

    def seen(self, package):
        """Return what a version has seen, once it has left."""
        script = ROOT / "tests" / "clients" / "openai.mjs"
        seen = json.loads(run(RUNTIMES[package], script, package, self.options["base_url"], self.token))
        print("openai-js", seen.pop("version"), "on Node.js", seen.pop("node"))  # noqa: T201  (the versions tested)
        wait_until(lambda: self.outcome_of("left") == ("stopped", "disconnect", ""))
        return seen

    def check(self, package):
        usage = {"usage": None, "finish": "stop"}
        busy = {"name": "RateLimitError", "status": 429, "code": "provider_rate_limited"}

        assert self.seen(package) == {
            "models": ["openai:any", "anthropic:any", "responses:any"],
            "whole": {"text": TEXT, "usage": 11},
            "streamed": {"text": TEXT, "reasoning": "", "usage": 11, "finish": "stop"},
            "reasoning": {"text": "Yes", "reasoning": "Let me think.", **usage},
            "wholeReasoning": "Let me think.",
            "helper": {"text": TEXT, "usage": 11},
            "raw": [200, "application/json", TEXT],
            "rawStream": [200, "data: [DONE]"],
            "tool": {"name": "weather", "arguments": '{"city":"Rome"}'},
            "answered": "Take a hat.",
            "thanked": "You are welcome.",
            "calls": ["{}", '{"city":"Oslo"}'],
            "before": busy,
            "beforeWhole": busy,
            "rejected": {"name": "BadRequestError", "status": 400, "code": "provider_rejected"},
            "midStream": {"name": "APIError", "status": None, "code": "provider_truncated"},
            "unknown": {"name": "NotFoundError", "status": 404, "code": "model_not_found"},
            "parameter": {"name": "BadRequestError", "status": 400, "code": "invalid"},
        }
        self.check_transcripts()
        self.check_provider()
        self.check_chat()
        self.check_connections()

    def check_transcripts(self):
        """Each step has left what its client has seen."""
        for text in ("whole", "streamed", "helper", "raw", "raw stream", "first", "fifth"):
            assert self.transcripts(text) == [(*ANSWER, 7, 4)], text
        assert self.transcripts("reasoning") == [("Yes", "Let me think.", "completed", "stop", "", 7, 4)] * 2
        [(*called, _input, _output)] = self.transcripts("weather?")
        assert called == ["", "", "completed", "tool_calls", ""]
        assert self.transcripts("Sunny, 25 °C") == [("Take a hat.", "", "completed", "stop", "", 7, 4)]
        assert [row[:5] for row in self.transcripts("refused")] == [("", "", "failed", "", "provider_rate_limited")] * 2
        assert [row[:5] for row in self.transcripts("rejected")] == [("", "", "failed", "", "provider_rejected")]
        assert [row[:5] for row in self.transcripts("broken")] == [("Half", "", *CUT)]
        assert self.transcripts("left")[0][0].startswith("Some")
        assert self.transcripts("unknown") == self.transcripts("parameter") == []

    def check_provider(self):
        """The SDK has not repeated what the app has, nor what could be billed twice."""
        prompts = [call.prompt for call in self.provider.calls]
        tools = [call.body["tools"] for call in self.provider.calls if call.prompt in ("weather?", "calls")]

        assert (prompts.count("refused"), prompts.count("rejected"), prompts.count("broken")) == (2 * ATTEMPTS, 1, 1)
        assert tools == [[WEATHER]] * 2

    def check_chat(self):
        """Five turns are one conversation, and an edited history is a branch of it."""
        conversation = Conversation.objects.get(title="one")
        texts = {"3": ["one", "two", "3"], "five": ["one", "two", "three", "four", "five"]}

        assert conversation.message_count == 12
        for last, said in texts.items():
            expected = [turn for text in said for turn in (("user", text), ("assistant", TEXT))]
            assert self.branch_to(conversation, last) == expected
        assert Conversation.objects.get(title="weather?").message_count == 6

    def check_connections(self):
        """After a stream, too. A client has two or three: it begins a request before the end of the last answer is there."""
        used = [self.connections[step] for step in ("first", "second", "third", "fourth", "fifth")]

        assert len(set(used)) < len(used), used

    def test_version_6(self):
        self.check("openai")

    def test_version_7(self):
        self.check("openai7")

    @override_settings(**TOOLS)
    def test_tools_of_the_site_that_the_client_runs(self):
        """Two rounds of calls are one reply, and the next message comes after it."""
        self.provider.by_text = {}
        for package, runtime in RUNTIMES.items():
            self.provider.script(Script(["I look."], tool_calls=[LOCATE]), Script(["Again."], tool_calls=[LOCATE]))
            self.provider.script(Script(["In Köln."]), Script(["You are welcome."]))
            script = ROOT / "tests" / "clients" / "openai_tools.mjs"
            said = json.loads(run(runtime, script, package, self.options["base_url"], self.token))
            path = [*Conversation.objects.get().messages.order_by("depth")]

            assert said == ["I look.", "\n\nAgain.", "\n\nIn Köln.", "You are welcome."]
            assert [message.text for message in path][1::2] == ["".join(said[:3]), said[3]]
            Conversation.objects.all().delete()

    def test_the_example(self):
        example = with_packages(ROOT / "docs" / "examples" / "openai_sdk.mjs")
        self.addCleanup(shutil.rmtree, example.parent)
        self.check_example(RUNTIMES["openai"], example.name, folder=example.parent)
