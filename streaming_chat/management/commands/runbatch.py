"""Ask a model each line of a file, and write the answers to another."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from streaming_chat.batches.files import PromptFile, ResultFile
from streaming_chat.batches.running import BatchRun, Totals
from streaming_chat.batches.submitting import BatchFile, Submitted, collect, states, submit
from streaming_chat.exceptions import ProviderError, error_text
from streaming_chat.providers import default_model

_CONCURRENCY = 8
_BAR_CHARS = 30
_DRAW_SECONDS = 0.2
# Standard error is red otherwise.
_PLAIN = str
# EX_TEMPFAIL of sysexits.h.
_TRY_LATER = 75


def concurrency(text: str) -> int:
    """Return a number of calls at once. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise ArgumentTypeError(f"must be 1 to 1000, got {text!r}.")
    return int(text)


class Command(BaseCommand):
    """The first SIGINT or SIGTERM lets the calls that are under way finish, the second one ends them."""

    help = (
        "Asks a model each line of INPUT and writes the answers to OUTPUT, in any order. A line is "
        '{"id": "a", "prompt": "Hi", "model": "openai:gpt-6-luna"}, or one of OpenAI\'s batch format. What OUTPUT already '
        "has is not asked again, so the same command continues a batch that was interrupted."
    )
    # The checks import the site's URLs and its admin.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the two files, --model and --concurrency."""
        parser.add_argument("input", type=Path, metavar="INPUT")
        parser.add_argument("output", type=Path, metavar="OUTPUT")
        parser.add_argument("--model", help="Of the lines that name none, as alias:model. Default: the site's first.")
        parser.add_argument(
            "--concurrency", type=concurrency, default=_CONCURRENCY, help=f"Calls at once. Default: {_CONCURRENCY}."
        )

        parser.add_argument(
            "--provider-batch",
            action="store_true",
            help="Submit the lines to the provider's batch API, at half the price, and end. Collect them later.",
        )
        parser.add_argument("--collect", action="store_true", help="Write the answers of batches that were submitted.")

    def handle(self, *args: Any, input: Path, output: Path, **options: Any) -> None:
        """Ask the lines. Raises CommandError: 1 if some have no result yet, 75 if batches have not ended, 130 or 143 after
        a signal.
        """
        try:
            prompts = PromptFile(input, options["model"] or default_model())
            with ResultFile(output) as results:
                file = BatchFile(output)
                if options["collect"]:
                    self._collect(prompts, results, file)
                elif file.batches:
                    raise CommandError(f"{_lines(file.batches)} are submitted; collect them first, with --collect.")
                elif options["provider_batch"]:
                    self._submit(prompts, results, file)
                else:
                    self._ask(prompts, results, options["concurrency"])
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        except ProviderError as error:
            raise CommandError(f"the batch API failed: {error_text(error.code)}") from error

    def _submit(self, prompts: PromptFile, results: ResultFile, file: BatchFile) -> None:
        asyncio.run(submit(prompts.without(results.ids), file))
        self.stdout.write(f"{_lines(file.batches)} submitted; collect them with --collect, within a day or so.")

    def _collect(self, prompts: PromptFile, results: ResultFile, file: BatchFile) -> None:
        if any(not batch.id for batch in file.batches):
            raise CommandError(
                f"a submission was interrupted, so the provider may have a batch that {file.path} does not name. Look for "
                "it at the provider and write its id into the file, or remove the file if there is none."
            )
        totals, started_at = Totals(), time.monotonic()
        asyncio.run(self._collect_ended(prompts, results, file, totals))
        self.stdout.write(_summary(totals, time.monotonic() - started_at))
        if file.batches:
            raise CommandError(f"{_lines(file.batches)} are not answered yet.", returncode=_TRY_LATER)
        self._require_all(prompts, results)

    async def _collect_ended(self, prompts: PromptFile, results: ResultFile, file: BatchFile, totals: Totals) -> None:
        for batch, state in await states(file):
            self.stdout.write(f"{batch.id}: {state.done} of {state.total or batch.lines} done")
            if state.is_ended:
                await collect(batch, prompts.without(results.ids), results, totals)
                file.remove(batch)

    def _ask(self, prompts: PromptFile, results: ResultFile, concurrency: int) -> None:
        self._signal = 0
        run = asyncio.run(self._run(prompts, results, concurrency))
        self.stdout.write(_summary(run.totals, time.monotonic() - run.started_at))
        reason = f"{error_text(run.stopped_by.code)} " if run.stopped_by else ""
        self._require_all(prompts, results, 128 + self._signal if self._signal else 1, reason)

    def _require_all(self, prompts: PromptFile, results: ResultFile, code: int = 1, reason: str = "") -> None:
        if missing := len(prompts.ids - results.ids):
            what = f"{reason}{missing} lines are left; run the same command again to ask them."
            raise CommandError(what, returncode=code)

    async def _run(self, prompts: PromptFile, results: ResultFile, concurrency: int) -> BatchRun:
        run = BatchRun(prompts.without(results.ids), results, concurrency)
        working = asyncio.ensure_future(run.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                asyncio.get_running_loop().add_signal_handler(number, self._interrupt, number, run, working)
        bar = _ProgressBar(self.stderr, len(prompts.ids), len(prompts.ids & results.ids))
        drawing = asyncio.ensure_future(bar.keep_drawing(run.totals))
        try:
            await working
        except asyncio.CancelledError:
            if not self._signal:
                raise
        finally:
            drawing.cancel()
            bar.clear()
        return run

    def _interrupt(self, number: int, run: BatchRun, working: asyncio.Future[None]) -> None:
        self._signal = number
        if run.is_finishing:
            working.cancel()
        else:
            run.finish()
            self.stderr.write("\nThe calls that are under way may finish. Interrupt again to end them.", _PLAIN)


class _ProgressBar:
    """One line on a terminal, and nothing elsewhere."""

    def __init__(self, stream: OutputWrapper, lines: int, done_before: int) -> None:
        self._stream = stream
        self._lines = lines
        self._done_before = done_before
        self._started_at = time.monotonic()

    async def keep_drawing(self, totals: Totals) -> None:
        """Draw until it is cancelled."""
        while self._stream.isatty():
            self._stream.write(f"\r{self._line(totals)}\033[K", _PLAIN, ending="")
            self._stream.flush()
            await asyncio.sleep(_DRAW_SECONDS)

    def clear(self) -> None:
        """Leave an empty line."""
        if self._stream.isatty():
            self._stream.write("\r\033[K", _PLAIN, ending="")

    def _line(self, totals: Totals) -> str:
        now_done = totals.answered + totals.refused
        done, lines = self._done_before + now_done, max(self._lines, 1)
        bar = "#" * (_BAR_CHARS * done // lines)
        speed = now_done / max(time.monotonic() - self._started_at, 0.001)
        left = f", {_duration((self._lines - done) / speed)} left" if speed else ""
        return f"[{bar:<{_BAR_CHARS}}] {done} of {self._lines}, {speed:.1f} a second{left}, ${totals.cost:.4f}"


def _lines(batches: list[Submitted]) -> str:
    return f"{sum(batch.lines for batch in batches)} lines in {len(batches)} batches"


def _summary(totals: Totals, seconds: float) -> str:
    cost = f"${totals.cost:.4f}"
    if totals.uncosted:
        cost += f" and the unknown cost of {totals.uncosted}"
    return (
        f"{totals.answered} answered, {totals.refused} refused, {totals.calls} calls in {seconds:.1f} s; "
        f"{totals.input_tokens} input and {totals.output_tokens} output tokens, {cost}."
    )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
