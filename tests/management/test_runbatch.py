"""`manage.py runbatch`, in processes of its own, against a provider on loopback."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from django.test import SimpleTestCase

from tests.provider_server import TIMEOUT, Gate, ProviderServer, Script
from tests.servers import site

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

# Starting an interpreter on a busy machine.
_SECONDS = 120
BUSY = Script(status=429, body={"error": {"message": "slow down"}}, headers={"retry-after-ms": "10"})
DOWN = Script(status=503, body={"error": {"message": "down"}}, headers={"retry-after-ms": "10"})


class FailingServer(ProviderServer):
    """Fails every seventh call, in turn as busy and as down."""

    def __init__(self):
        super().__init__()
        self.counted = 0

    def choose(self, body):
        self.counted += 1
        if self.counted % 7 == 0:
            return BUSY if self.counted % 2 else DOWN
        return super().choose(body)


class RunBatchTestCase(SimpleTestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.input, self.output = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        self.provider = self.enterContext(self.make_provider())

    def make_provider(self):
        return ProviderServer()

    def write(self, count):
        lines = [json.dumps({"id": f"line-{number}", "prompt": f"Say {number}."}) for number in range(count)]
        self.input.write_text("\n".join(lines) + "\n")

    def start(self, *arguments):
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.served",
            "STREAMING_CHAT_TEST_SETTINGS": json.dumps({**site(self.provider), "STREAMING_CHAT_PRICES": PRICES}),
        }
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runbatch", str(self.input), str(self.output), *arguments],
            cwd=Path(__file__).parent.parent.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def run_to_end(self, *arguments):
        """Return the exit status, standard output and standard error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=_SECONDS)
        return process.returncode, out, err

    def results(self):
        return [json.loads(line) for line in self.output.read_text().splitlines()]


PRICES = {"openai:*": {"input": "1", "output": "10"}}


class RunBatchTests(RunBatchTestCase):
    def test_each_line_is_answered_once(self):
        self.write(3)
        status, out, err = self.run_to_end()

        assert (status, err) == (0, "")
        assert {result["id"] for result in self.results()} == {"line-0", "line-1", "line-2"}
        assert {result["text"] for result in self.results()} == {"Hello, wörld!"}
        assert out.startswith("3 answered, 0 refused, 3 calls in ")
        assert out.endswith("21 input and 12 output tokens, $0.0001.\n")

    def test_what_the_output_has_is_not_asked_again(self):
        self.write(3)
        # The last line is what a crash has left.
        self.output.write_text('{"id": "line-1", "text": "old"}\n{"id": "line-2", "te')
        status, _out, _err = self.run_to_end()

        assert status == 0
        assert sorted(call.prompt for call in self.provider.calls) == ["Say 0.", "Say 2."]
        assert self.results()[0] == {"id": "line-1", "text": "old"}
        assert {result["id"] for result in self.results()} == {"line-0", "line-1", "line-2"}

    def test_what_is_refused_for_good_has_a_result_and_what_may_pass_has_none(self):
        self.write(3)
        self.provider.by_text["Say 0."] = Script(status=400, body={"error": {"message": "prompt is too long"}})
        self.provider.by_text["Say 1."] = DOWN
        status, out, err = self.run_to_end()

        assert status == 1
        assert "1 answered, 1 refused" in out
        assert "1 lines are left; run the same command again" in err
        assert {result["id"]: result.get("error", {}).get("code") for result in self.results()} == {
            "line-0": "context_too_long",
            "line-2": None,
        }
        assert Counter(call.prompt for call in self.provider.calls) == {"Say 0.": 1, "Say 1.": 7, "Say 2.": 1}

    def test_a_rejected_key_ends_it_without_results(self):
        """With a result for each line, nothing would be asked again once the key is right."""
        self.write(40)
        self.provider.default = Script(status=401, body={"error": {"message": "no"}})
        status, _out, err = self.run_to_end("--concurrency", "2")

        assert status == 1
        assert "rejected this site's credentials. 40 lines are left;" in err
        assert len(self.provider.calls) == 2
        assert self.results() == []

    def test_a_pause_that_the_provider_asks_for_is_kept_by_all_calls(self):
        self.write(8)
        self.provider.script(Script(status=429, body={}, headers={"retry-after": "1"}))
        assert self.run_to_end("--concurrency", "1")[0] == 0
        first, second = self.provider.calls[:2]

        assert second.started_at - first.started_at >= 1
        assert first.prompt == second.prompt

    def test_no_more_calls_at_once_than_asked_for(self):
        gate = Gate()
        self.write(9)
        self.provider.default = Script(gates={0: gate})
        process = self.start("--concurrency", "3")
        self.provider.wait_for_call(3, _SECONDS)
        time.sleep(0.3)
        at_once = len(self.provider.calls)
        gate.open()
        process.communicate(timeout=_SECONDS)

        assert at_once == 3
        assert len(self.results()) == 9

    def test_the_input_is_checked_before_anything_is_asked(self):
        self.write(2)
        for wrong, expected in (('{"id": "line-0", "prompt": "Hi"}', "has the id of an earlier"), ("{", "not JSON")):
            self.write(2)
            with self.input.open("a") as file:
                file.write(wrong + "\n")
            status, _out, err = self.run_to_end()

            assert status == 1
            assert "line 3 of" in err
            assert expected in err
        assert not self.provider.calls

    def test_a_second_process_does_not_write_the_same_output(self):
        gate = Gate()
        self.write(1)
        self.provider.default = Script(gates={0: gate})
        first = self.start()
        self.provider.wait_for_call(1, _SECONDS)
        status, _out, err = self.run_to_end()
        gate.open()
        first.communicate(timeout=_SECONDS)

        assert status == 1
        assert "is being written by another process" in err
        assert len(self.results()) == 1

    def test_openais_format_is_answered_in_its_own(self):
        body = {"model": "gpt-x", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
        self.input.write_text(json.dumps({"custom_id": "a", "url": "/v1/chat/completions", "body": body}))
        self.run_to_end()

        assert self.provider.calls[0].body["temperature"] == 0
        assert self.results()[0]["response"]["body"]["choices"][0]["message"]["content"] == "Hello, wörld!"


class SignalTests(RunBatchTestCase):
    """What is under way is paid for."""

    def interrupt(self, number):
        gate = Gate()
        self.write(9)
        self.provider.default = Script(gates={1: gate})
        process = self.start("--concurrency", "2")
        self.provider.wait_for_call(2, _SECONDS)
        process.send_signal(number)
        said = process.stderr.readline() + process.stderr.readline()
        return gate, process, said

    def test_the_first_signal_lets_the_calls_finish(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                self.output.unlink(missing_ok=True)
                self.provider.clear()
                gate, process, said = self.interrupt(number)
                gate.open()
                _out, err = process.communicate(timeout=_SECONDS)

                assert "may finish" in said
                assert process.returncode == 128 + number
                assert "7 lines are left" in err
                assert len(self.results()) == len(self.provider.calls) == 2

    def test_the_second_signal_ends_them(self):
        _gate, process, _said = self.interrupt(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_SECONDS)
        self.provider.wait_for(lambda: all(call.closed_early for call in self.provider.calls), TIMEOUT)

        assert process.returncode == 128 + signal.SIGTERM
        assert self.results() == []


class KilledTests(RunBatchTestCase):
    def make_provider(self):
        return FailingServer()

    def test_500_lines_have_one_result_each_although_calls_fail_and_it_is_killed(self):
        began = time.monotonic()
        self.write(500)
        process = self.start("--concurrency", "8")
        self.provider.wait_for(lambda: self.provider.counted >= 290, _SECONDS)
        process.kill()
        process.communicate(timeout=_SECONDS)
        saved, asked = len(self.results()), self.provider.counted
        status, _out, err = self.run_to_end("--concurrency", "8")
        seconds = time.monotonic() - began
        counts = Counter(result["id"] for result in self.results())
        calls = self.provider.counted
        # `pytest -s` shows it.
        sys.stdout.write(
            f"\n500 lines, killed after {asked} calls and {saved} results: {calls} calls, {seconds:.1f} s\n"
        )

        assert (status, err) == (0, "")
        assert 0 < saved < 500
        assert counts == {f"line-{number}": 1 for number in range(500)}
        # One failure for each six answers, and at most the eight that were under way when it was killed.
        assert calls - sum(1 for number in range(1, calls + 1) if number % 7 == 0) <= 500 + 8
